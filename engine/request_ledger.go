package engine

import (
	"sync/atomic"

	"github.com/akubra/akubra/s3"
	"github.com/akubra/akubra/synclog/task"
)

// journalState is how far a write has come on its way into the journal. Two goroutines
// write it down between them: the one that answers the client, and the last leg's.
//
//   - The one that answers takes it from journalUnwritten to journalPromising while legs are
//     out, and on to journalPromised, or back where the intent could not be written.
//   - A last leg that finds journalPromising makes it journalLeft. The one that answers then
//     does the last leg's part, too, and makes it journalSettled.
//   - A last leg that finds journalPromised leaves it so, and settles the intent.
//   - A last leg that finds journalUnwritten writes down how the write has ended, and makes
//     it journalSettled. One that is to answer meanwhile makes it journalAwaited, and waits.
//   - A panic while an intent is written takes it back to journalUnwritten, and settles it
//     where it was journalLeft (endPromising). Where the last leg's part panics,
//     neverSettled does what the others wait for.
type journalState uint8

const (
	journalUnwritten journalState = iota // nothing is written, or the last leg is at it
	journalPromising                     // an intent is being written
	journalLeft                          // the same, and the last leg has left its part to whoever writes it
	journalPromised                      // the intent is written
	journalAwaited                       // the last leg is at it, and the client's answer waits (settled)
	journalSettled                       // the last leg's part is done, or could not be: err
)

// requestLedger is what the journal and the table of writes under way know of the request. Its
// fields are of the handler's goroutine until the request is launched.
type requestLedger struct {
	key   []byte       // decoded; of journaled writes
	write JournalWrite // nil: the journal was not told that it is under way
	began uint64       // the place of the write's beginning in the order of writes
	seq   uint64       // the write's own place; under the request's mu
	// turn is its place in the table of writes under way (R19), nil where it has none;
	// whoever settles it takes it out. It is own, but for a form's.
	turn *turn
	own  turn
	// deletes are the keys of a multi-object delete (R24): the handler fills it
	// in before the body goes out, under the request's mu.
	deletes []deletion
	charge  int64 // of Engine.deleting; the handler's
	// named is how many of them name a version by its id, and givers are the backends that
	// gave these, as far as that is known; as deletes.
	named  int
	givers uint64

	answered atomic.Bool // its client may have been told
	told     uint64      // since when, in the order of writes, if legs were out then; under the request's mu

	made atomic.Int64 // size of the object that an upload by form or in parts makes; 0: not known

	state journalState // under the request's mu
	// nothingOwed: all legs have ended well before the answer, and the journal knew of
	// nothing that the write could replace; of the last leg.
	nothingOwed bool
	unordered   uint64        // backends where overlapping writes may differ; settle's
	settled     chan struct{} // capacity 1: journalAwaited has become journalSettled
	err         error         // valid once journalSettled

	// Memory for entries; of the goroutine that promises or settles.
	promisedVotes []vote
	entries       []Promise
	idText        []byte
}

// keptEntries is the most entries that memory is kept for.
const keptEntries = 16

// reset forgets everything but the memory.
func (j *requestLedger) reset() {
	if cap(j.entries) > keptEntries {
		j.entries = nil
	}
	clear(j.entries[:cap(j.entries)])
	j.key, j.write, j.began, j.seq, j.told = nil, nil, 0, 0, 0
	j.turn, j.deletes, j.charge, j.named, j.givers = nil, nil, 0, 0, 0
	j.made.Store(0)
	j.answered.Store(false)
	j.state, j.nothingOwed, j.unordered, j.err = journalUnwritten, false, 0, nil
}

// beginForm notes the write of a form's file.
func (j *requestLedger) beginForm(key []byte, t *turn, began uint64, write JournalWrite) {
	j.key, j.turn, j.began, j.write = key, t, began, write
}

// take notes that a multi-object delete takes so much of the memory for them (R23).
func (j *requestLedger) take(n int64) { j.charge += n }

// giveBack gives back what a multi-object delete has taken of it.
func (j *requestLedger) giveBack(e *Engine) {
	if j.charge != 0 {
		e.deleting.Add(-j.charge)
	}
}

// noteNamed notes how many versions a multi-object delete names by their ids, and which
// backends gave them, as far as that is known. Under the request's mu.
func (r *request) noteNamed(list []deletion) {
	for i := range list {
		if id := list[i].VersionID; s3.IsVersion(id) {
			r.ledger.named++
			if owner, known := r.e.versions.Get(r.versionKey(id)); known {
				r.ledger.givers |= 1 << owner
			}
		}
	}
}

