package journal

import (
	"fmt"
	"slices"
	"time"
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
	touches := true
	for i := range es {
		e := &es[i]
		if err := e.checkSize(); err != nil {
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
	if len(b.buf) == before || j.failure != nil {
		return nil
	}
	err := j.waitLocked(b)
	if err != nil {
		j.disownLocked(es)
	}
	return err
}

// recallAllLocked has the records read that entries are merged with. It gives the lock up
// meanwhile, and goes on until nothing has changed since.
func (j *Journal) recallAllLocked(es []Entry) (got recalled) {
	for unlocked := j.keys.live > 0; unlocked && !j.closed; {
		unlocked = false
		for i := range es {
			if e := &es[i]; !e.Open && j.recallLocked(j.setIdent(e), &got) {
				unlocked = true
			}
		}
	}
	return got
}

// Intend is Promise for an open entry that the end of this process leaves behind
// elsewhere: it does not wait, and the entry is written within Options.SyncEvery,
// unless it has been settled by then with nothing owed: the log never hears of most.
// Its Settle may be lost with it until Flush has returned. Not with Options.Power.
func (j *Journal) Intend(e *Entry) error {
	if err := e.checkSize(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.refusalLocked(); err != nil {
		return err
	}
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
	j.cur.buf = append(beginFrame(j.cur.buf, typeIntent), o.payload...)
	o.at = j.appendedLocked(start)
	j.segment(o.at.seg).live++
}

// disownLocked ends the open entries of a Promise that failed: nobody may come to
// settle them.
func (j *Journal) disownLocked(es []Entry) {
	for i := range es {
		var got recalled
		j.recallLocked(j.setIdent(&es[i]), &got)
		if id, ok := j.opens.find(es[i].Seq); ok && es[i].Open {
			var r record
			if j.openEntry(&j.opens.list[id], &r) {
				r.Aux |= AuxUnacknowledged
				j.recalled = got
				j.endLocked(id, &r)
				j.recalled = nil
			}
		}
	}
	j.knowLocked()
}

// checkSize refuses what is too long for a record.
func (e *Entry) checkSize() error {
	n := len(e.Method) + len(e.Target) + len(e.Host) + len(e.Bucket) + len(e.Key) + len(e.ETag) + len(e.ID)
	if n > maxPayload-maxOverhead-2*maxReason {
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
	r := record{Entry: *e}
	r.Owed &= j.mine
	if !e.Open {
		j.applyLocked(j.setIdent(&r.Entry), &r, 0)
		return
	}
	hash := j.setIdent(&r.Entry)
	if !logged {
		j.payload = r.appendPayload(j.payload[:0], typeIntent)
		j.addOpen(r.Seq, hash, place{}, j.payload)
		return
	}
	at := j.appendLocked(typeIntent, &r)
	payload := j.cur.buf[len(j.cur.buf)-at.size+frameLen:]
	j.addOpen(r.Seq, hash, at, payload)
}

// Settle ends an open entry: all of its legs have ended. owed are the backends
// that still differ, reason why. It is buffered and never waits for a write; where
// the key is pending already it reads that record, without holding up anybody.
// A settlement that is lost in a crash leaves the entry as of unknown outcome.
// A seq that is not open is ignored.
func (j *Journal) Settle(seq, owed uint64, reason []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed {
		j.recallAndSettleLocked(seq, owed, reason)
	}
}

// SettleSoon is Settle for who must not wait for a disk: where a record has to be read
// another goroutine does it, which Close waits for.
func (j *Journal) SettleSoon(seq, owed uint64, reason []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	id, ok := j.opens.find(seq)
	if !ok || j.closed {
		return
	}
	if _, missing := j.missingLocked(j.opens.list[id].hash, nil); !missing {
		j.settleLocked(seq, owed, reason)
		return
	}
	reason = slices.Clone(reason)
	j.wg.Go(func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.recallAndSettleLocked(seq, owed, reason)
	})
}

// recallAndSettleLocked gives the lock up while it reads.
func (j *Journal) recallAndSettleLocked(seq, owed uint64, reason []byte) {
	var got recalled
	if id, ok := j.opens.find(seq); ok {
		j.recallLocked(j.opens.list[id].hash, &got)
	}
	j.recalled = got
	j.settleLocked(seq, owed, reason)
	j.recalled = nil
}

func (j *Journal) settleLocked(seq, owed uint64, reason []byte) {
	id, ok := j.opens.find(seq)
	if !ok {
		return
	}
	o := &j.opens.list[id]
	if owed&j.mine == 0 && !j.keys.mayHave(o.hash) && !j.opens.inFlight(o.hash, id) { // the usual case
		logged := o.logged()
		j.dropOpen(id)
		if logged {
			j.appendSettleLocked(seq)
		}
		j.knowLocked()
		return
	}
	var r record
	if j.openEntry(o, &r) {
		r.Owed = owed & j.mine
		if len(reason) > 0 {
			r.Reason = reason
		}
		j.endLocked(id, &r)
	}
	j.knowLocked()
}

// endLocked ends the open intent id, of which r is what it has become.
func (j *Journal) endLocked(id uint32, r *record) {
	o := &j.opens.list[id]
	hash, closes := o.hash, r.Seq
	if !o.logged() {
		closes = 0
	}
	j.dropOpen(id)
	r.Open = false
	j.setIdent(&r.Entry)
	j.applyLocked(hash, r, closes)
}

// applyLocked takes in a write whose legs have all ended, the key being the last
// setIdent's; closes is the intent that ends so, or 0.
func (j *Journal) applyLocked(hash uint32, r *record, closes uint64) {
	j.logOpensOfLocked(hash)
	id, old := j.find(hash)
	if old == nil {
		if r.Owed == 0 && !j.othersOpen(hash, r.Seq) {
			if closes != 0 {
				j.appendSettleLocked(closes)
			}
			return
		}
		r.first, r.closes = r.Seq, closes
		j.addKey(r.first, hash, j.appendLocked(typeState, r), r.Owed, false)
		return
	}
	m := mergeRead(old, r)
	m.Owed |= old.Owed &^ j.mine // a backend that is gone has taken nothing since
	switch {
	case m.Owed == 0 && !j.othersOpen(hash, 0):
		j.appendGoneLocked(&m.Entry, closes)
		j.dropKey(id)
	case r.Owed == 0 && !newer(r, old):
		if closes != 0 {
			j.appendSettleLocked(closes)
		}
	default:
		m.closes = closes
		j.moveKey(id, j.appendLocked(typeState, &m), m.Owed, false)
		j.keys.changed(id)
	}
}
