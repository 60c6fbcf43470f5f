package engine

import (
	"bytes"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/akubra/akubra/s3"
	"github.com/akubra/akubra/synclog/task"
)

// A write is acknowledged only when the journal has what the backends may still
// owe each other (R20). Whoever comes first writes it down: who answers, while
// legs are out (an intent), or the last leg, when all have ended.

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
	journalAwaited                       // the last leg is at it, and the client's answer waits (settledCh)
	journalSettled                       // the last leg's part is done, or could not be: journalErr
)

// journaled reports whether the request is a write that the journal has a say in:
// what is about an upload is one backend's own (R26).
func (r *request) journaled() bool {
	return r.write && r.e.o.Journal != nil && r.kind != s3.KindInitiate && r.kind != s3.KindPart && r.kind != s3.KindUpload
}

// noSlot: the journal was not told of the write.
const noSlot = -1

// beginWrite notes that the write is about to go to the backends.
func (r *request) beginWrite() *s3Error {
	if !r.journaled() {
		return nil
	}
	r.key = r.target.Key
	if bytes.IndexByte(r.key, '%') >= 0 {
		r.key = []byte(r.target.KeyName())
	}
	if r.e.o.Journal.Failed() {
		return errJournal
	}
	if r.kind == s3.KindDelete || r.kind == s3.KindForm {
		return nil // its keys are yet to come: beginDeletes, beginForm
	}
	slot, err := r.e.o.Journal.Begin(r.target.Bucket, r.key, r.head.host, r.raw)
	if err != nil {
		return r.notBegun(err)
	}
	r.slot = slot
	return nil
}

func (r *request) notBegun(err error) *s3Error {
	if errors.Is(err, ErrTooManyWrites) {
		return errTooManyWrites
	}
	if errors.Is(err, ErrKeyTooLong) {
		return errKeyTooLong
	}
	r.e.o.Log.Warn("cannot note that a write is under way, and so refuse it", "error", err.Error(), "id", r.id.String())
	return errJournal
}

// endWrite notes that nothing of the write is under way any more.
func (r *request) endWrite() {
	if r.slot != noSlot {
		r.e.o.Journal.End(r.slot)
	}
	for i := range r.deletes {
		if slot := r.deletes[i].slot; slot != noSlot {
			r.e.o.Journal.End(slot)
		}
	}
}

// promise notes that the client is answered, and makes what the backends may owe durable
// before it is told of the write. Who answers calls it, once the request is decided.
func (r *request) promise() error {
	waits, err := r.beginPromise()
	if waits {
		return r.awaitSettled()
	}
	return err
}

// beginPromise is promise for who must not wait for a disk: waits tells that another
// leg's goroutine is writing, and that awaitSettled has to follow.
func (r *request) beginPromise() (waits bool, err error) {
	if !r.journaled() {
		r.setAnswered()
		return false, nil
	}
	intends, waits, err := r.mayIntend()
	if !intends {
		return waits, err
	}
	ps := r.promises(r.cast)
	if r.slot != noSlot && bytes.Equal(ps[0].Key, r.key) {
		err = r.e.o.Journal.Intend(r.slot, &ps[0])
	} else {
		err = r.e.o.Journal.Promise(ps)
	}

	if r.endIntent(err) {
		r.settlePromised(err == nil)
	}
	return false, err
}

// endIntent notes that an intent was written, or could not be. It reports whether the
// last leg has left its part to the caller meanwhile.
func (r *request) endIntent(err error) (left bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.journal == journalLeft:
		r.journal = journalSettled
		return true
	case err != nil:
		r.journal = journalUnwritten
	default:
		r.journal = journalPromised
	}
	return false
}

