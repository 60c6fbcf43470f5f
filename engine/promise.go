package engine

import (
	"bytes"
	"errors"
	"math/bits"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// A write is acknowledged only when the journal has what the backends may still
// owe each other (R20). Whoever comes first writes it down: who answers, while
// legs are out (an intent), or the last leg, when all have ended.

// Flags of a Promise.
const (
	AuxSubResource    = 1 << iota // a write to ?acl, ?tagging and the like: content is as it was
	AuxUnacknowledged             // the client was not told that it succeeded, but a backend may have taken it
	AuxOverlapped                 // another write to the key was under way, and may have landed after it
	AuxVersion                    // a write to one version: content is as it was, as far as anybody knows
)

// journaled tells whether the request is a write that the journal has a say in:
// what is about an upload is one backend's own (R26).
func (r *request) journaled() bool {
	return r.write && r.e.o.Journal != nil && r.kind != kindInitiate && r.kind != kindPart && r.kind != kindUpload
}

// noSlot: the journal was not told of the write.
const noSlot = -1

// beginWrite notes that the write is about to go to the backends.
func (r *request) beginWrite() *s3Error {
	if !r.journaled() {
		return nil
	}
	r.key = r.target.key
	if bytes.IndexByte(r.key, '%') >= 0 {
		r.key = []byte(r.target.keyName())
	}
	if r.e.o.Journal.Failed() {
		return errJournal
	}
	if r.kind == kindDelete || r.kind == kindForm {
		return nil // its keys are yet to come: beginDeletes, beginForm
	}
	slot, err := r.e.o.Journal.Begin(r.target.bucket, r.key, r.head.host, r.raw)
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

	r.mu.Lock()
	r.promising, r.promised = false, err == nil
	settled := r.settled
	r.mu.Unlock()
	if settled {
		r.settlePromised(err == nil)
	}
	return false, err
}

// mayIntend tells whether an intent has to be written, and what beginPromise gives if not.
func (r *request) mayIntend() (intends, waits bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setAnsweredLocked()
	switch {
	case !r.ackedLocked():
		return false, false, nil
	case r.ended == len(r.legs):
		if r.awaited = !r.settled; r.awaited {
			return false, true, nil
		}
		return false, false, r.journalErr
	}
	r.stampLocked()
	r.promising = true
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
	owed := r.also
	if promised && owed == 0 {
		owed, _ = r.owed(r.votes)
	}
	if promised && owed != 0 {
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

// ackedLocked tells whether the client is told that its write succeeded.
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
	if r.promising {
		r.settled = true // promise sees it
		r.mu.Unlock()
		return
	}
	promised := r.promised
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
	r.settled, r.journalErr = true, err
	if r.awaited {
		r.settledCh <- struct{}{}
	}
	r.mu.Unlock()
}

// settlePromises tells the journal what has become of an intent.
func (r *request) settlePromises() {
	if r.kind != kindDelete || len(r.deletes) == 0 {
		p := Promise{Seq: r.seq}
		p.Owed, p.Reason = r.owed(r.votes)
		p.owe(r.also)
		r.e.o.Journal.Settle(p.Seq, p.Owed, p.Reason)
		return
	}
	for _, p := range r.promises(r.votes) {
		r.e.o.Journal.Settle(p.Seq, p.Owed, p.Reason)
	}
}

// writeDown puts into the journal how a request has ended that is not in it: all
// legs ended before the client could be told, or it is not told of a success.
func (r *request) writeDown() error {
	acked := r.stamp()
	ps := r.promises(r.votes)
	if !acked {
		unsure := r.unsure()
		if r.stored() == 0 && unsure == 0 {
			return nil
		}
		for i := range ps {
			ps[i].Owed |= unsure
			ps[i].Aux |= AuxUnacknowledged
		}
	}
	if r.kind == kindDelete {
		// A key that every backend has refused to delete is as it was.
		ps = slices.DeleteFunc(ps, func(p Promise) bool { return p.Owed == 0 && p.Aux&AuxUnacknowledged != 0 })
	}
	if len(ps) == 0 {
		return nil
	}
	return r.e.o.Journal.Promise(ps)
}

// toldDeleted reports whether the client is told that the object is deleted: by the
// answer that it gets, which names the keys that are not.
func (r *request) toldDeleted(winner int, results []deletions, o deletedObject) bool {
	for i := range results {
		if winner >= 0 && results[i].backend == r.legs[winner].backend {
			return results[i].problem(o) == ""
		}
	}
	return false
}

// unsure is the set of backends that may have taken the write although they gave
// no positive answer: they had all of it, or some of what may not be repeated (R33). A
// 503 is a refusal (S3 API reference, "SlowDown", "ServiceUnavailable").
func (r *request) unsure() (set uint64) {
	for i := range r.legs {
		l := &r.legs[i]
		status := l.answer.status
		if l.state == voteFailed && (l.sentAll.Load() || l.mayHaveActed()) || l.state == voteNegative && status >= 500 && status != 503 {
			set |= 1 << l.backend
		}
	}
	return set
}

// promises are the entries for the journal, as the votes stand: one, or one a key
// of a multi-object delete (R24). They are valid until the next call.
func (r *request) promises(votes []vote) []Promise {
	p := Promise{
		Seq: r.seq, Method: r.method, Target: r.raw, Host: r.head.host, Bucket: r.target.bucket, Key: r.key,
		Size: r.objectSize(),
	}
	if r.kind == kindForm {
		p.Key = r.formKey(votes)
	}
	for i := range votes {
		p.Open = p.Open || votes[i].state == votePending
	}
	r.idText = strconv.AppendUint(r.idText[:0], uint64(r.id), 16)
	p.ID = r.idText
	if r.target.sub {
		p.Aux = AuxSubResource
	}
	if r.target.version {
		p.Aux |= AuxVersion
	}
	if r.kind == kindDelete {
		p.Size = 0
		if len(r.deletes) > 0 {
			return r.deletePromises(p, votes)
		}
	} else if first := firstPositive(votes); first >= 0 {
		p.ETag = r.legs[first].etag()
	}
	p.Owed, p.Reason = r.owed(votes)
	if !p.Open {
		p.owe(r.also)
	}
	if r.overlapping && r.e.writes.overlapped(r.keyHash) {
		p.Aux |= AuxOverlapped
	}
	r.ledger = append(r.ledger[:0], p)
	return r.ledger
}

// outOfOrder is what may be wrong with writes that overlapped in time (R19).
const outOfOrder = "concurrent writes"

// owe adds backends on which overlapping writes may have landed in another order;
// not where a backend is known to lack the write, for who has taken it is what repair
// goes by then.
func (p *Promise) owe(also uint64) {
	if also == 0 || p.Owed != 0 {
		return
	}
	p.Owed = also
	if len(p.Reason) == 0 {
		p.Reason = []byte(outOfOrder)
	}
}

// owed is the set of backends that do not have the write, or not certainly the
// same one, and why; no reason is given for legs that are still out.
func (r *request) owed(votes []vote) (set uint64, reason []byte) {
	first := firstPositive(votes)
	compare := r.comparesETags()
	var etag []byte // the first that there is
	for i := range votes {
		l := &r.legs[i]
		switch {
		case votes[i].state == votePending:
			set |= 1 << l.backend
			continue
		case votes[i].state != votePositive:
			set |= 1 << l.backend
			if len(reason) == 0 {
				reason = []byte(l.err.Error())
			}
		case r.storedElsewhere(l, votes):
			set |= 1 << l.backend
			reason = []byte(anotherKey)
		case compare:
			switch other := l.etag(); {
			case len(etag) == 0:
				etag = other
			case len(other) > 0 && !bytes.EqualFold(other, etag):
				// Either of them, for which one is right does not show here.
				set |= positives(votes, r.legs)
				reason = []byte("etag mismatch")
			}
		}
	}
	switch {
	case r.kind == kindComplete:
		for b := range r.e.o.Backends {
			if first < 0 || b != r.legs[first].backend {
				set |= 1 << b
			}
		}
		if first >= 0 || len(reason) == 0 {
			reason = []byte("multipart upload")
		}
	case r.target.version && len(r.e.o.Backends) > 1:
		set, reason = r.e.all, []byte(versionOfAnother)
	case r.skipped != 0:
		set |= r.skipped
		if len(reason) == 0 {
			reason = []byte(r.reasons[bits.TrailingZeros64(r.skipped)])
		}
	}
	return set, reason
}

func positives(votes []vote, legs []leg) (set uint64) {
	for i := range votes {
		if votes[i].state == votePositive {
			set |= 1 << legs[i].backend
		}
	}
	return set
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
	var pending uint64
	for i := range votes {
		if votes[i].state == votePending {
			pending |= 1 << r.legs[i].backend
		}
	}
	results := r.deleteResults(votes)
	r.mu.Lock()
	winner := r.winner // which a panic takes back (forgoAnswer)
	r.mu.Unlock()
	r.ledger = r.ledger[:0]
	p.Method, p.Aux = "DELETE", 0
	for i := range r.deletes {
		d, p := &r.deletes[i], p
		p.Seq, p.Key, p.Owed = d.seq, []byte(d.Key), pending
		if !r.toldDeleted(winner, results, d.deletedObject) {
			p.Aux = AuxUnacknowledged
		}
		from := deletedBy(results, d.deletedObject)
		for i := range results {
			if problem := results[i].problem(d.deletedObject); problem != "" && from >= 0 {
				p.Owed |= 1 << results[i].backend
				p.Reason = []byte(problem)
			}
		}
		if isVersion(d.VersionID) {
			p.Aux |= AuxVersion
			p.Target = append(append(bytes.Clone(r.raw), "&versionId="...), url.QueryEscape(d.VersionID)...)
			if len(r.e.o.Backends) > 1 {
				p.Owed, p.Reason = r.e.all, []byte(versionOfAnother)
			}
		}
		if !p.Open {
			p.owe(d.also)
		}
		if d.write != 0 && r.e.writes.overlapped(d.write) {
			p.Aux |= AuxOverlapped
		}
		r.ledger = append(r.ledger, p)
	}
	return r.ledger
}
