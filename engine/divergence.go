package engine

import (
	"time"

	"github.com/akubra/akubra/engine/outcome"
	"github.com/akubra/akubra/s3"
)

// settle runs once, when the last leg of a request has its vote: it works out
// what the backends disagree about and records it (R15 to R19, R24, R26).
func (r *request) settle() {
	r.countLegsEnded()
	if r.race.isAbandoned() && !r.mayBeStored() { // decided before the legs were told: no leg is pending now
		r.endOverlaps(0)
		r.leaveOverlaps()
		return
	}
	stored := r.stored()
	r.learnPair()
	r.endOverlaps(stored)
	if r.ledger.unordered != 0 {
		// The other write may have come since mayWaitLocked has looked: what is written
		// down now keeps nobody waiting.
		r.refs.Add(1)
		go func() {
			defer r.release()
			r.settleSafely(func(r *request) { r.settleStored(stored) })
		}()
		return
	}
	r.settleStored(stored)
}

// settleStored is what is left of settle once it is known where the write is.
func (r *request) settleStored(stored uint64) {
	r.settleJournal()
	switch {
	case stored == 0 || r.race.isAbandoned():
	case r.head.write:
		r.recordWrite()
	case r.head.is(s3.KindUpload):
		// It is about an upload that is one backend's own.
	case r.head.isRead():
		if r.o.RecordReads {
			r.recordMissing()
		}
		r.checkRead()
	}
}

// stored is the set of backends that answered positively.
func (r *request) stored() (set uint64) {
	for i := range r.legs {
		if r.legs[i].state == votePositive {
			set |= 1 << r.legs[i].backend
		}
	}
	return set
}

// divergence begins a record about the request.
func (r *request) divergence(op string) Divergence {
	return Divergence{
		Time: time.Now(), Method: r.head.method, Path: string(r.head.raw), UserAgent: string(r.head.userAgent), Op: op,
		Bucket: string(r.head.target.Bucket), Key: r.head.target.KeyName(), Size: r.objectSize(), ID: r.head.name(),
	}
}

// record hands a divergence on. backend is the one that failed, and reason what metrics count it by.
func (r *request) record(backend int, d *Divergence, reason string) {
	r.e.o.Metrics.Diverged(backend, d.Op, reason)
	r.e.o.Synclog.Record(d)
}

// recordWrite records what backends lack of a write that one of them took.
func (r *request) recordWrite() {
	if len(r.ledger.deletes) > 0 {
		r.recordDeletes()
		return
	}
	o := r.outcome(r.race.result())
	if len(o.Lacks) == 0 {
		return
	}
	d := r.divergence(OpStoring)
	r.recordLacks(&d, &o, true)
	if r.head.is(s3.KindForm) {
		d.Key = o.Key
	}
	r.recordLacks(&d, &o, false)
}

// recordDeletes does so for each key of a multi-object delete (R24).
func (r *request) recordDeletes() {
	w := r.deleteFacts(r.race.result())
	d := r.divergence(OpStoring)
	for _, order := range []bool{true, false} {
		for i := range r.ledger.deletes {
			if object := &r.ledger.deletes[i]; !order || object.unordered != 0 {
				o := w.outcomeOf(object)
				d.Key = object.Key
				r.recordLacks(&d, &o, order)
			}
		}
	}
}

// recordLacks records what backends lack: of what overlapping writes may have done (R19),
// or of everything else.
func (r *request) recordLacks(d *Divergence, o *outcome.Outcome, order bool) {
	for i := range o.Lacks {
		l := &o.Lacks[i]
		if l.Beside == outcome.Nobody || order != (l.Aspect == outcome.LacksOrder) {
			continue
		}
		d.FailedHost, d.SuccessHost = r.e.o.Backends[l.Backend].Name(), r.e.o.Backends[l.Beside].Name()
		d.Status, d.Error, d.ETag = l.Status, l.Err, string(l.ETag)
		r.record(l.Backend, d, l.Reason)
	}
}

// recordMissing: one backend has what another one says it has not (R17). Where that one
// owes the key, by now, it is known already.
func (r *request) recordMissing() {
	first := firstPositive(r.race.result())
	if first < 0 || r.race.askedOne() {
		return
	}
	has, owed := &r.legs[first], r.owedOf()
	for i := range r.legs {
		if l := &r.legs[i]; l.state == voteNegative && l.answer.Status == 404 && owed&(1<<l.backend) == 0 {
			d := r.divergence(OpReading)
			d.SuccessHost, d.ETag = has.name(), string(has.etag())
			d.FailedHost, d.Status, d.Error = l.name(), 404, l.err.Error()
			r.record(l.backend, &d, "missing")
		}
	}
}

// endOverlaps tells the table of writes under way how the request has ended, and
// notes the keys that another write overlapped with (R19).
func (r *request) endOverlaps(stored uint64) {
	if r.ledger.turn != nil {
		r.ledger.unordered = r.endOverlap(r.ledger.turn, stored, func() *beside {
			return &beside{stored: stored, landed: true, entry: r.besideEntry()}
		})
		if stored&(stored-1) != 0 && r.readsEither() {
			r.ledger.unordered |= stored
		}
	}
	var facts *deleteFacts // of all keys at once: each takes the answers to be read (R23)
	var landed map[string]landing
	for i := range r.ledger.deletes {
		d := &r.ledger.deletes[i]
		if !d.turn.isUnderWay() {
			continue
		}
		d.unordered = r.endOverlap(&d.turn, stored, func() *beside {
			if facts == nil {
				facts = new(r.deleteFacts(r.race.result()))
				landed = facts.landings(r.ledger.deletes)
			}
			return r.besideDelete(facts, d, landed[d.Key])
		})
	}
}

// leaveOverlaps takes the request out of the table of writes under way.
func (r *request) leaveOverlaps() {
	if t := r.ledger.turn; t != nil {
		r.ledger.turn = nil
		r.decided()
		startNext(r.e.writes.leave(t), false)
	}
	if r.head.isOfBucket() {
		startNext(r.e.ofBuckets.leave(&r.ofBucket), false)
	}
	for i := range r.ledger.deletes {
		r.leaveDelete(&r.ledger.deletes[i])
	}
	r.leaveSource()
}

// endOverlap returns where the writes may have landed in another order. stored are the backends
// whose answer is positive; own is the write as those that overlap with it have to know it.
func (r *request) endOverlap(t *turn, stored uint64, own func() *beside) uint64 {
	differing, untold := r.e.writes.end(t, stored, r.mayBeStored())
	switch {
	case untold:
		return r.e.writes.endBeside(t, own())
	case differing != 0 && len(r.ledger.deletes) > 0: // a positive answer may name the key as not deleted
		return r.e.writes.differing(t, own().stored)
	}
	return differing
}

// mayBeStored reports whether a backend may hold what the request wrote: not where
// each one has refused it, nor where too little of it has gone before its client left (R6).
func (r *request) mayBeStored() bool {
	for i := range r.legs {
		l := &r.legs[i]
		if (l.state != voteNegative || l.answer.Status >= 500) && (!r.race.isAbandoned() || l.hadObject()) {
			return true
		}
	}
	return false
}
