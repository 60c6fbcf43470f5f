// Package journal keeps, durably, which keys some backend may not have as the others have them
// (R20). FORMAT.md, beside the package, describes its files byte by byte.
//
// A write that is about to be acknowledged while a backend has not taken it is promised, and
// settled when its last leg has ended. What stays owed is a pending key until it is resolved.
// Everything known about a key is one record: repair works by state, not by event.
//
// In memory a pending key takes about 32 bytes; its name is only on disk. The log is a queue of
// segments. New records go to its head. Segments are deleted only from its tail, after what is
// still needed there has been moved to the head, so what ends a record never disappears before the
// record.
package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Errors that callers look for with errors.Is.
var (
	ErrLocked   = errors.New("journal: in use by another process")
	ErrFailed   = errors.New("journal: failed")
	ErrClosed   = errors.New("journal: closed")
	ErrTooLarge = errors.New("journal: entry too large")
)

const (
	defaultSegmentSize = 16 << 20
	maxSegmentSize     = 1 << 30
	defaultSyncEvery   = 100 * time.Millisecond
	defaultWatchEvery  = 200 * time.Millisecond // a check is two cheap system calls per file
	defaultScanBelow   = 64 << 20
	lockName           = "lock"
)

// Options of a Journal.
type Options struct {
	// Dir is created if it does not exist, readable only by its owner.
	Dir string
	// Backends are names (host:port), at most 64; index i is bit i of every mask.
	Backends []string
	// Power: Promise returns once its entries are synced, so that they survive a power cut.
	// Otherwise it returns once the kernel has them, so that they survive the process.
	Power bool
	// Continue: writes go on even while the journal has failed. Promise then returns nil, and
	// Begin a Write without a slot.
	Continue bool
	// Writes is how many keys may be in flight at once, at least inflight.DefaultMax. With 0,
	// Begin must not be called, and what an earlier process has left in the table stays there.
	Writes int
	// SegmentSize in bytes, at most 1 GiB; 0: 16 MiB.
	SegmentSize int64
	// SyncEvery is how often buffered data is written, and written data is synced; 0 means 100 ms.
	SyncEvery time.Duration
	// WatchEvery bounds how long it goes unnoticed that a file is gone, and with it how much is
	// acknowledged meanwhile; 0 means 200 ms.
	WatchEvery time.Duration
	// OnError is told about damage found and about failed writes and syncs. It is called outside
	// all locks: by Open and Close, by the journal's own goroutine, which waits for it, or by
	// Begin (ErrUnnoted). May be nil.
	OnError func(error)
	// OnRevive is told that the journal works again after a failure. It is called like OnError.
	// May be nil.
	OnRevive func()
	// FS holds the files; nil means the operating system's file system.
	FS FS

	scanBelow int64 // a log that is smaller is always read in whole
	manual    bool  // a test calls tick
}

// Journal is a journal open for writing. Any goroutine may call its methods.
type Journal struct {
	o         Options
	headerLen int64 // of each segment
	lock      Held
	writes    underWay

	fails atomic.Bool // failure != nil
	// Each write changes something from here on, so it is kept off the cache lines of what is only
	// read.
	_        [64]byte
	seq      atomic.Uint64 // the last stamp
	known    atomic.Int64  // keys, intents, and what the log has yet to end
	syncs    atomic.Uint64
	syncTime atomic.Int64 // nanoseconds

	mu sync.Mutex
	book
	counts      counts
	freeBatches []*batch
	closing     map[uint32]*batch // by hash, see closing.go
	nextNum     uint32
	idle        sync.Cond // writing became nil, or a segment lost a reader
	dirMade     uint64    // changes of the directory so far
	dirSynced   uint64    // and how many of them are synced
	stillborn   []*segment
	revived     bool // OnRevive is to be called
	closed      bool
	failure     error  // why nothing can be written now
	epochs      uint64 // failures so far: places in the log have changed
	logged      int64  // bytes appended since the last checkpoint
	payload     []byte // promiseLocked's

	wake chan struct{}
	stop chan struct{}
	wg   sync.WaitGroup

	// For the flusher only.
	tried   time.Time // the last attempt to work again
	unhappy time.Time // the last failed checkpoint or cleaning
	scanner scanner

	// For the watcher only: watch.go.
	held         Held      // the directory
	guarded      []guarded // only added to
	gone         bool      // a failure is final
	checkpointed bool      // there is a checkpoint
	unmark       bool      // there was one
}

type counts struct{ Written, Batches, Failures, Dropped uint64 }

// Open takes the lock, recovers what is there and starts the journal's own goroutines. If the
// journal is in use, the error is ErrLocked, with the other process's id. Neither damage nor a
// disk that cannot be written to keeps it from opening; in the latter case Failed reports true.
func Open(o Options) (*Journal, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	if err := o.FS.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("journal: cannot make directory %q: %w", o.Dir, err)
	}
	j := &Journal{o: o, wake: make(chan struct{}, 1), stop: make(chan struct{})}
	j.idle.L = &j.mu
	j.book.init(o.FS, o.Dir, o.Backends)
	var err error
	if j.lock, err = o.FS.Lock(j.path(lockName)); err != nil {
		return nil, err
	}
	err = j.hold()
	if err == nil {
		err = j.recover()
	}
	if err != nil {
		j.closeFiles()
		_ = j.unlock() // nothing was written
		return nil, fmt.Errorf("journal: cannot read %q: %w", o.Dir, err)
	}
	if o.Writes > 0 && !j.Failed() {
		if err := j.openTable(); err != nil {
			_ = j.Close() // what could not be taken in is still in the table
			return nil, err
		}
	}
	j.tell()
	if !o.manual {
		j.wg.Go(j.run)
		j.wg.Go(j.watch)
	}
	return j, nil
}

