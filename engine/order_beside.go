package engine

import (
	"bytes"
	"math/bits"
	"slices"
	"strconv"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// A write that ends well on all backends owes nothing, and the journal need not hear of it.
// But where another one to its key overlapped with it, and ends later, either may be what a
// backend is left with (R19): so the later one tells the journal of both, for repair to know
// what it finds for what it is (R35).

// beside is a write that has ended, as those that overlapped with it know it. It does not
// change.
type beside struct {
	number uint32 // as a turn's
	upTo   uint32 // the run's newest when it ended: what began later is behind it everywhere
	stored uint64 // backends that took it
	landed bool   // it may be stored anywhere
	// entry is for the journal, which would not know the write else: it was acknowledged,
	// and ended well. nil: there is no journal, or the write was not acknowledged, and the
	// journal was told so.
	entry *Promise
}

// maxBeside is one more than the journal keeps of a key, so that it knows that there were more.
const maxBeside = 9

// endBeside is end for a write that others are told of. It gives where the writes may have
// landed in another order.
func (o *overlaps) endBeside(t *turn, b *beside) (unordered uint64) {
	s := o.shard(t.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	t.ended = true
	if unordered = t.differing(b.stored); unordered != 0 {
		b.entry = nil // it tells the journal itself that it is owed
	}
	k := s.findLocked(t.hash)
	b.number, b.upTo = t.number, k.begun
	for w := k.turns; w != nil; w = w.next {
		if w != t && !w.ended && w.overlaps(t) {
			w.tell(b)
		}
	}
	return unordered
}

// tell notes that a write that overlaps with t has ended. What that one came behind on all
// backends is not the last there.
func (t *turn) tell(b *beside) {
	kept := t.beside[:0]
	for _, old := range t.beside {
		if old.upTo >= b.number {
			kept = append(kept, old)
		}
	}
	if kept = append(kept, b); len(kept) > maxBeside {
		kept = slices.Delete(kept, 0, 1)
	}
	t.beside = kept
}

// differing is where t, which these backends took, may have landed in another order than a write
// that overlapped with it and has ended.
func (t *turn) differing(positive uint64) uint64 {
	set, overlaps := positive, false
	for _, b := range t.beside {
		set |= b.stored
		overlaps = overlaps || b.landed
	}
	if !overlaps || positive == 0 || bits.OnesCount64(set) < 2 {
		return 0
	}
	return set
}

// differing is the turn's, for a write that has ended.
func (o *overlaps) differing(t *turn, positive uint64) uint64 {
	s := o.shard(t.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.differing(positive)
}

// hasBeside reports whether the journal has to be told of others, once t has ended.
func (t *turn) hasBeside() bool {
	return slices.ContainsFunc(t.beside, func(b *beside) bool { return b.entry != nil })
}

// entries adds what the journal has to be told beside a write that has ended: those that
// overlapped with it, ended before it, and were acknowledged. own is what it was told of the write
// itself, unless that leaves doubt: of that all are known then.
func (t *turn) entries(es []Promise, own *Promise) []Promise {
	if !t.hasBeside() {
		return es
	}
	for _, b := range t.beside {
		if b.entry != nil {
			es = append(es, *b.entry)
		}
	}
	if own == nil {
		return es
	}
	known := *own
	known.Owed, known.OverlapKnown = 0, true
	return append(es, known)
}

// besideEntry is what the journal will have to be told by the writes that overlap with the
// request's. nil: it is told anyway, or nothing may be said of it.
func (r *request) besideEntry() *Promise {
	if !r.journaled() || !r.stamp() {
		return nil
	}
	return r.keepBeside(r.promiseOf(r.besideID(), r.race.result()))
}

// besideDelete is one key of a multi-object delete, as the writes that overlap with it know it.
func (r *request) besideDelete(w *deleteFacts, d *deletion, l landing) *beside {
	b := &beside{stored: l.stored, landed: l.stored|l.unsure != 0}
	if b.landed && r.journaled() && r.stamp() {
		b.entry = r.keepBeside(r.promiseOfDelete(r.besideID(), w, d))
	}
	return b
}

// besideID is the request's id, but not in its memory, which may be in use: somebody may be
// writing an intent.
func (r *request) besideID() []byte { return strconv.AppendUint(nil, uint64(r.head.id), 16) }

func (r *request) keepBeside(e Promise) *Promise {
	if e.Owed != 0 || e.Unacknowledged {
		return nil
	}
	e.Overlapped = true
	e.Answered, e.Settled = r.ledger.told, r.e.o.Journal.Stamp(time.Now())
	for _, b := range []*[]byte{&e.Target, &e.Host, &e.Bucket, &e.Key, &e.ETag, &e.Reason} {
		*b = bytes.Clone(*b)
	}
	e.ETags, e.Made = task.CloneETags(e.ETags), task.CloneETags(e.Made)
	return &e
}

// tellBeside has the journal know the writes that overlapped with the request's and have
// ended, now that it knows the request's own.
func (r *request) tellBeside(own []Promise) {
	var es []Promise
	if r.ledger.turn != nil {
		mine := &own[0]
		if r.readsEither() {
			mine = nil
		}
		es = r.ledger.turn.entries(es, mine)
	}
	for i := range r.ledger.deletes {
		d := &r.ledger.deletes[i]
		if len(own) > 0 && own[0].Seq == d.seq { // those that came to nothing are left out
			es, own = d.turn.entries(es, &own[0]), own[1:]
		}
	}
	if len(es) > 0 {
		r.ledger.write.Beside(es)
	}
}
