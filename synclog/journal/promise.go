package journal

import (
	"fmt"
	"slices"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// Promise makes entries durable in one group commit and returns when they are:
// written, or with Options.Power synced. It sets Seq where it is 0 or taken by an
// open intent.
//
// An entry with Owed 0 that is not Open is only a touch: where its key is pending,
// or has an older intent open, it becomes what repair knows as the newest write of
// the key; elsewhere nothing is written.
//
// An error is ErrFailed, with the cause, ErrTooLarge or ErrClosed; what then
// becomes of the entries is unknown. With Options.Continue failures are told to
// OnError alone.
func (j *Journal) Promise(es []Entry) error {
	for i := range es {
		es[i].Answered = 0 // it is this call that says so
	}
	return j.promise(es)
}

// promise is Promise that keeps Answered of what is not open: of what an earlier process has
// left.
func (j *Journal) promise(es []Entry) error {
	touches := true
	for i := range es {
		e := &es[i]
		if err := admit(e); err != nil {
			return err
		}
		touches = touches && e.Owed&j.mine == 0 && !e.Open
	}
	if touches && j.Quiet() {
		for i := range es {
			j.stamp(&es[i])
		}
		return nil
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	got := j.recallAllLocked(es)
	if err := j.refusalLocked(); err != nil {
		return err
	}
	b, before := j.cur, len(j.cur.buf)
	j.recalled = got
	for i := range es {
		j.promiseLocked(&es[i], true)
	}
	j.recalled = nil
	j.knowLocked()
	if len(b.buf) == before {
		b = j.closingLocked(es)
	}
	if b == nil || j.failure != nil {
		return nil
	}
	err := j.waitLocked(b)
	if err != nil {
		j.disownLocked(es)
	}
	return err
}

// beside takes in writes that have ended, as a touch each, buffered. What is open, or known
// otherwise, is left as it is.
func (j *Journal) beside(es []Entry) {
	es = slices.DeleteFunc(es, func(e Entry) bool { return admit(&e) != nil || e.Seq == 0 || len(e.Key) == 0 })
	j.mu.Lock()
	defer j.mu.Unlock()
	j.recalled = j.recallAllLocked(es)
	for i := range es {
		e := es[i]
		e.Owed, e.Took = e.Owed&j.mine, e.Took&j.mine
		if _, open := j.opens.find(e.Seq); !open && !j.closed && (j.failure == nil || len(j.cur.buf) <= maxHeld) {
			j.applyLocked(j.hashOf(identOf(&e)), &e, 0)
		}
	}
	j.recalled = recalled{}
	j.knowLocked()
}

// recallAllLocked has the records read that entries are merged with. It gives the lock up
// meanwhile, and goes on until nothing has changed since.
func (j *Journal) recallAllLocked(es []Entry) (got recalled) {
	for unlocked := j.keys.live > 0; unlocked && !j.closed; {
		unlocked = false
		for i := range es {
			if e := &es[i]; !e.Open && j.recallLocked(j.hashOf(identOf(e)), &got) {
				unlocked = true
			}
		}
	}
	return got
}

// intend is Promise for an open entry that the end of this process leaves behind
// elsewhere: it does not wait, and the entry is written within Options.SyncEvery,
// unless it has been settled by then with nothing owed: the log never hears of most.
// What becomes of it may be lost with it until Flush has returned. Not with Options.Power.
func (j *Journal) intend(e *Entry) error {
	if err := admit(e); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.refusalLocked(); err != nil {
		return err
	}
	e.Answered = 0
	j.promiseLocked(e, false)
	j.knowLocked()
	return nil
}

// logOpensLocked appends the intents that the log does not have yet.
func (j *Journal) logOpensLocked() {
	for _, id := range j.opens.unlogged {
		o := &j.opens.list[id]
		o.queued = false
		if o.used {
			j.logFirstLocked(o)
		}
	}
	j.opens.unlogged = j.opens.unlogged[:0]
}

// logOpensOfLocked does so with those that may be of a key, so that the log has them
// before what comes after them.
func (j *Journal) logOpensOfLocked(hash uint32) {
	id := j.opens.oldest(hash)
	if id == noOpen || j.opens.list[id].chain.unlogged == 0 {
		return
	}
	for ; id != noOpen; id = j.opens.list[id].newer {
		j.logFirstLocked(&j.opens.list[id])
	}
}

func (j *Journal) logFirstLocked(o *open) {
	if !o.logged() {
		j.logOpenLocked(o)
		j.counts.Written++
		j.opens.toldLog(o)
	}
}

// logOpenLocked appends an intent that is nowhere in the log, or not for long.
func (j *Journal) logOpenLocked(o *open) {
	start := len(j.cur.buf)
	j.cur.buf = append(beginFrame(j.cur.buf, o.typ), o.payload...)
	o.at = j.appendedLocked(start)
	j.segment(o.at.seg).live++
}

func (j *Journal) disown(es []Entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.disownLocked(es)
}

// disownLocked ends the open entries of a Promise that failed: nobody may come to
// settle them.
func (j *Journal) disownLocked(es []Entry) {
	for i := range es {
		var got recalled
		j.recallLocked(j.hashOf(identOf(&es[i])), &got)
		if id, ok := j.opens.find(es[i].Seq); ok && es[i].Open {
			var e Entry
			if j.openEntry(&j.opens.list[id], &e) {
				e.Unacknowledged = true
				j.recalled = got
				j.endLocked(id, &e)
				j.recalled = nil
			}
		}
	}
	j.knowLocked()
}

// maxEntry is the most that a write may take: one of each aspect fits into a record.
const maxEntry = maxPayload / 10

// admit gives an entry about a bucket the target that it is kept by, and refuses one that
// is too long.
func admit(e *Entry) error {
	if len(e.Key) == 0 {
		e.Target = task.BucketTarget(e.Bucket, e.Target)
	}
	return checkSize(e)
}

// checkSize refuses what is too long for a record.
func checkSize(e *Entry) error {
	if n := sizeOf(e) + len(e.Bucket) + len(e.Key); n > maxEntry || len(e.Bucket)+2*len(e.Key) > maxEntry {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, n)
	}
	return nil
}

// refusalLocked is why nothing can be promised now, or nil.
func (j *Journal) refusalLocked() error {
	switch {
	case j.closed:
		return ErrClosed
	case j.failure != nil && !j.o.Continue:
		return j.failure
	}
	return nil
}

func (j *Journal) stamp(e *Entry) {
	if e.Seq == 0 || e.Seq >= maxSeq {
		e.Seq = j.Stamp(time.Now())
		return
	}
	for last := j.seq.Load(); last < e.Seq; last = j.seq.Load() {
		if j.seq.CompareAndSwap(last, e.Seq) {
			return
		}
	}
}

// maxHeld bounds what is kept in memory while nothing can be written.
const maxHeld = 4 << 20

// promiseLocked takes in e. An open one goes to the log at once if logged.
func (j *Journal) promiseLocked(e *Entry, logged bool) {
	if j.failure != nil && len(j.cur.buf) > maxHeld {
		j.counts.Dropped++
		j.stamp(e)
		return
	}
	if e.Seq != 0 {
		if _, taken := j.opens.find(e.Seq); taken {
			e.Seq = 0
		}
	}
	j.stamp(e)
	if e.Open && !e.Unacknowledged {
		e.Answered = j.Stamp(time.Now())
	}
	w := *e
	w.Owed, w.Took, w.Settled = w.Owed&j.mine, w.Took&j.mine, 0
	hash := j.hashOf(identOf(&w))
	if !e.Open {
		j.applyLocked(hash, &w, 0)
		return
	}
	if !logged {
		j.payload = appendIntent(j.payload[:0], &w)
		j.addOpen(&w, hash, place{}, typeIntent, j.payload)
		return
	}
	at := j.appendIntentLocked(&w)
	payload := j.cur.buf[len(j.cur.buf)-at.size+frameLen:]
	j.addOpen(&w, hash, at, typeIntent, payload)
}

// settleOpen ends an open entry, the one with e's Seq: all of its legs have ended. Of e count
// Owed, the backends that still differ, with Reason, Took, ETags and Overlapped, and ETag and
// Size where they are known only now. It is buffered and never waits for a write; where
// the key is pending already it reads that record, without holding up anybody. A
// settlement that is lost in a crash leaves the entry as of unknown outcome. One of an
// entry that is not open is ignored.
func (j *Journal) settleOpen(e *Entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed {
		j.recallAndSettleLocked(e)
	}
}

// trySettle is settleOpen for what nobody will have to be told apart from: nothing is owed,
// and nothing else is known of the key. It waits for no disk. Where it says no, the
// settlement has to be in the log before the slot may go: after a kill the older writes that
// are open would else stand for the key (R20, R35).
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

// settleLate settles what trySettle has left, and has it written down, on a goroutine of
// its own, which Close waits for. It ends the slots then.
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

// aloneLocked reports whether nothing but an intent is known of its key, to the log as well.
func (j *Journal) aloneLocked(id uint32) bool {
	hash := j.opens.list[id].hash
	return !j.keys.mayHave(hash) && !j.opens.inFlight(hash, id) && j.closing[hash] == nil
}

// ownedBy is a settlement with memory of its own.
func ownedBy(e *Entry) *Entry {
	own := &Entry{Seq: e.Seq, Owed: e.Owed, Took: e.Took, Size: e.Size, Overlapped: e.Overlapped}
	own.ETag, own.Reason = slices.Clone(e.ETag), slices.Clone(e.Reason)
	for _, x := range e.ETags {
		own.ETags = append(own.ETags, task.BackendETag{Backend: x.Backend, ETag: slices.Clone(x.ETag)})
	}
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
	if e.Owed&j.mine == 0 && j.aloneLocked(id) { // the usual case
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
		w.Overlapped = w.Overlapped || e.Overlapped
		w.ETags = e.ETags
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
