package engine

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/akubra/akubra/engine/outcome"
	"github.com/akubra/akubra/synclog/task"
)

// ledger is a journal in memory.
type ledger struct {
	all     uint64 // backends
	last    atomic.Uint64
	broken  atomic.Bool
	full    atomic.Bool                        // Begin fails
	tooMany atomic.Bool                        // Begin has no room
	failed  atomic.Bool                        // what Refuses says
	waits   atomic.Bool                        // what Waits says
	busy    atomic.Bool                        // Quiet says no
	maxKey  atomic.Int64                       // bytes, unless 0
	begin   atomic.Pointer[func()]             // called by Begin first; may wait
	promise atomic.Pointer[func(es []Promise)] // called before anything is taken; may wait
	settle  atomic.Pointer[func(owed uint64)]  // the same for Settle
	looks   atomic.Int64                       // calls of OwedApart
	mu      sync.Mutex
	entries map[uint64]*entry
	slots   []string  // of Begin; "" once ended
	targets []string  // of the slots
	left    []Promise // of Leave
	wrong   []string
}

// entry is a promise and what became of it.
type entry struct {
	Promise
	settled bool
	taken   uint64 // when
}

var errLedger = errors.New("no journal")

// ledgerWrite is a write that a ledger has noted.
type ledgerWrite struct {
	l        *ledger
	slots    []int
	promised bool
}

func (l *ledger) Begin(_ string, bucket, key, _, target []byte) (JournalWrite, error) {
	if begin := l.begin.Load(); begin != nil {
		(*begin)()
	}
	w := &ledgerWrite{l: l}
	if err := w.Add(bucket, key, target); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *ledgerWrite) Add(bucket, key, target []byte) error {
	l := w.l
	if l.full.Load() {
		return errLedger
	}
	if l.tooMany.Load() {
		return ErrTooManyWrites
	}
	if limit := int(l.maxKey.Load()); limit > 0 && len(key) > limit {
		return fmt.Errorf("cannot note it: %w", ErrKeyTooLong)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots = append(l.slots, string(bucket)+"/"+string(key))
	l.targets = append(l.targets, string(target))
	w.slots = append(w.slots, len(l.slots)-1)
	return nil
}

func (w *ledgerWrite) End() {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	for _, slot := range w.slots {
		if w.l.slots[slot] == "" {
			w.l.wrong = append(w.l.wrong, "a write that ended twice")
		}
		w.l.slots[slot] = ""
	}
}

// underWay are the writes that have not ended.
func (l *ledger) underWay() (list []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.slots {
		if s != "" {
			list = append(list, s)
		}
	}
	return list
}

func (l *ledger) Stamp(time.Time) uint64 { return l.last.Add(1) }
func (l *ledger) Refuses() bool          { return l.failed.Load() }
func (w *ledgerWrite) Waits() bool       { return w.l.waits.Load() }

func (l *ledger) Quiet() bool { return !l.busy.Load() && len(l.owing()) == 0 }

func (l *ledger) Took(seq, backends uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[seq]; e != nil && !e.settled {
		e.Took |= backends // lacking leaves these out
	}
}

func (l *ledger) Owed(bucket, key []byte) (set uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if bytes.Equal(e.Bucket, bucket) && bytes.Equal(e.Key, key) && e.Aspect == task.Content {
			set |= e.lacking(l.all)
		}
	}
	return set
}

// lacking are the backends that lack an acknowledged write of what a GET gives, or that may have one of
// which nobody was told.
func (e *entry) lacking(all uint64) uint64 {
	if e.Unacknowledged && e.Took == 0 && e.Owed != all && e.Aspect == task.Content {
		return e.Owed
	}
	if e.Unacknowledged || e.Aspect != task.Content {
		return 0
	}
	return e.Owed &^ e.Took
}

func (l *ledger) OwedIn(bucket []byte, counts []int) { l.OwedApart(bucket, 0, counts, counts) }

func (l *ledger) OwedApart(bucket []byte, last uint64, owed, underWay []int) (now uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.looks.Add(1)
	if now = last; last == 0 {
		now = l.last.Load()
	}
	for _, e := range l.entries {
		counts := owed
		if e.Open {
			counts = underWay
		}
		if e.Open && e.taken > now {
			continue
		}
		for b := range counts {
			if (bytes.Equal(e.Bucket, bucket) || len(bucket)+len(e.Key) == 0) && e.lacking(l.all)&(1<<b) != 0 {
				counts[b]++
			}
		}
	}
	return now
}