// given is how many versions it names, and which backends gave them, as far as that is known.
func (j *requestLedger) given() (n int, backends uint64) { return j.named, j.givers }

// namesVersions are the deletes if any of them names a version.
func (j *requestLedger) namesVersions() []deletion {
	if j.named == 0 {
		return nil
	}
	return j.deletes
}

// setMade notes the size of the object that the request makes.
func (j *requestLedger) setMade(size int64) { j.made.Store(size) }

// madeSize is that size, or 0 where it is not known.
func (j *requestLedger) madeSize() int64 { return j.made.Load() }

// overlaps reports whether another write to the key is, or was, under way beside this one; see overlapped.
func (r *request) overlaps() (is, known bool) {
	if r.ledger.turn == nil {
		return false, false
	}
	is, known = r.e.writes.overlapped(r.ledger.turn)
	either := r.readsEither()
	return is || either, known && !either
}

// enterOverlaps notes that the write is under way, if it is one to one key. It is false
// where repair keeps the key for too long.
func (r *request) enterOverlaps() bool {
	r.orderCopy()
	j := &r.ledger
	if j.turn != nil { // since beginAlone
		r.e.writes.orderLegs(j.turn)
		return true
	}
	if !r.head.isOneKey() && !r.head.isPart() {
		return true
	}
	if !r.e.writes.beginWithin(&j.own, hashOfTarget(&r.head.target), r.writer(), r.o.SlotTimeout) {
		return false
	}
	j.turn = &j.own
	return true
}

// writer is whose turn the request's is.
func (r *request) writer() writer {
	w := writer{r: r, unordered: r.message.Started()}
	if r.head.isPart() {
		w.aspect = task.AspectOf(r.head.method, r.head.raw, r.head.target.Key, true)
	}
	return w
}

// isHeldBack reports whether a leg has to follow an earlier write's.
func (r *request) isHeldBack() bool {
	for i := range r.legs {
		if r.legs[i].isHeldBack() {
			return true
		}
	}
	return false
}

// noteAnswered notes that the client may be told now: what begins from now on comes behind
// the request's writes (R19).
func (j *requestLedger) noteAnswered() { j.answered.Store(true) }

func (j *requestLedger) isAnswered() bool { return j.answered.Load() }

// isPromised reports whether the journal has the intent of the write, and not yet its end; under the
// request's mu.
func (j *requestLedger) isPromised() bool { return j.state == journalPromised }

// promised are that intent's number, and the votes that it knows.
func (j *requestLedger) promised() (seq uint64, votes []vote) { return j.seq, j.promisedVotes }

// unorder notes that the request's writes do not wait for others.
func (j *requestLedger) unorder(e *Engine) {
	if j.turn != nil {
		e.writes.unorder(j.turn)
	}
	for i := range j.deletes {
		if t := &j.deletes[i].turn; t.isUnderWay() {
			e.writes.unorder(t)
		}
	}
}

// hasOneTurn reports whether it is a write to one key that is in the table.
func (r *request) hasOneTurn() bool { return r.ledger.turn != nil && r.head.isOneKey() }

// unorderAt notes that its leg to one backend has not waited for its turn.
func (r *request) unorderAt(backend int) { r.e.writes.unorderAt(r.ledger.turn, backend) }

// passTurn notes that a leg is about to end, and starts those that have waited for it.
func (r *request) passTurn(l *leg) {
	if !r.head.write {
		return
	}
	t, deletes := r.ledger.turn, r.ledger.deletes
	if r.head.is(s3.KindDelete) || r.head.is(s3.KindForm) { // the handler may be about to set them
		r.mu.Lock()
		t, deletes = r.ledger.turn, r.ledger.deletes
		r.mu.Unlock()
	}
	unsure := l.mayLandLate()
	if t != nil {
		startNext(r.e.writes.legEnded(t, l.backend, l.state == votePositive, unsure), unsure)
	}
	if r.head.isOfBucket() {
		startNext(r.e.ofBuckets.legEnded(&r.ofBucket, l.backend), unsure)
	}
	for i := range deletes {
		if t := &deletes[i].turn; t.isUnderWay() {
			startNext(r.e.writes.legEnded(t, l.backend, false, unsure), unsure) // of one key the answer tells no more
		}
	}
	r.passSource(l)
}

// beginAlone waits until no other conditional write to the key is under way, and, briefly,
// until no write at all is: two that land in another order on each backend would have to be
// repaired before the key has a decider again.
func (r *request) beginAlone() *s3Error {
	if !r.head.isConditional() {
		return nil
	}
	j := &r.ledger
	if !r.e.writes.beginAlone(&j.own, hashOfTarget(&r.head.target), r.writer(), r.head.id, min(aloneWait, r.o.SlotTimeout), r.o.SlotTimeout) {
		return errKeyContended
	}
	j.turn = &j.own
	return nil
}

