package engine

import (
	"bytes"
	"math/bits"
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
// that its client may have been told about. It looks at all writes in flight.
func (o *overlaps) underWayIn(bucket []byte, backends uint64) bool {
	for i := range o.shards {
		if o.shards[i].hasTurn(func(t *turn) bool {
			return t.r != nil && t.out.Load()&backends != 0 && t.r.ledger.isAnswered() && bytes.Equal(t.r.head.bucket(), bucket)
		}) {
			return true
		}
	}
	return false
}

// acknowledgedIn tells f of each key of the bucket to which writes are under way that their clients may have been
// told about: at which backends, and which of them began first.
func (o *overlaps) acknowledgedIn(bucket []byte, f func(out uint64, begun requestID)) {
	for i := range o.shards {
		last, out, begun := uint64(0), uint64(0), requestID(0)
		tell := func() {
			if out != 0 {
				f(out, begun)
			}
		}
		o.shards[i].hasTurn(func(t *turn) bool {
			at := t.out.Load()
			if t.r == nil || t.reads || at == 0 || !t.r.ledger.isAnswered() || !bytes.Equal(t.r.head.bucket(), bucket) {
				return false
			}
			if t.hash != last {
				tell()
				last, out, begun = t.hash, 0, t.r.head.id
			}
			if out |= at; t.r.head.id.before(begun) {
				begun = t.r.head.id
			}
			return false
		})
		tell()
	}
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
// one was faster (R28), has everything in the bucket that was acknowledged and is still in flight
// there. A client cannot remove what it does not see in the list before it removes the bucket.
func (r *request) awaitBucket(primary uint64) {
	if !r.head.isListing() || !r.head.target.Versions || primary == r.e.all || r.e.o.Journal == nil || r.e.o.Journal.Quiet() {
		return
	}
	for p := r.e.brieflyPatient(); r.e.writes.underWayIn(r.head.bucket(), primary) && p.wait(r.e); {
	}
}

// awaitWritesIn waits until no acknowledged write is under way in a bucket that is to be removed: such a
// write must precede the removal on each backend (R19), or some backends would make the bucket again for
// it.
func (r *request) awaitWritesIn() {
	if !r.head.isOfBucket() || !r.head.isConditional() || r.e.o.Journal == nil || r.e.o.Journal.Quiet() {
		return
	}
	for p := r.e.brieflyPatient(); r.e.writes.underWayIn(r.head.bucket(), r.e.all) && p.wait(r.e); {
	}
}

// expect makes counts, of what each backend owes in the bucket to be listed, the order in which they come into
// question where each of them owes something: what is under way there now it is as good as known to have. Of that
// the listing waits for what began before it, at the backends in awaited; what began later is no part of it.
func (r *request) expect(counts []int) (awaited uint64) {
	pool := r.e.inPool()
	for s := pool; s != 0; s &= s - 1 {
		if counts[bits.TrailingZeros64(s)] == 0 {
			return 0
		}
	}
	if len(r.head.bucket()) == 0 {
		return 0
	}
	r.e.writes.acknowledgedIn(r.head.bucket(), func(out uint64, begun requestID) {
		if begun.before(r.head.id) {
			awaited |= out
		}
		for s := out & pool; s != 0; s &= s - 1 {
			b := bits.TrailingZeros64(s)
			counts[b] = max(counts[b]-1, 0)
		}
	})
	for b := range counts {
		counts[b] *= 2 // so that of two the one comes first that is not waited for
		if awaited&(1<<b) != 0 {
			counts[b]++
		}
	}
	return awaited
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