// mayIntend reports whether an intent has to be written, and what beginPromise gives if not.
func (r *request) mayIntend() (intends, waits bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setAnsweredLocked()
	switch {
	case !r.ackedLocked():
		return false, false, nil
	case r.ended == len(r.legs):
		if r.journal == journalSettled {
			return false, false, r.journalErr
		}
		r.journal = journalAwaited
		return false, true, nil
	}
	r.stampLocked()
	r.journal = journalPromising
	r.cast = append(r.cast[:0], r.votes...)
	return true, false, nil
}

// awaitSettled waits until the last leg has written down how the write has ended.
func (r *request) awaitSettled() error {
	<-r.settledCh
	return r.journalErr
}

// settlePromised does the last leg's part where that has ended while the intent was being
// written. What is owed now is written down by a goroutine of its own: the caller's may
// be one that others wait for, and its client need not wait for it either.
func (r *request) settlePromised(promised bool) {
	owed := false
	if promised {
		o := r.outcome(r.votes)
		owed = o.owed != 0
	}
	if owed {
		r.refs.Add(1)
		go func() {
			defer r.release()
			r.e.attempt(r.settlePromises)
			r.leaveOverlaps()
		}()
		return
	}
	if promised {
		r.e.attempt(r.settlePromises)
	}
	r.leaveOverlaps()
}

// ackedLocked reports whether the client is told that its write succeeded.
func (r *request) ackedLocked() bool {
	return r.decided && r.winner >= 0 && r.votes[r.winner].state == votePositive
}

// stampLocked gives the write its place in the order of writes, once.
//
// An acknowledged one's is where it began. Of writes that overlap, either may be the
// later one, so that one order has to be chosen for all: a backend that took the one
// which began last has missed none that was acknowledged after it. By the order of
// acknowledgements it may have: a write whose answer was late, and others since.
// One that was not acknowledged may land until its legs have ended.
func (r *request) stampLocked() {
	if r.seq != 0 {
		return
	}
	acked := r.ackedLocked()
	r.seq = r.place(r.began, acked)
	for i := range r.deletes {
		r.deletes[i].seq = r.place(r.deletes[i].began, acked)
	}
}

// stamp does so, and reports whether the client is told that the write succeeded. A panic
// in it, as anywhere, leaves the lock to who ends the request.
func (r *request) stamp() (acked bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stampLocked()
	return r.ackedLocked()
}

func (r *request) place(began uint64, acked bool) uint64 {
	if acked {
		return began
	}
	return r.e.o.Journal.Stamp(time.Now())
}

// settleJournal runs when the last leg has ended, and before the client hears of
// the write where it has not yet. Only once the journal knows how the write has
// ended may repair look at its key.
func (r *request) settleJournal() {
	if !r.journaled() {
		r.leaveOverlaps()
		return
	}
	r.mu.Lock()
	if r.journal == journalPromising {
		r.journal = journalLeft
		r.mu.Unlock()
		return
	}
	promised := r.journal == journalPromised
	r.mu.Unlock()
	if promised { // who answers is past it, and does not ask any more
		r.settlePromises()
		r.leaveOverlaps()
		return
	}
	var err error
	if !r.nothingOwed || r.also != 0 {
		err = r.writeDown()
	}
	r.leaveOverlaps()
	r.mu.Lock()
	r.setSettledLocked(err)
	r.mu.Unlock()
}

func (r *request) setSettledLocked(err error) {
	awaited := r.journal == journalAwaited
	r.journal, r.journalErr = journalSettled, err
	if awaited {
		r.settledCh <- struct{}{}
	}
}

// settlePromises tells the journal what has become of an intent.
func (r *request) settlePromises() {
	ps := r.promises(r.votes)
	for i := range ps {
		r.e.o.Journal.Settle(&ps[i])
	}
}

