package engine

import (
	"bytes"
	"time"
)

// A backend may lack something only because a write is still in flight. Whoever needs it then
// waits for a bounded time and checks often: it is a matter of milliseconds.
const (
	briefWait       = time.Second
	listingShare    = 10 // which part of that a listing waits for, which may have to do with what there is
	undecidedShare  = 10 // and a read, for what its backend is deciding
	settlingShare   = 20 // and a read, for the journal to settle a write that has just ended
	firstBriefPause = 100 * time.Microsecond
	lastBriefPause  = 10 * time.Millisecond
)

// briefPatience is the patience of one request.
type briefPatience struct {
	until int64
	pause time.Duration
}

func (e *Engine) brieflyPatient() briefPatience { return e.patientFor(e.o.briefWait) }

func (e *Engine) patientFor(d time.Duration) briefPatience {
	return briefPatience{until: e.now() + int64(d), pause: firstBriefPause}
}

// wait waits for a moment, and reports whether it is worth checking again.
func (p *briefPatience) wait(e *Engine) bool {
	if e.now() > p.until || e.closing.Load() {
		return false
	}
	time.Sleep(p.pause)
	p.pause = min(2*p.pause, lastBriefPause)
	return true
}

// underWayIn reports whether one of the backends is still handling a write to a key of the bucket
// that its client may have been told about: one that began before a request, or any if that is nil.
// It looks at all writes in flight.
func (o *overlaps) underWayIn(bucket []byte, backends uint64, before *request) bool {
	for i := range o.shards {
		if o.shards[i].hasTurn(func(t *turn) bool {
			return t.r != nil && (before == nil || t.r.head.id.before(before.head.id)) &&
				t.out.Load()&backends != 0 && t.r.ledger.isAnswered() && bytes.Equal(t.r.head.bucket(), bucket)
		}) {
			return true
		}
	}
	return false
}

// hasTurn reports whether f is true for one of the shard's turns.
func (s *overlapShard) hasTurn(f func(t *turn) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := func(k *overlap) bool {
		for t := k.turns; t != nil; t = t.next {
			if f(t) {
				return true
			}
		}
		return false
	}
	for k := s.keys; k != nil; k = k.next {
		if of(k) {
			return true
		}
	}
	for _, k := range s.more {
		if of(k) {
			return true
		}
	}
	return false
}

// awaitBucket waits until the backend that lists versions, which is the primary even if another
// one was faster (R28), has everything in the bucket that was acknowledged before the list was asked
// for and is still in flight there. A client cannot remove what it does not see in the list before it
// removes the bucket.
func (r *request) awaitBucket(primary uint64) {
	if !r.head.isListing() || !r.head.target.Versions || primary == r.e.all || r.e.o.Journal == nil || r.e.o.Journal.Quiet() {
		return
	}
	for p := r.e.brieflyPatient(); r.e.writes.underWayIn(r.head.bucket(), primary, r) && p.wait(r.e); {
	}
}

// awaitWritesIn waits until no acknowledged write is under way in a bucket that is to be removed, or to get a
// setting: such a write must come first on each backend (R19), or some backends would make the bucket again
// for it, or heed the setting.
func (r *request) awaitWritesIn() {
	if !r.head.isOfBucket() || r.e.o.Journal == nil || r.e.o.Journal.Quiet() {
		return
	}
	before := r // later writes are put behind a setting
	if r.head.isConditional() {
		before = nil
	}
	for p := r.e.brieflyPatient(); r.e.writes.underWayIn(r.head.bucket(), r.e.all, before) && p.wait(r.e); {
	}
}

// awaitPrimary waits for a primary that is about to create the bucket, or to change a setting of
// it, before another backend stands in: the primary would not list the uploads that the other one
// is told about.
func (r *request) awaitPrimary() {
	for p := r.e.brieflyPatient(); ; {
		late := r.e.ofBuckets.late(r.head.bucket())
		if late == 0 {
			return
		}
		b := r.o.primaries.first(r.head.bucket(), r.e.inPool()&^r.head.tried)
		if b == nobody || late&(1<<b) == 0 || !p.wait(r.e) {
			return
		}
	}
}