func (l *ledger) Promise(es []Promise) error {
	if f := l.promise.Load(); f != nil {
		(*f)(es)
	}
	if l.broken.Load() {
		return errLedger
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range es {
		if p.Seq == 0 || p.Seq > l.last.Load() {
			l.wrong = append(l.wrong, "a stamp that was never given")
		}
		for _, b := range []*[]byte{&p.Target, &p.Host, &p.Bucket, &p.Key, &p.ETag, &p.ID, &p.Reason} {
			*b = bytes.Clone(*b)
		}
		p.Made = task.CloneETags(p.Made)
		if p.Open && p.Owed == 0 {
			l.wrong = append(l.wrong, "an intent that owes nothing: "+string(p.Target))
		}
		if p.Owed != 0 || p.Open || l.pendingLocked(&p) {
			l.entries[p.Seq] = &entry{Promise: p, settled: !p.Open, taken: l.last.Add(1)}
		}
	}
	return nil
}

func (w *ledgerWrite) Leave(p *Promise) {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	w.l.left = append(w.l.left, *p)
}

func (w *ledgerWrite) Acknowledge(ps []Promise) error {
	l := w.l
	l.mu.Lock()
	for i := range ps {
		p := &ps[i]
		begun := func(slot int) bool {
			return l.slots[slot] == string(p.Bucket)+"/"+string(p.Key) && (p.Aspect != task.Version || l.targets[slot] == string(p.Target))
		}
		if !p.Open || len(ps) > 1 && !slices.ContainsFunc(w.slots, begun) {
			l.wrong = append(l.wrong, "an intent that is not its write's: "+string(p.Target))
		}
	}
	l.mu.Unlock()
	err := l.Promise(ps)
	w.promised = err == nil
	return err
}

func (w *ledgerWrite) Settle(ps []Promise) error {
	if !w.promised {
		return w.l.Promise(ps)
	}
	for i := range ps {
		w.l.settleOne(&ps[i])
	}
	return nil
}

func (w *ledgerWrite) Beside(ps []Promise) {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	for i := range ps {
		switch p := ps[i]; {
		case w.l.entries[p.Seq] != nil:
			w.l.entries[p.Seq].OverlapKnown = p.OverlapKnown
		case w.l.pendingLocked(&p):
			w.l.entries[p.Seq] = &entry{Promise: p, settled: true}
		}
	}
}

func (l *ledger) settleOne(p *Promise) {
	if f := l.settle.Load(); f != nil {
		(*f)(p.Owed)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[p.Seq]
	switch {
	case e == nil:
		l.wrong = append(l.wrong, "settled without a promise")
	case e.settled:
		l.wrong = append(l.wrong, "settled twice: "+string(e.Target))
	default:
		e.settled, e.Open, e.Owed, e.Took, e.Reason = true, false, p.Owed, p.Took, bytes.Clone(p.Reason)
		e.Made, e.MadeNull, e.OverlapKnown = task.CloneETags(p.Made), p.MadeNull, p.OverlapKnown
		if !l.pendingLocked(&e.Promise) {
			maps.DeleteFunc(l.entries, func(_ uint64, other *entry) bool { return sameKey(&other.Promise, &e.Promise) })
		}
	}
}

// pendingLocked reports whether anything is owed, or may come to be, of p's key.
func (l *ledger) pendingLocked(p *Promise) bool {
	for _, e := range l.entries {
		if (e.Owed != 0 || e.Open) && sameKey(&e.Promise, p) {
			return true
		}
	}
	return false
}

func sameKey(a, b *Promise) bool {
	return bytes.Equal(a.Bucket, b.Bucket) && bytes.Equal(a.Key, b.Key)
}

// newest is what is known of a pending key's last write.
func (l *ledger) newest(bucket, key string) (last entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if string(e.Bucket) == bucket && string(e.Key) == key && e.Seq > last.Seq {
			last = *e
		}
	}
	return last
}

// owing is what is owed, in the order of stamps.
func (l *ledger) owing() (list []entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if e.Owed != 0 || e.Open {
			list = append(list, *e)
		}
	}
	slices.SortFunc(list, func(a, b entry) int { return int(a.Seq) - int(b.Seq) })
	return list
}

// checkJournal: at rest nothing is open, and whatever the synclog says of a write
// that was taken is owed.
func (r *rig) checkJournal() {
	r.journal.mu.Lock()
	for _, w := range r.journal.wrong {
		r.t.Errorf("journal: %s", w)
	}
	r.journal.mu.Unlock()
	if r.journal.broken.Load() || r.journal.failed.Load() {
		return
	}
	if list := r.journal.underWay(); len(list) > 0 {
		r.t.Errorf("under way at rest: %v", list)
	}
	list := r.journal.owing()
	for _, e := range list {
		if e.Open {
			r.t.Errorf("an intent is open at rest: %s %s", e.Method, e.Target)
		}
	}
	for _, d := range r.records.list() {
		if d.Op == OpStoring && !slices.ContainsFunc(list, func(e entry) bool { return r.owes(&e, &d) }) {
			r.t.Errorf("a divergence that the journal does not know: %+v", d)
		}
	}
}

func (r *rig) owes(e *entry, d *Divergence) bool {
	if string(e.Bucket) != d.Bucket || string(e.Key) != d.Key || e.Owed == 0 {
		return false
	}
	for i, b := range r.e.o.Backends {
		if b.Name() == d.FailedHost && e.Owed&(1<<i) != 0 {
			return true
		}
	}
	return d.Error == outcome.OutOfOrder // repair looks at all of them
}

// forget resolves a key, as repair would.
func (l *ledger) forget(bucket, key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.entries, func(_ uint64, e *entry) bool { return string(e.Bucket) == bucket && string(e.Key) == key })
}

// owe makes backends owe a key, as verify would.
func (l *ledger) owe(bucket, key string, owed uint64) {
	p := Promise{Seq: l.Stamp(time.Time{}), Bucket: []byte(bucket), Key: []byte(key), Owed: owed}
	_ = l.Promise([]Promise{p})
}
