package service

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog/inflight"
	"github.com/akubra/akubra/synclog/journal"
)

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
	return &engineJournal{Journal: j, inflight: table, order: ledger.OrderOf(names), power: power}
}

// Promise hands es on, their targets' secrets aside, which repair has no use for (R37):
// the engine goes on to use its own.
func (j *engineJournal) Promise(es []engine.Promise) error {
	entries, _ := j.entries.Get().(*[]journal.Entry)
	if entries == nil {
		entries = new([]journal.Entry)
	}
	for i := range es {
		e := es[i]
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
	if err := j.Journal.Intend(p); err != nil {
		return err
	}
	ack := ledger.AckOf(p, j.order)
	if err := j.inflight.Acknowledge(slot, &ack); err != nil {
		return j.Flush()
	}
	return nil
}

// Settle sees to it that what is owed now is written down before the slot is ended.
// Where nothing is, it does not wait for a disk.
func (j *engineJournal) Settle(p *engine.Promise) {
	if p.Owed == 0 {
		j.Journal.SettleSoon(p)
		return
	}
	j.Journal.Settle(p)
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

var _ engine.Journal = (*engineJournal)(nil)