// decided lets the next conditional write to the key begin: what this one's followers owe
// is written down.
func (r *request) decided() {
	if r.head.isConditional() {
		r.e.writes.decided(hashOfTarget(&r.head.target), r.head.id)
	}
	for i := range r.ledger.deletes {
		// The last leg may be leaving the table at the same time: of the turn nothing is looked at.
		if d := &r.ledger.deletes[i]; d.alone {
			r.e.writes.decided(hashKey(r.head.target.Bucket, d.Key), r.head.id)
		}
	}
}

// noteBegin gives the write the place of its beginning in the order of writes.
func (r *request) noteBegin() {
	if r.journaled() {
		r.ledger.began = r.e.o.Journal.Stamp(r.head.begun)
	}
}

// mayWaitForIntent reports whether an intent may have to wait for a disk.
func (r *request) mayWaitForIntent() bool {
	return r.journaled() && (r.ledger.write == nil || r.ledger.write.Waits())
}

// mayWriteDownLocked reports whether the last leg of a write that went well has to write
// something down.
func (r *request) mayWriteDownLocked() bool {
	if !r.journaled() || r.ledger.state != journalUnwritten {
		return false
	}
	r.ledger.nothingOwed = r.ackedLocked() && r.e.o.Journal.Quiet()
	return !r.ledger.nothingOwed
}

// leaveToPromising reports whether an intent is being written just now, and leaves the last
// leg's part to whoever does so. promised: it is written.
func (r *request) leaveToPromising() (left, promised bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ledger.state == journalPromising {
		r.ledger.state = journalLeft
		return true, false
	}
	return false, r.ledger.state == journalPromised
}

// endIntent notes that an intent was written, or could not be. It reports whether the
// last leg has left its part to the caller meanwhile.
func (r *request) endIntent(err error) (left bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch j := &r.ledger; {
	case j.state == journalLeft:
		j.state = journalSettled
		return true
	case err != nil:
		j.state = journalUnwritten
	default:
		j.state = journalPromised
	}
	return false
}

// dropIntent takes an intent back whose writing has panicked. It reports whether the last
// leg has left its part to the caller.
func (r *request) dropIntent() (left bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	left = r.ledger.state == journalLeft
	if left || r.ledger.state == journalPromising {
		r.ledger.state = journalUnwritten
	}
	return left
}

// setSettled notes that the last leg's part is done, or could not be.
func (r *request) setSettled(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setSettledLocked(err)
}

func (r *request) setSettledLocked(err error) {
	j := &r.ledger
	awaited := j.state == journalAwaited
	j.state, j.err = journalSettled, err
	if awaited {
		j.settled <- struct{}{}
	}
}

// forceSettled is setSettled after a panic. It reports whether the last leg's part was
// still to be done, and is not left to who answers.
func (r *request) forceSettled() (leaves bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.ledger.state {
	case journalSettled, journalLeft: // that had been done, or left to who answers
	case journalPromising:
		r.ledger.state = journalLeft
	case journalUnwritten, journalPromised, journalAwaited:
		r.setSettledLocked(errPanicked)
		return true
	}
	return false
}

// awaitSettled waits until the last leg has written down how the write has ended.
func (r *request) awaitSettled() error {
	<-r.ledger.settled
	return r.ledger.err
}

// leaveDecider has a process that is killed leave behind that nobody but the decider may have the
// write, which may yet refuse it (R29).
func (r *request) leaveDecider() {
	j, decider := &r.ledger, r.race.decidedBy()
	if j.write == nil || decider < 0 || len(r.e.o.Backends) == 1 {
		return
	}
	j.entries = append(j.entries[:0], Promise{Owed: 1 << r.legs[decider].backend, Unacknowledged: true})
	j.write.Leave(&j.entries[0])
}

// leaveTaken has it leave behind, before the followers may have the write, that the decider, whose
// leg is l, has taken it: all are to have it then.
func (r *request) leaveTaken(l *leg) {
	if l.state != votePositive || !l.isDecider() || r.ledger.write == nil {
		return
	}
	defer r.e.recoverStep("noting what the decider has taken")
	if votes, kept := r.keepsFollowers(l, r.ledger.promisedVotes[:0]); kept {
		r.ledger.promisedVotes = votes
		ps := r.promises(votes)
		ps[0].Seq = r.ledger.began // as stamp will say
		r.ledger.write.Leave(&ps[0])
	}
}
