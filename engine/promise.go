package engine

import (
	"bytes"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/akubra/akubra/engine/outcome"
	"github.com/akubra/akubra/s3"
	"github.com/akubra/akubra/synclog/task"
)

// A write is acknowledged only when the journal has what the backends may still
// owe each other (R20). Whoever comes first writes it down: who answers, while
// legs are out (an intent), or the last leg, when all have ended.

// journaled reports whether the request is a write that the journal has a say in:
// what is about an upload is one backend's own (R26).
func (r *request) journaled() bool {
	return r.head.write && r.e.o.Journal != nil && r.head.kind != s3.KindInitiate && r.head.kind != s3.KindPart && r.head.kind != s3.KindUpload
}

// beginWrite notes that the write is about to go to the backends.
func (r *request) beginWrite() *s3Error {
	if !r.journaled() {
		return nil
	}
	r.ledger.key = r.head.decodedKey()
	if r.e.o.Journal.Refuses() {
		return errJournal
	}
	if r.head.is(s3.KindDelete) || r.head.is(s3.KindForm) {
		return nil // its keys are yet to come: beginDeletes, beginForm
	}
	if err := r.note(); err != nil {
		return r.notBegun(err)
	}
	return nil
}

// note tells the journal that the write is under way, if it does not know yet.
func (r *request) note() (err error) {
	if r.ledger.write == nil {
		r.ledger.write, err = r.e.o.Journal.Begin(r.head.method, r.head.target.Bucket, r.ledger.key, r.head.host, r.head.raw)
	}
	return err
}

func (r *request) notBegun(err error) *s3Error {
	if errors.Is(err, ErrTooManyWrites) {
		return errTooManyWrites
	}
	if errors.Is(err, ErrKeyTooLong) {
		return errKeyTooLong
	}
	r.e.o.Log.Warn("cannot note that a write is under way, and so refuse it", "error", err.Error(), "id", r.head.name())
	return errJournal
}

