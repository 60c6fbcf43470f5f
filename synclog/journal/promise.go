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

// beside takes in writes that have ended, each as a buffered touch. A write that is open or known
// already keeps everything but OverlapKnown.
func (j *Journal) beside(es []Entry) {
	es = slices.DeleteFunc(es, func(e Entry) bool { return admit(&e) != nil || e.Seq == 0 || len(e.Key) == 0 })
	j.mu.Lock()
	defer j.mu.Unlock()
	j.recalled = j.recallAllLocked(es)
	for i := range es {
		e := es[i]
		e.Owed, e.Took, e.MadeNull = e.Owed&j.mine, e.Took&j.mine, e.MadeNull&j.mine
		if _, open := j.opens.find(e.Seq); !open && !j.closed && (j.failure == nil || len(j.cur.buf) <= maxHeld) {
			j.applyLocked(j.hashOf(identOf(&e)), &e, 0)
		}
	}
	j.recalled = recalled{}
	j.knowLocked()
}

// recallAllLocked has the records read that the entries will be merged with. It gives up the lock
// meanwhile, and repeats until nothing has changed in between.
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

// intend is Promise for an open entry that also stands elsewhere if this process dies. It does not
// wait: the entry is written within Options.SyncEvery, unless it is settled by then and owes nothing,
// so most never reach the log. Until Flush has returned, the entry and its settlement may be lost.
// Not with Options.Power.
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

// logOpensOfLocked appends only those that may belong to a key, so that the log has them before what
// comes after them.
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

// logOpenLocked appends an intent that is not in the log, or is about to go from it.
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
	w.Owed, w.Took, w.MadeNull, w.Settled = w.Owed&j.mine, w.Took&j.mine, w.MadeNull&j.mine, 0
	w.OverlapKnown = w.OverlapKnown && !w.Open // others may still end beside it
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
