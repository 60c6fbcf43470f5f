package main

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/datadir"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog"
	"github.com/akubra/akubra/synclog/inflight"
	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/repair"
)

// inflightName is the table of writes under way, beside the journal's own files.
const inflightName = "inflight"

// openJournal opens the journal for this process alone, and makes DataDir where it
// is not there yet. onError and onRevive are journal.Options'; both may be nil.
func openJournal(c *config.Config, names []string, onError func(error), onRevive func()) (*journal.Journal, error) {
	if err := datadir.MkdirAll(c.DataDir, true); err != nil {
		return nil, fmt.Errorf("cannot make the directory of the journal (DataDir: %q): %w", c.DataDir, text.Cause(err))
	}
	if err := datadir.Check(c.DataDir, c.JournalDir()); err != nil {
		return nil, fmt.Errorf("cannot use DataDir %q: %w", c.DataDir, err)
	}
	var trouble atomic.Pointer[error]
	j, err := journal.Open(journal.Options{
		Dir:      c.JournalDir(),
		Backends: names,
		Power:    c.Durability == config.DurabilityPower,
		OnError: func(err error) {
			trouble.Store(&err)
			if onError != nil {
				onError(err)
			}
		},
		OnRevive: onRevive,
		Continue: c.OnJournalError == config.OnJournalErrorContinue,
	})
	if errors.Is(err, journal.ErrLocked) {
		return nil, fmt.Errorf("cannot open the journal (DataDir: %q), since another proxy or `akubra repair` is at it: %w", c.DataDir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the journal (DataDir: %q): %w", c.DataDir, err)
	}
	if j.Failed() { // at once: it can be read, but what would be the use
		_ = j.Close() // what it could not write it had not promised
		err := journal.ErrFailed
		if why := trouble.Load(); why != nil {
			err = *why
		}
		return nil, fmt.Errorf("cannot write to the journal (DataDir: %q): %w", c.DataDir, err)
	}
	return j, nil
}

// openInflight opens the table of writes under way, and journals what a process
// that was killed has left in it: some backends may have these writes and others
// not. The journal may have those that were acknowledged already.
func openInflight(c *config.Config, j *journal.Journal, names []string) (*inflight.Table, error) {
	table, err := inflight.Open(filepath.Join(c.JournalDir(), inflightName), func(left []inflight.Write) error {
		entries := make([]journal.Entry, len(left))
		for i, w := range left {
			entries[i] = entryOf(&w, names)
		}
		if err := j.Promise(entries); err != nil {
			return err
		}
		return j.Flush()
	})
	if err != nil {
		return nil, fmt.Errorf("cannot open the table of writes under way (DataDir: %q): %w", c.DataDir, err)
	}
	// Each request may have some writes that go on in the background, and a
	// multi-object delete has many.
	table.SetMax(max(inflight.DefaultMax, 8*c.MaxConcurrentRequests))
	return table, nil
}

// entryOf is what the journal has to know of a write that was under way. It is not
// known who has it, unless it was acknowledged.
func entryOf(w *inflight.Write, names []string) journal.Entry {
	e := journal.Entry{
		Bucket: w.Bucket, Key: w.Key, Host: w.Host, Target: text.HideSecrets(w.Target), Owed: 1<<len(names) - 1,
		Reason: []byte("under way when the proxy died"),
	}
	a := &w.Ack
	if a.Seq == 0 || a.Aux&journal.AuxSubresource != 0 && len(w.Target) == 0 {
		return e // of a part of which nobody knows which it is, the whole object is looked at
	}
	e.Seq, e.Method, e.ETag, e.ID, e.Size, e.Aux = a.Seq, a.Method, a.ETag, a.ID, a.Size, a.Aux
	if a.Order == orderOf(names) {
		e.Owed = a.Owed
	}
	return e
}

// engineJournal is the engine's Journal.
type engineJournal struct {
	*journal.Journal
	inflight *inflight.Table
	power    bool // Durability
	// onFull, unless nil, takes what keeps a write from being noted, and lets it go
	// on (OnJournalError: continue).
	onFull  func(error)
	entries sync.Pool // of *[]journal.Entry
	order   uint32    // tells the list of backends, which masks go by, from another one

	mu    sync.Mutex
	held  []int32 // slots that End keeps
	holds atomic.Bool
}

// newEngineJournal makes the engine's Journal for a process with these backends.
func newEngineJournal(j *journal.Journal, table *inflight.Table, names []string, power bool) *engineJournal {
	return &engineJournal{Journal: j, inflight: table, order: orderOf(names), power: power}
}

func orderOf(names []string) uint32 { return crc32.ChecksumIEEE([]byte(strings.Join(names, "\n"))) }

var _ engine.Journal = (*engineJournal)(nil)

// Promise hands es on, their targets' secrets aside, which repair has no use for (R37):
// Promise and Entry have the same fields, but a slice of the one is none of the other.
func (j *engineJournal) Promise(es []engine.Promise) error {
	entries, _ := j.entries.Get().(*[]journal.Entry)
	if entries == nil {
		entries = new([]journal.Entry)
	}
	for i := range es {
		e := journal.Entry(es[i])
		e.Target = text.HideSecrets(e.Target)
		*entries = append(*entries, e)
	}
	err := j.Journal.Promise(*entries)
	clear(*entries) // what they point to is the requests'
	*entries = (*entries)[:0]
	if cap(*entries) <= maxPooledEntries {
		j.entries.Put(entries)
	}
	return err
}

// Intend leaves in the slot what the journal writes down soon, or now where it has
// to survive a power cut.
func (j *engineJournal) Intend(slot int32, p *engine.Promise) error {
	if j.power {
		return j.Promise([]engine.Promise{*p})
	}
	p.Target = text.HideSecrets(p.Target)
	if err := j.Journal.Intend((*journal.Entry)(p)); err != nil {
		return err
	}
	err := j.inflight.Acknowledge(slot, &inflight.Ack{
		Seq: p.Seq, Owed: p.Owed, Order: j.order, Size: p.Size, Aux: p.Aux, Method: p.Method, ETag: p.ETag, ID: p.ID,
	})
	if err != nil {
		return j.Flush()
	}
	return nil
}

// Settle sees to it that what is owed now is written down before the slot is ended.
// Where nothing is, it does not wait for a disk.
func (j *engineJournal) Settle(seq, owed uint64, reason []byte) {
	if owed == 0 {
		j.Journal.SettleSoon(seq, 0, reason)
		return
	}
	j.Journal.Settle(seq, owed, reason)
	if !j.power {
		_ = j.Flush() // where it fails, End keeps the slot
	}
}

// Failed reports whether new writes are to be refused: not where they go on whatever
// becomes of the journal (OnJournalError).
func (j *engineJournal) Failed() bool { return j.onFull == nil && j.Journal.Failed() }

// Waits: with a sync before each answer.
func (j *engineJournal) Waits() bool { return j.power }

// Begin notes that a write is under way.
func (j *engineJournal) Begin(bucket, key, host, target []byte) (slot int32, err error) {
	slot, err = j.inflight.Begin(inflight.Write{Bucket: bucket, Key: key, Host: host, Target: text.HideSecrets(target)})
	if errors.Is(err, inflight.ErrFull) {
		return -1, engine.ErrTooManyWrites
	}
	if errors.Is(err, inflight.ErrTooLong) {
		return -1, engine.ErrKeyTooLong
	}
	if err != nil && j.onFull != nil {
		j.onFull(err)
		return -1, nil
	}
	return slot, err
}

// End notes that it is over. While the journal cannot be written, the slot may be
// all that is left of the write when the process ends: it is kept until it can.
func (j *engineJournal) End(slot int32) {
	if !j.Failed() && !j.holds.Load() {
		j.inflight.End(slot)
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held = append(j.held, slot)
	if j.holds.Store(j.Failed()); j.holds.Load() {
		return
	}
	for _, slot := range j.held { // what there was to write was written before it worked again
		j.inflight.End(slot)
	}
	j.held = nil
}

// maxPooledEntries: a multi-object delete has up to 1,000, which few have.
const maxPooledEntries = 64

// namedJournal is repair's Journal in the process that has opened it: what the
// journal keeps as masks are names there.
type namedJournal struct {
	journal *journal.Journal
	names   []string
	dir     string
}

var (
	_ repair.Journal = (*namedJournal)(nil)
	_ repair.Finder  = (*namedJournal)(nil)
)

func (n *namedJournal) Next(cursor uint64) (t repair.Task, next uint64, ok bool, err error) {
	p, next, ok := n.journal.Next(cursor)
	if !ok {
		return repair.Task{}, next, false, nil
	}
	return n.task(&p), next, true, nil
}

// Find makes it repair.Finder.
func (n *namedJournal) Find(bucket, key string) (t repair.Task, place uint64, ok bool, err error) {
	p, place, ok := n.journal.Find([]byte(bucket), []byte(key))
	if !ok {
		return repair.Task{}, 0, false, nil
	}
	return n.task(&p), place, true, nil
}

func (n *namedJournal) task(p *journal.Pending) repair.Task {
	t := taskOf(p, n.names)
	if t.SubResource && p.Aux&journal.AuxMixed != 0 {
		// Content is owed, too: all of the object is looked at, as it is now. Its
		// newest write alone would not tell.
		t.Method, t.SubResource = "", false
	}
	return t
}

func (n *namedJournal) Resolve(t *repair.Task) (bool, error) {
	p, err := n.pending(t)
	if err != nil {
		return false, err
	}
	return n.journal.Resolve(&p), nil
}

func (n *namedJournal) Note(t *repair.Task) error {
	p, err := n.pending(t)
	if err != nil {
		return err
	}
	// What a backend has got meanwhile it does not owe any more, but the journal
	// forgets nothing but whole keys.
	p.Owed = 1<<len(n.names) - 1
	n.journal.Note(&p) // or something newer came, which has no tries yet
	return nil
}

// Add journals what verify has found.
func (n *namedJournal) Add(t *repair.Task) error {
	p, err := n.pending(t)
	if err != nil {
		return err
	}
	e := p.Entry
	e.Seq, e.Open = 0, false
	return n.journal.Promise([]journal.Entry{e})
}

func (n *namedJournal) pending(t *repair.Task) (journal.Pending, error) {
	p := journal.Pending{
		Entry: journal.Entry{
			Seq: t.Seq, Method: t.Method, Size: t.Size,
			Target: []byte(t.Target), Host: []byte(t.Host), Bucket: []byte(t.Bucket), Key: []byte(t.Key),
			ETag: []byte(t.ETag), ID: []byte(t.ID), Reason: []byte(t.Reason),
		},
		First: t.First, Version: t.Version, Tries: t.Tries, NotBefore: t.NotBefore, Parked: t.Parked, LastError: t.LastError,
	}
	if t.SubResource {
		p.Aux |= engine.AuxSubResource
	}
	if t.Unacknowledged {
		p.Aux |= engine.AuxUnacknowledged
	}
	if t.Doubt {
		p.Aux |= journal.AuxDoubt
	}
	for _, name := range t.Owed {
		i := slices.Index(n.names, name)
		if i < 0 {
			return journal.Pending{}, fmt.Errorf("cannot find backend %q among %q", name, n.names)
		}
		p.Owed |= 1 << i
	}
	return p, nil
}

func taskOf(p *journal.Pending, names []string) repair.Task {
	t := repair.Task{
		Seq: p.Seq, First: p.First, Method: p.Method, Size: p.Size,
		Target: string(p.Target), Host: string(p.Host), Bucket: string(p.Bucket), Key: string(p.Key),
		ETag: string(p.ETag), ID: string(p.ID), Reason: string(p.Reason),
		SubResource:    p.Aux&engine.AuxSubResource != 0,
		Unacknowledged: p.Aux&engine.AuxUnacknowledged != 0, Doubt: p.Aux&(journal.AuxDoubt|journal.AuxOverlapped) != 0,
		Version: p.Version, Tries: p.Tries, NotBefore: p.NotBefore, Parked: p.Parked, LastError: p.LastError,
	}
	for s := p.Owed; s != 0; s &= s - 1 {
		if i := bits.TrailingZeros64(s); i < len(names) {
			t.Owed = append(t.Owed, names[i])
		}
	}
	return t
}

// opResolved is the op of a record that tells of a divergence's end.
const opResolved = "resolved"

// resolvedRecord is the synclog's line for a key that is equal again (R16): action
// is what was done for it.
func resolvedRecord(t *repair.Task, action string, names []string) synclog.Record {
	r := recordOf(t, action, names)
	r.Time, r.Op = time.Now(), opResolved
	return r
}

// recordOf is one record for all the backends of a task.
func recordOf(t *repair.Task, reason string, names []string) synclog.Record {
	r := synclog.Record{
		Time: time.Unix(0, int64(t.Seq)), Method: t.Method, Path: text.HideSecrets(t.Target), Error: reason, Op: engine.OpStoring,
		Bucket: t.Bucket, Key: t.Key, ETag: t.ETag, Size: t.Size, ID: t.ID,
	}
	for _, name := range names {
		switch owed := slices.Contains(t.Owed, name); {
		case owed && r.FailedHost == "":
			r.FailedHost = name
		case owed:
			r.FailedHost += "," + name
		case r.SuccessHost == "":
			r.SuccessHost = name
		}
	}
	return r
}
