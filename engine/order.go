package engine

import (
	"errors"
	"math/bits"
	"time"

	"github.com/akubra/akubra/s3"
)

// Writes to one key, the second begun after the first was acknowledged, reach each backend in
// that order (R19). The first one's legs may be out by then: the second one's leg to the same
// backend waits for them. It is not started meanwhile; its message is in the ring, so that
// neither the client nor another leg is held back. Where the message is too large for that, or
// the wait would be too long, the leg is deferred: the backend hears nothing of it, and owes it.
//
// A leg has a count in hold for each of its request's turns that has to follow others there,
// and is parked once it would have started. Whoever takes the parked bit away starts it, or
// ends it.

// errDeferred ends a leg that was not begun.
var errDeferred = errors.New("deferred: an earlier write to the key was on its way to this backend for too long")

// errSourceless ends one of a copy whose backend has not got the source.
var errSourceless = errors.New(ReasonSource)

const (
	parkedBit = 1 << 30
	// maxWaiting bounds how many legs wait for their turn at one backend, for one key.
	maxWaiting = 64
)

// orderLocked has t's legs wait for those of the writes that it follows. Its legs have not
// started.
func (k *overlap) orderLocked(t *turn) {
	if t.r == nil {
		return
	}
	t.out.Store(t.r.asked())
	waits := uint64(0)
	for w := k.turns; w != nil; w = w.next {
		if w.precedes(t) {
			w.followed.Store(true) // first: a leg that ends just now looks at it then
			waits |= w.out.Load()
		}
	}
	waits &= t.out.Load()
	if t.unordered = t.unordered && waits != 0; t.unordered {
		return
	}
	t.waits = waits
	if t.reads {
		t.r.withoutSourceLocked(k, t)
	}
	for s := waits; s != 0; s &= s - 1 {
		backend := bits.TrailingZeros64(s)
		l := &t.r.legs[t.r.legOf(backend)]
		l.hold.Add(1)
		l.crowded = l.crowded || k.waitingLocked(backend) > maxWaiting
	}
}

// waitingLocked is how many writes have a leg waiting for its turn at a backend.
func (k *overlap) waitingLocked(backend int) (n int) {
	for w := k.turns; w != nil; w = w.next {
		n += int(w.waits >> backend & 1)
	}
	return n
}

