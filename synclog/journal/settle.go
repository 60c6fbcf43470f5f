package journal

import (
	"slices"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// settleOpen ends the open entry with e's Seq: all of its legs have ended. It uses e's Owed, the
// backends that still differ, with Reason, Took, ETags, what it made, Overlapped and OverlapKnown,
// and ETag and Size if they are known only now. It is buffered and never waits for a write; if the
// key is pending already it reads that record, without holding anybody up. If a crash loses the
// settlement, the entry's outcome is unknown. An entry that is not open is ignored.
func (j *Journal) settleOpen(e *Entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed {
		j.recallAndSettleLocked(e)
	}
}

// trySettle is settleOpen for a write that owes nothing, to a key of which nothing else is known. It
// waits for no disk. If it returns false, the settlement must be in the log before the slot is
// freed: otherwise, after a kill, older open writes would stand for the key (R20, R35).
func (j *Journal) trySettle(e *Entry) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	id, ok := j.opens.find(e.Seq)
	if !ok || j.closed {
		return true
	}
	if !j.aloneLocked(id) {
		return false
	}
	j.settleLocked(e)
	return true
}

// settleLate settles what trySettle refused, waits until it is written, and ends the slots. It does
// so on a goroutine of its own, which Close waits for.
func (j *Journal) settleLate(es []*Entry, slots []int32) {
	late := func() {
		j.mu.Lock()
		for _, e := range es {
			j.recallAndSettleLocked(e)
		}
		j.mu.Unlock()
		_ = j.Flush() // where it fails, the slots are kept
		for _, slot := range slots {
			j.endSlot(slot)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed { // else the slots stay for the next process
		j.wg.Go(late)
	}
}

// aloneLocked reports whether an intent is all that memory and log have of its key.
func (j *Journal) aloneLocked(id uint32) bool {
	hash := j.opens.list[id].hash
	return !j.keys.mayHave(hash) && !j.opens.inFlight(hash, id) && j.closing[hash] == nil
}

// ownedBy is a settlement with memory of its own.
func ownedBy(e *Entry) *Entry {
	own := &Entry{Seq: e.Seq, Owed: e.Owed, Took: e.Took, Size: e.Size, Overlapped: e.Overlapped, OverlapKnown: e.OverlapKnown, MadeNull: e.MadeNull}
	own.ETag, own.Reason = slices.Clone(e.ETag), slices.Clone(e.Reason)
	own.ETags, own.Made = task.CloneETags(e.ETags), task.CloneETags(e.Made)
	return own
}

// recallAndSettleLocked gives the lock up while it reads.
func (j *Journal) recallAndSettleLocked(e *Entry) {
	var got recalled
	if id, ok := j.opens.find(e.Seq); ok {
		j.recallLocked(j.opens.list[id].hash, &got)
	}
	j.recalled = got
	j.settleLocked(e)
	j.recalled = nil
}

func (j *Journal) settleLocked(e *Entry) {
	id, ok := j.opens.find(e.Seq)
	if !ok {
		return
	}
	o := &j.opens.list[id]
	if e.Owed&j.mine == 0 && j.aloneLocked(id) && !j.mayEndKeys(o) { // the usual case
		logged, hash := o.logged(), o.hash
		j.dropOpen(id)
		if logged {
			j.appendSettleLocked(e.Seq, hash)
		}
		j.knowLocked()
		return
	}
	var w Entry
	if j.openEntry(o, &w) {
		w.Owed, w.Took = e.Owed&j.mine, e.Took&j.mine
		w.Overlapped, w.OverlapKnown = w.Overlapped || e.Overlapped, e.OverlapKnown
		w.ETags, w.Made, w.MadeNull = e.ETags, e.Made, e.MadeNull&j.mine
		if len(e.Reason) > 0 {
			w.Reason = e.Reason
		}
		if len(e.ETag) > 0 {
			w.ETag = e.ETag
		}
		if e.Size != 0 {
			w.Size = e.Size
		}
		j.endLocked(id, &w)
	}
	j.knowLocked()
}

// endLocked ends the open intent id, of which e is what it has become.
func (j *Journal) endLocked(id uint32, e *Entry) {
	o := &j.opens.list[id]
	hash, closes := o.hash, e.Seq
	if !o.logged() {
		closes = 0
	}
	j.dropOpen(id)
	j.applyLocked(hash, e, closes)
}

// applyLocked takes in a write whose legs have all ended; closes is the intent that ends
// so, or 0.
func (j *Journal) applyLocked(hash uint32, e *Entry, closes uint64) {
	of := identOf(e)
	e.Open = false
	if e.Settled == 0 {
		e.Settled = j.Stamp(time.Now()) // so that it shows which writes overlapped
	}
	j.logOpensOfLocked(hash)
	if j.endsKeys(e) {
		e.Owed = e.Took & j.mine
	}
	id, old := j.find(of, hash)
	if old == nil {
		// What ended well is worth a record only as long as writes are open that it may
		// have to be told apart from.
		if e.Owed == 0 && !j.othersOpen(of, hash, e.Seq) && !(e.Overlapped && j.othersOpen(of, hash, 0)) {
			if closes != 0 {
				j.appendSettleLocked(closes, hash)
			}
			return
		}
		r := &j.fresh // whose memory is used again
		*r = record{bucket: e.Bucket, key: e.Key, writes: r.writes[:0], rivals: r.rivals[:0]}
		if len(e.Key) == 0 {
			r.target = e.Target
		}
		r.take(e, j.mine)
		r.closes = closes
		j.addKey(r, hash, j.appendLocked(r))
		return
	}
	old.take(e, j.mine)
	if old.owed() == 0 && !j.othersOpen(of, hash, 0) {
		j.appendGoneLocked(of, hash, closes)
		j.dropKey(id)
		return
	}
	old.closes = closes
	j.moveKey(id, old, j.appendLocked(old))
	j.keys.changed(id)
}