func (o *Options) setDefaults() error {
	if o.FS == nil {
		o.FS = osFS{}
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = defaultSegmentSize
	}
	if o.SyncEvery == 0 {
		o.SyncEvery = defaultSyncEvery
	}
	if o.WatchEvery == 0 {
		o.WatchEvery = defaultWatchEvery
	}
	if o.scanBelow == 0 {
		o.scanBelow = defaultScanBelow
	}
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	if o.OnRevive == nil {
		o.OnRevive = func() {}
	}
	switch {
	case o.SegmentSize < 0 || o.SegmentSize > maxSegmentSize:
		return fmt.Errorf("journal: segment size %d, at most %d is allowed", o.SegmentSize, maxSegmentSize)
	case o.SyncEvery < 0:
		return fmt.Errorf("journal: cannot sync every %v", o.SyncEvery)
	case o.WatchEvery < 0:
		return fmt.Errorf("journal: cannot watch every %v", o.WatchEvery)
	case len(o.Backends) == 0 || len(o.Backends) > maxNames:
		return fmt.Errorf("journal: %d backends, 1 to %d are allowed", len(o.Backends), maxNames)
	}
	seen := map[string]bool{}
	for _, name := range o.Backends {
		if seen[name] {
			return fmt.Errorf("journal: two backends are called %q", name)
		}
		seen[name] = true
	}
	return nil
}

func (b *book) init(fs FS, dir string, backends []string) {
	b.fs, b.dir = fs, dir
	b.names = append(b.names, backends...)
	b.mine = 1<<len(backends) - 1
	b.keys.init(b.mine)
	b.hashKey = [2]uint64{rand.Uint64(), rand.Uint64()}
}

// recover reads what is there and begins a segment of its own: nothing is ever appended to what an
// earlier process wrote. The earlier process's intents become divergences of unknown outcome.
func (j *Journal) recover() error {
	if err := j.load(j.o.scanBelow); err != nil {
		return err
	}
	j.forget()
	for _, s := range j.segs {
		if s.damaged {
			j.keep(s)
		}
	}
	j.seq.Store(j.lastSeq)
	j.headerLen = int64(len(header(0, j.names)))
	j.dirMade = 1
	for _, s := range j.segs {
		s.made = 1 // who made it may not have synced the directory
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	j.cur = j.newBatch()
	j.cur.seg, j.cur.base = j.newSegmentLocked(), j.headerLen
	var left []uint64
	j.opens.each(func(_ uint32, o *open) bool {
		left = append(left, o.seq)
		return true
	})
	slices.Sort(left)
	for _, seq := range left {
		id, _ := j.opens.find(seq)
		var e Entry
		if !j.openEntry(&j.opens.list[id], &e) {
			continue // it was parsed before
		}
		if len(e.Reason) == 0 {
			e.Reason = []byte("unknown outcome")
		}
		j.endLocked(id, &e)
	}
	j.sort()
	j.knowLocked()
	j.leadLocked(true)
	return nil
}

// Close writes and syncs what is buffered, and releases the lock. It waits for the journal's
// goroutines and for callers that wait for a write. Every Write must have ended. Open intents stay
// in the files, and are of unknown outcome at the next Open.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return ErrClosed
	}
	j.closed = true
	j.mu.Unlock()
	close(j.stop)
	j.wg.Wait()
	if j.Failed() {
		j.revive() // the last chance of what is still in memory
	}
	err := j.syncLog()
	if err == nil && j.worthCheckpoint() {
		err = j.checkpoint()
	}
	j.tell()
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.busyLocked() {
		j.idle.Wait()
	}
	if t := j.writes.table; t != nil {
		_ = t.Close() // nothing is under way; slots that are kept stay in the file
	}
	j.closeFiles()
	if unlocked := j.unlock(); err == nil {
		err = unlocked
	}
	return err
}

// busyLocked reports whether somebody is still waiting for a write, or using a file.
func (j *Journal) busyLocked() bool {
	return j.writing != nil || j.cur.waiters > 0 ||
		slices.ContainsFunc(j.segs, func(s *segment) bool { return s.readers > 0 })
}

// Stamp returns a new Seq without writing anything, to order writes that need no entry: the given
// time, or a little more if that was returned before.
func (j *Journal) Stamp(now time.Time) uint64 {
	for {
		last := j.seq.Load()
		next := max(last+1, uint64(now.UnixNano()))
		if j.seq.CompareAndSwap(last, next) {
			return next
		}
	}
}

// Failed reports whether nothing can be written at the moment. New writes must then be refused,
// unless the policy is to continue.
func (j *Journal) Failed() bool { return j.fails.Load() }

// Quiet reports whether nothing is pending and no intent is open: then Promise has nothing to do
// for an entry that is only a touch.
func (j *Journal) Quiet() bool { return j.known.Load() == 0 }

// knowLocked updates what Quiet reads without the lock.
func (j *Journal) knowLocked() {
	j.known.Store(int64(j.keys.live + j.opens.len() + len(j.closing)))
}