// endWrite notes that nothing of the write is under way any more.
func (r *request) endWrite() {
	if r.ledger.write != nil {
		r.ledger.write.End()
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
	if err = r.note(); err == nil {
		err = r.ledger.write.Acknowledge(r.promises(r.ledger.promisedVotes))
	}
	if r.endIntent(err) {
		r.settlePromised(err == nil)
	} else if err == nil {
		r.tellTaken() // of legs that have ended meanwhile
	}
	r.decided()
	return false, err
}

// mayIntend reports whether an intent has to be written, and what beginPromise gives if not.
func (r *request) mayIntend() (intends, waits bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setAnsweredLocked()
	switch {
	case !r.ackedLocked():
		return false, false, nil
	case r.allEndedLocked():
		if r.ledger.state == journalSettled {
			return false, false, r.ledger.err
		}
		r.ledger.state = journalAwaited
		return false, true, nil
	}
	r.stampLocked()
	r.ledger.told = r.e.o.Journal.Stamp(time.Now())
	r.ledger.state = journalPromising
	r.ledger.promisedVotes = append(r.ledger.promisedVotes[:0], r.race.result()...)
	return true, false, nil
}

// settlePromised does the last leg's part where that has ended while the intent was being
// written. What is owed now is written down by a goroutine of its own: the caller's may
// be one that others wait for, and its client need not wait for it either.
func (r *request) settlePromised(promised bool) {
	owed := false
	if promised {
		o := r.outcome(r.race.result())
		owed = o.Owed != 0
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

// stampLocked gives the write its place in the order of writes, once.
//
// An acknowledged one's is where it began. Of writes that overlap, either may be the
// later one, so that one order has to be chosen for all: a backend that took the one
// which began last has missed none that was acknowledged after it. By the order of
// acknowledgements it may have: a write whose answer was late, and others since.
// One that was not acknowledged may land until its legs have ended.
func (r *request) stampLocked() {
	if r.ledger.seq != 0 {
		return
	}
	acked := r.standsLocked()
	r.ledger.seq = r.place(r.ledger.began, acked)
	for i := range r.ledger.deletes {
		r.ledger.deletes[i].seq = r.place(r.ledger.deletes[i].began, acked)
	}
}

// stamp does so, and reports whether the write counts as acknowledged. A panic
// in it, as anywhere, leaves the lock to who ends the request.
func (r *request) stamp() (acked bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stampLocked()
	return r.standsLocked()
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
	left, promised := r.leaveToPromising()
	if left {
		return
	}
	if promised { // who answers is past it, and does not ask any more
		r.settlePromises()
		r.leaveOverlaps()
		return
	}
	var err error
	if !r.ledger.nothingOwed || r.ledger.unordered != 0 {
		err = r.writeDown()
	}
	r.leaveOverlaps()
	r.setSettled(err)
}

// settlePromises tells the journal what has become of an intent.
func (r *request) settlePromises() {
	ps := r.promises(r.race.result())
	_ = r.ledger.write.Settle(ps) // it does not fail after Acknowledge
	r.tellBeside(ps)
}

// writeDown puts into the journal how a request has ended that is not in it: all
// legs ended before the client could be told, or it is not told of a success.
func (r *request) writeDown() error {
	stands := r.stamp()
	ps := r.promises(r.race.result())
	if !stands {
		o := r.outcome(r.race.result())
		if o.Took|o.Unsure == 0 {
			return nil
		}
		for i := range ps {
			ps[i].Owed |= o.Unsure
			ps[i].Unacknowledged = true
		}
		if o.Took == 0 && len(r.ledger.deletes) == 0 && r.isKeptFromSome(o.Unsure) {
			ps[0].Owed = o.Unsure // the others are as they were, and are asked until repair has looked (R30)
		}
	}
	if r.head.is(s3.KindDelete) {
		// A key that every backend has refused to delete is as it was.
		ps = slices.DeleteFunc(ps, func(p Promise) bool { return p.Owed == 0 && p.Unacknowledged })
	}
	if len(ps) == 0 {
		return nil
	}
	if err := r.note(); err != nil { // of a delete, or a form, that was refused before its keys were read
		return err
	}
	if err := r.ledger.write.Settle(ps); err != nil {
		return err
	}
	r.tellBeside(ps)
	return nil
}

// isKeptFromSome reports whether a backend that was there has the write surely not: it has refused
// it, or the decider has kept it back (R29).
func (r *request) isKeptFromSome(unsure uint64) bool {
	for i := range r.legs {
		l := &r.legs[i]
		if unsure&(1<<l.backend) == 0 && (l.state == voteNegative || errors.Is(l.err, errUndecided)) {
			return true
		}
	}
	return false
}

// promises are the entries for the journal, as the votes stand: one, or one a key
// of a multi-object delete (R24). They are valid until the next call.
func (r *request) promises(votes []vote) []Promise {
	j := &r.ledger
	j.idText = strconv.AppendUint(j.idText[:0], uint64(r.head.id), 16)
	j.entries = r.appendPromises(j.entries[:0], j.idText, votes)
	return j.entries
}

func (r *request) appendPromises(to []Promise, id []byte, votes []vote) []Promise {
	if len(r.ledger.deletes) == 0 {
		return append(to, r.promiseOf(id, votes))
	}
	w := r.deleteFacts(votes)
	for i := range r.ledger.deletes {
		to = append(to, r.promiseOfDelete(id, &w, &r.ledger.deletes[i]))
	}
	return to
}

// basePromise is what the entries of all that the request writes have in common.
func (r *request) basePromise(id []byte) Promise {
	return Promise{
		Seq: r.ledger.seq, Method: r.head.method, Target: r.head.raw, Host: r.head.host, Bucket: r.head.target.Bucket, Key: r.ledger.key,
		Size: r.objectSize(), ID: id,
	}
}

func (r *request) promiseOf(id []byte, votes []vote) Promise {
	p := r.basePromise(id)
	o := r.outcome(votes)
	p.Owed, p.Took, p.Reason, p.Open = o.Owed, o.Took, o.Reason(), o.Out != 0
	if first := firstPositive(votes); first >= 0 && !r.head.is(s3.KindDelete) {
		p.ETag = r.legs[first].etag()
		p.ETags = r.otherETags(votes, p.ETag)
	}
	if r.head.is(s3.KindForm) {
		p.Key = []byte(o.Key)
	}
	p.Aspect = task.AspectOf(p.Method, p.Target, p.Key, r.head.target.Sub)
	switch p.Aspect {
	case task.Version:
		p.ETags = r.pairOf(r.namedVersion())
	case task.Content:
		p.Made, p.MadeNull = r.made(votes)
	}
	p.Overlapped, p.OverlapKnown = r.overlaps()
	p.Unrepeatable = r.head.forced && p.Method == "DELETE"
	switch {
	case p.Method == "DELETE":
		p.Carried = r.head.bypass
	case p.Aspect == task.Content && p.Method == "PUT" && !r.head.copySource:
		p.Carried = r.head.carried // of a copy a directive says whether it counts
	}
	return p
}

// otherETags are those that backends have answered with besides the first one: storages
// that encrypt, or make an object from parts in their own way (R18).
func (r *request) otherETags(votes []vote, first []byte) (others []task.BackendETag) {
	for i := range votes {
		if votes[i].State != votePositive {
			continue
		}
		if etag := r.legs[i].etag(); outcome.Differs(etag, first) {
			others = append(others, task.BackendETag{Backend: r.legs[i].backend, ETag: etag})
		}
	}
	return others
}

// made is which version the write or delete of an object has made on each backend that took it, as far
// as known: when a client deletes a version by id, only that id says whether it is this write's (R35).
func (r *request) made(votes []vote) (ids []task.BackendETag, null uint64) {
	if len(r.ledger.key) == 0 {
		return nil, 0
	}
	for i := range votes {
		if votes[i].State != votePositive {
			continue
		}
		l := &r.legs[i]
		switch id := l.answer.VersionID(); {
		case !s3.IsVersion(id):
			null |= 1 << l.backend
		case len(id) <= maxPairID:
			ids = append(ids, task.BackendETag{Backend: l.backend, ETag: id})
		}
	}
	return ids, null
}

// firstPositive is the leg that was first to be positive, or -1.
func firstPositive(votes []vote) int {
	first := -1
	for i := range votes {
		if votes[i].State == votePositive && (first < 0 || votes[i].Order < votes[first].Order) {
			first = i
		}
	}
	return first
}

// promiseOfDelete is the entry of one key of a multi-object delete, of the same kind
// as a DELETE of it (R24). One with a version id is a write to that version, and its
// target says so (R35).
func (r *request) promiseOfDelete(id []byte, w *deleteFacts, d *deletion) Promise {
	p := r.basePromise(id)
	o := w.outcomeOf(d)
	p.Method, p.Seq, p.Key = "DELETE", d.seq, []byte(d.Key)
	p.Owed, p.Took, p.Reason, p.Open = o.Owed, o.Took, o.Reason(), o.Out != 0
	p.Unacknowledged, p.Carried = o.Took&w.told == 0, r.head.bypass
	if d.VersionID != "" {
		p.Aspect = task.Version
		p.Target, p.ETags = r.versionTarget(d.VersionID), r.pairOf(d.VersionID)
	}
	if d.turn.isUnderWay() {
		p.Overlapped, p.OverlapKnown = r.e.writes.overlapped(&d.turn)
	}
	return p
}

// versionTarget is the target by which the journal knows the delete of one version by
// DeleteObjects; nil where the object itself is deleted.
func (r *request) versionTarget(id string) []byte {
	if id == "" {
		return nil
	}
	return append(append(bytes.Clone(r.head.raw), "&versionId="...), url.QueryEscape(id)...)
}