// writeDown puts into the journal how a request has ended that is not in it: all
// legs ended before the client could be told, or it is not told of a success.
func (r *request) writeDown() error {
	acked := r.stamp()
	ps := r.promises(r.votes)
	if !acked {
		o := r.outcome(r.votes)
		if o.took|o.unsure == 0 {
			return nil
		}
		for i := range ps {
			ps[i].Owed |= o.unsure
			ps[i].Unacknowledged = true
		}
	}
	if r.kind == s3.KindDelete {
		// A key that every backend has refused to delete is as it was.
		ps = slices.DeleteFunc(ps, func(p Promise) bool { return p.Owed == 0 && p.Unacknowledged })
	}
	if len(ps) == 0 {
		return nil
	}
	return r.e.o.Journal.Promise(ps)
}

// promises are the entries for the journal, as the votes stand: one, or one a key
// of a multi-object delete (R24). They are valid until the next call.
func (r *request) promises(votes []vote) []Promise {
	p := Promise{
		Seq: r.seq, Method: r.method, Target: r.raw, Host: r.head.host, Bucket: r.target.Bucket, Key: r.key,
		Size: r.objectSize(),
	}
	r.idText = strconv.AppendUint(r.idText[:0], uint64(r.id), 16)
	p.ID = r.idText
	if len(r.deletes) > 0 {
		return r.deletePromises(p, votes)
	}
	o := r.outcome(votes)
	p.Owed, p.Took, p.Reason, p.Open = o.owed, o.took, o.reason(), o.out != 0
	if first := firstPositive(votes); first >= 0 && r.kind != s3.KindDelete {
		p.ETag = r.legs[first].etag()
		p.ETags = r.otherETags(votes, p.ETag)
	}
	if r.kind == s3.KindForm {
		p.Key = []byte(o.key)
	}
	p.Aspect = task.AspectOf(p.Method, p.Target, p.Key, r.target.Sub)
	p.Overlapped = r.overlapping && r.e.writes.overlapped(r.keyHash)
	p.Unrepeatable = r.head.forced && p.Method == "DELETE"
	r.ledger = append(r.ledger[:0], p)
	return r.ledger
}

// otherETags are those that backends have answered with besides the first one: storages
// that encrypt, or make an object from parts in their own way (R18).
func (r *request) otherETags(votes []vote, first []byte) (others []task.BackendETag) {
	for i := range votes {
		if votes[i].state != votePositive {
			continue
		}
		if etag := r.legs[i].etag(); differs(etag, first) {
			others = append(others, task.BackendETag{Backend: r.legs[i].backend, ETag: etag})
		}
	}
	return others
}

// firstPositive is the leg that was first to be positive, or -1.
func firstPositive(votes []vote) int {
	first := -1
	for i := range votes {
		if votes[i].state == votePositive && (first < 0 || votes[i].order < votes[first].order) {
			first = i
		}
	}
	return first
}

// deletePromises makes an entry of each key of a multi-object delete, of the same kind
// as a DELETE of it (R24). One with a version id is a write to that version, and its
// target says so (R35).
func (r *request) deletePromises(p Promise, votes []vote) []Promise {
	w := r.deleteFacts(votes)
	r.mu.Lock()
	winner := r.winner // which a panic takes back (forgoAnswer)
	r.mu.Unlock()
	var told uint64 // whose answer the client gets, which names the keys that are not deleted
	if winner >= 0 {
		told = 1 << r.legs[winner].backend
	}
	r.ledger = r.ledger[:0]
	p.Method = "DELETE"
	for i := range r.deletes {
		d, p := &r.deletes[i], p
		o := w.outcomeOf(d)
		p.Seq, p.Key = d.seq, []byte(d.Key)
		p.Owed, p.Took, p.Reason, p.Open = o.owed, o.took, o.reason(), o.out != 0
		p.Unacknowledged = o.took&told == 0
		if d.VersionID != "" {
			p.Aspect = task.Version
			p.Target = append(append(bytes.Clone(r.raw), "&versionId="...), url.QueryEscape(d.VersionID)...)
		}
		p.Overlapped = d.write != 0 && r.e.writes.overlapped(d.write)
		r.ledger = append(r.ledger, p)
	}
	return r.ledger
}