// orderLegs is for a write that had no legs yet when it began.
func (o *overlaps) orderLegs(t *turn) {
	s := o.shard(t.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.findLocked(t.hash).orderLocked(t)
}

// legEnded notes that a write's leg has ended. It gives the legs that have waited for it, and
// need not any more: startNext has to follow. unsure: the backend may still take what it had of
// it, so that those behind it may not go there now. took: it has taken it.
func (o *overlaps) legEnded(t *turn, backend int, took, unsure bool) (next []*leg) {
	if took {
		t.took.Or(1 << backend)
	}
	t.out.And(^(uint64(1) << backend))
	if !t.followed.Load() {
		return nil
	}
	s := o.shard(t.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.findLocked(t.hash).followersLocked(t, 1<<backend, unsure)
}

// followersLocked gives the legs to some backends that follow no other write than t, or with
// all, those that follow t.
func (k *overlap) followersLocked(t *turn, backends uint64, all bool) (next []*leg) {
	if !t.followed.Load() {
		return nil
	}
	for y := k.turns; y != nil; y = y.next {
		free := y.waits & backends
		if free == 0 || !t.precedes(y) {
			continue
		}
		for w := k.turns; w != nil && !all; w = w.next {
			if w != t && w.precedes(y) {
				free &^= w.out.Load()
			}
		}
		y.waits &^= free
		for ; free != 0; free &= free - 1 {
			y.r.refs.Add(1) // it is under way, and so not given back
			l := &y.r.legs[y.r.legOf(bits.TrailingZeros64(free))]
			if y.reads && k.lacksLocked(y, 1<<l.backend) {
				l.lacksSource.Store(true)
			}
			next = append(next, l)
		}
	}
	return next
}

// unorder notes that a write's legs do not wait although they should.
func (o *overlaps) unorder(t *turn) {
	s := o.shard(t.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	t.unordered, t.waits = true, 0
}

// unorderAt notes that a write's leg to one backend has not waited for its turn.
func (o *overlaps) unorderAt(t *turn, backend int) {
	s := o.shard(t.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	t.unordered = true
	t.waits &^= 1 << backend
}

// startNext tells legs that they need not wait for one write any more. unsure: where their
// clients have been told, they are deferred instead.
func startNext(legs []*leg, unsure bool) {
	for _, l := range legs {
		l.earlierEnded(unsure)
	}
}

func (l *leg) earlierEnded(unsure bool) {
	r := l.r
	defer r.release()
	if unsure && r.isDecided() && l.unpark() {
		go l.endUnbegun(errDeferred)
		return
	}
	if unsure {
		l.unsure.Store(true)
	}
	if l.hold.Add(-1) == parkedBit && l.unpark() {
		l.startInTurn()
	}
}

// clearTurn forgets the leg's place.
func (l *leg) clearTurn() {
	if l.hold.Load() != 0 {
		l.hold.Store(0)
	}
	if l.unsure.Load() {
		l.unsure.Store(false)
	}
	if l.lacksSource.Load() {
		l.lacksSource.Store(false)
	}
	l.patience, l.crowded, l.deferred, l.unordered = nil, false, false, false
}

// isHeldBack reports whether the leg has to follow another one, or had to when it was asked
// to start.
func (l *leg) isHeldBack() bool { return l.hold.Load() != 0 }

func (l *leg) isParked() bool { return l.hold.Load()&parkedBit != 0 }

// park leaves the leg to whoever lets it go, if it has to wait at all.
func (l *leg) park() bool {
	r := l.r
	// It waits for others: that is not the backend's fault (R13).
	r.e.o.Limiter.Progress(l.backend, l.slot, farFuture)
	r.refs.Add(1)
	l.patience = time.AfterFunc(r.o.ConnectionTimeout, l.waitNoMore)
	switch n := l.hold.Add(parkedBit); {
	case l.aborted.Load():
		if l.unpark() {
			go l.endUnbegun(l.why())
		}
	case n == parkedBit && l.unpark(): // nothing is to be waited for any more
		l.progress()
		return false
	}
	return true
}

// unpark reports whether the caller has to start the leg, or to end it.
func (l *leg) unpark() bool {
	for {
		n := l.hold.Load()
		if n&parkedBit == 0 {
			return false
		}
		if l.hold.CompareAndSwap(n, n&^parkedBit) {
			if l.patience.Stop() {
				l.r.refs.Add(-1) // not the last one, for the leg has not ended
			}
			return true
		}
	}
}

// waitNoMore ends a leg that has waited for too long. Where the client's answer may depend on it
// the leg starts out of turn instead: a backend that is still at a long upload takes another
// write meanwhile, and what that leaves of their order is recorded.
func (l *leg) waitNoMore() {
	defer l.r.release()
	switch {
	case !l.unpark():
	case !l.r.hasOneTurn() || l.isComing() || l.r.canSpare(l):
		l.endUnbegun(errDeferred)
	default:
		l.r.unorderAt(l.backend)
		l.startInTurn()
	}
}

// startInTurn starts a leg that was parked. It may run on a poller.
func (l *leg) startInTurn() {
	defer l.recoverLeg()
	r := l.r
	if l.lacksSource.Load() {
		go l.endUnbegun(errSourceless)
		return
	}
	if r.isDecided() {
		if r.e.o.Limiter.State(l.backend) != stateActive {
			go l.endUnbegun(errDeferred) // it would be the last to have this backend's attention
			return
		}
		r.e.o.Limiter.Answered(l.backend, l.slot, r.e.now())
	}
	l.beginWaiting()
	l.start(l.mayHaveWhole())
}

// endUnbegun ends a leg of which its backend has heard nothing.
func (l *leg) endUnbegun(cause error) {
	defer l.recoverLeg()
	l.r.message.Detach(l.index)
	l.conclude(cause)
	if next := l.r.legEnded(l); next != nil {
		next()
	}
}

// planOrder says of the legs that have to follow others whether they wait or are deferred,
// before any is launched. Where so few are left that the client's answer would suffer, all
// start at once, and the write counts as one that overlaps.
func (r *request) planOrder() {
	if !r.isHeldBack() {
		return
	}
	left, fits := len(r.legs), r.fitsRing()
	for i := range r.legs {
		if l := &r.legs[i]; l.isHeldBack() && (l.crowded || !fits) {
			l.deferred = true
			left--
		}
	}
	decider := r.race.decidedBy()
	if !r.race.suffices(left) || decider >= 0 && r.legs[decider].deferred {
		r.ledger.unorder(r.e)
		for i := range r.legs {
			r.legs[i].deferred, r.legs[i].unordered = false, true
		}
	}
}

// fitsRing reports whether the ring takes the whole message, so that a leg can wait without
// holding back anybody.
func (r *request) fitsRing() bool {
	if _, whole := r.message.Whole(); whole {
		return true
	}
	length := r.head.bodyLength()
	switch {
	case r.head.is(s3.KindDelete): // it was read
		length = r.message.BodySize() + deleteFrame
	case length < 0 && r.head.decodedLength >= 0:
		length = 2*r.head.decodedLength + maxFraming
	}
	return length >= 0 && int64(len(r.head.bytes()))+length <= int64(r.message.Size())
}

const (
	// deleteFrame is more than what frames a list that is sent as one chunk.
	deleteFrame = 1 << 10
	// maxFraming is what may frame a body in chunks besides as much as it has bytes.
	maxFraming = 4 << 10
)

// waitsForTurn reports whether the leg is not started now, since it follows another one.
func (l *leg) waitsForTurn() bool {
	switch {
	case l.lacksSource.Load() || l.unordered && l.isComing():
		go l.endUnbegun(errSourceless)
		return true
	case !l.unordered && l.unsure.Load() && l.r.isDecided(): // a follower, which its decider has kept from its turn
		go l.endUnbegun(errDeferred)
		return true
	case !l.isHeldBack() || l.unordered:
		return false
	case l.deferred:
		go l.endUnbegun(errDeferred)
		return true
	}
	return l.park()
}

// beginWaiting notes that a leg that was held back begins now: its backend is not to blame for the time
// until then.
func (l *leg) beginWaiting() {
	l.asked = l.r.e.now()
	l.r.e.o.Limiter.Progress(l.backend, l.slot, l.asked)
}
