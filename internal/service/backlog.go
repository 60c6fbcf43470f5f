package service

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/synclog"
	"github.com/akubra/akubra/synclog/journal"
)

// maxBacklogKeys bounds the remembered keys. Beyond it, every pending key gets a line.
const maxBacklogKeys = 64 << 10

const (
	// backlogPause is the interval between checks for room for more lines.
	backlogPause = 20 * time.Millisecond
	// backlogRest is the pause between two passes over the journal, as a multiple of how long a
	// pass took: a slow reader stops and continues repeatedly.
	backlogRest    = 9
	maxBacklogRest = 10 * time.Second
)

// synclogBacklog makes sure that a synclog whose reader stopped misses nothing that is still
// pending (R16, R23). It remembers, as hashes, the keys of records for which there was no room.
// When lines are accepted again, it writes what the journal has about these keys. A key repaired in
// the meantime needs no line.
//
// Its goroutine runs from start to close; close must come before the journal is closed.
type synclogBacklog struct {
	journal *journal.Journal
	names   []string
	wants   func(method string) bool // SyncLogMethods
	log     *zerolog.Logger
	seed    maphash.Seed

	mu     sync.Mutex // before the queues'
	keys   map[uint64]struct{}
	all    bool          // more than keys can hold
	queues []*logs.Queue // the queues to catch up
	sinks  []*logs.Queue // the synclog's queues

	wake chan struct{}
	stop chan struct{}
	done chan struct{}
}

func newSynclogBacklog(j *ledger.NamedJournal, sinks []*logs.Queue, wants func(method string) bool, log *zerolog.Logger) *synclogBacklog {
	return &synclogBacklog{
		journal: j.Journal, names: j.Names, sinks: sinks, wants: wants, log: log, seed: maphash.MakeSeed(),
		keys: map[uint64]struct{}{}, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
}

func (b *synclogBacklog) start() { go b.run() }

func (b *synclogBacklog) close() {
	close(b.stop)
	<-b.done
}

// missed remembers a record that was not accepted.
func (b *synclogBacklog) missed(r *synclog.Record) {
	hash := b.hash(r.Bucket, r.Key)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.keys) < maxBacklogKeys {
		b.keys[hash] = struct{}{}
	} else if _, known := b.keys[hash]; !known {
		b.all = true
	}
	if !slices.ContainsFunc(b.sinks, (*logs.Queue).InTrouble) { // the trouble was over before this record was known
		b.reviveLocked(b.sinks...)
	}
}

func (b *synclogBacklog) hash(bucket, key string) uint64 {
	return maphash.Comparable(b.seed, [2]string{bucket, key})
}

// revived has the lines written that q has missed. It does not block.
func (b *synclogBacklog) revived(q *logs.Queue) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reviveLocked(q)
}

func (b *synclogBacklog) reviveLocked(queues ...*logs.Queue) {
	for _, q := range queues {
		if !slices.Contains(b.queues, q) {
			b.queues = append(b.queues, q)
		}
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *synclogBacklog) run() {
	defer close(b.done)
	for {
		select {
		case <-b.stop:
			return
		case <-b.wake:
		}
		b.mu.Lock()
		queues, keys, all, sinks := b.queues, b.keys, b.all, b.sinks
		b.queues, b.keys, b.all = nil, map[uint64]struct{}{}, false
		b.mu.Unlock()
		began, lines, complete := time.Now(), 0, true
		for _, q := range queues {
			n, ok := b.write(q, keys, all)
			lines, complete = lines+n, complete && ok
		}
		if !complete || slices.ContainsFunc(sinks, (*logs.Queue).InTrouble) {
			b.remember(keys, all) // for this queue's next time, when some lines may be repeated, or for another queue
		}
		if complete {
			b.log.Warn().Int("lines", lines).Msg("the synclog has caught up: lines it had missed are written, for all keys still pending")
		}
		b.pause(min(backlogRest*time.Since(began), maxBacklogRest))
	}
}

// remember puts back what could not be written.
func (b *synclogBacklog) remember(keys map[uint64]struct{}, all bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key := range b.keys {
		keys[key] = struct{}{}
	}
	b.keys, b.all = keys, b.all || all || len(keys) > maxBacklogKeys
}

// write gives q a line for each key and backend that is pending.
func (b *synclogBacklog) write(q *logs.Queue, keys map[uint64]struct{}, all bool) (lines int, ok bool) {
	var line []byte
	for cursor := uint64(0); ; {
		if b.pause(0) {
			return lines, false
		}
		t, next, more := b.journal.Next(cursor)
		if !more {
			return lines, true
		}
		cursor = next
		if _, missed := keys[b.hash(t.Bucket, t.Key)]; !missed && !all || !b.wants(ledger.NewestOf(&t).Method) {
			continue
		}
		for _, r := range ledger.OwedRecords(&t, ledger.ReasonOf(&t), b.names) {
			if !b.room(q) {
				return lines, false
			}
			line = append(r.AppendJSON(line[:0]), '\n')
			if q.Add(zerolog.NoLevel, line) != nil {
				return lines, false
			}
			lines++
		}
	}
}

// room waits until q has room; it returns false when the backlog is closed.
func (b *synclogBacklog) room(q *logs.Queue) bool {
	for !q.Roomy() {
		if b.pause(backlogPause) {
			return false
		}
	}
	return true
}

// pause waits, and reports whether the backlog is being closed.
func (b *synclogBacklog) pause(d time.Duration) (end bool) {
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-b.stop:
		case <-timer.C:
		}
	}
	select {
	case <-b.stop:
		return true
	default:
		return false
	}
}
