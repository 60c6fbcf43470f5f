package engine

import (
	"math/bits"
	"time"

	"github.com/akubra/akubra/s3"
)

// A write is deferred at a backend where it would only wait: the leg is not begun, nobody waits for it,
// and the backend owes the write (R10, R13). It is like a write that a demoted backend does not get, with
// a reason of its own (OutcomeDeferred). What the client is told takes no part of a deferred leg, so that there are always
// enough others.

// mayDefer reports whether the request may do without a backend of those it is for: it is a write that
// every backend ought to have, or a read that nothing is known of that would tell one from the other.
func (r *request) mayDefer(want uint64) bool {
	switch {
	case len(r.e.o.Backends) < 2 || want&(want-1) == 0 || r.plan.n > 0:
		return false
	case r.head.write:
		return want|r.race.leftOut() == r.e.all && r.head.mayComeLater()
	}
	return r.head.isRouted()
}

// mayComeLater reports whether it is as good if a backend gets the write from repair. It is not:
//
//   - where it may be the one backend whose answer counts: of an upload, or of a version whose owner is not
//     known (R26, R28), and of a list of deletes, which may name versions or have conditions (R28, R29);
//   - where much else fails at the backend until then: it is about a bucket;
//   - where repair has more to do for it than the backend: it is a copy.
func (h *requestHead) mayComeLater() bool {
	switch {
	case h.isUploadsOwn() || h.copies() || h.target.Version:
		return false
	case len(h.target.Key) == 0:
		return h.is(s3.KindForm)
	}
	return true
}

// askLater makes it a planned read that asks busy backends only where no other one has what is asked for: of what
// has not come by way of the proxy one of them may be the only one that has it (R3). It gives those that are asked
// at once.
func (r *request) askLater(want, busy uint64) uint64 {
	p := &r.plan
	p.reset()
	p.all, p.busy = true, true
	for set := want &^ busy; set != 0; set &= set - 1 {
		p.order[p.n] = uint8(bits.TrailingZeros64(set))
		p.n++
	}
	p.first = p.n
	if r.head.hasBody() { // which is not kept for another one
		busy = 0
	}
	for set := busy; set != 0; set &= set - 1 {
		p.order[p.n] = uint8(bits.TrailingZeros64(set))
		p.n++
	}
	p.fresh = p.n
	return p.asked()
}

// deferLegs says which of the backends that the request has slots at do without it, and gives these slots
// back. crowded are those that are busy up to their limits (R13), kept is one that is not deferred.
func (r *request) deferLegs(got, crowded, kept uint64, slots *[MaxBackends]int32) (late uint64) {
	e := r.e
	late = r.notAhead(got&crowded, got)
	large := r.isLarge()
	if late == 0 && !large {
		return 0
	}
	spare := bits.OnesCount64(got) - 1
	if r.head.write {
		spare = bits.OnesCount64(got) - r.acks()
	}
	if large {
		late |= r.full(got)
	}
	if late &^= kept; late == got {
		late = 0 // all are slow: waiting for them is right
	}
	for ; bits.OnesCount64(late) > max(spare, 0); late &= late - 1 {
		continue
	}
	for set := late; set != 0; set &= set - 1 {
		b := bits.TrailingZeros64(set)
		e.o.Limiter.End(b, slots[b])
		e.lanes[b].deferredAt.Store(e.now())
	}
	return late
}

// notAhead takes those out of late, which are busy, that owe less in the bucket than one which would have the
// write: such a backend has just come back and is catching up, and if the other one began to owe as well,
// none would have the bucket as a whole (R30). Nobody waits for a busy backend, so that it costs no client
// anything to ask it.
func (r *request) notAhead(late, got uint64) uint64 {
	j := r.e.o.Journal
	if late == 0 || !r.head.write || j == nil || j.Quiet() {
		return late
	}
	counts := make([]int, len(r.e.o.Backends))
	j.OwedIn(r.head.target.Bucket, counts)
	most := 0
	for set := got &^ late; set != 0; set &= set - 1 {
		most = max(most, counts[bits.TrailingZeros64(set)])
	}
	for set := late; set != 0; set &= set - 1 {
		if b := bits.TrailingZeros64(set); counts[b] < most {
			late &^= 1 << b
		}
	}
	return late
}

// isLarge reports whether the request's body does not fit into its ring, so that a slow leg holds its
// client back.
func (r *request) isLarge() bool {
	return r.head.write && (r.head.chunked || r.head.contentLength > int64(r.o.ringSize))
}

// bodySize is how much of a body the client sends, or unknownSize.
func (r *request) bodySize() int64 {
	if n := r.head.bodyLength(); n >= 0 {
		return n
	}
	return unknownSize
}

// full is the set of backends that could not carry another large body.
func (r *request) full(got uint64) (full uint64) {
	now := r.e.now()
	for set := got; set != 0; set &= set - 1 {
		b := bits.TrailingZeros64(set)
		if !r.e.lanes[b].fits(now, r.bodySize(), r.o.StallTimeout) {
			full |= 1 << b
		}
	}
	return full
}

// keptForDecision is the backend that decides a conditional write, as a set: it is not deferred, for the
// next one would decide by what it knows alone (R29).
func (r *request) keptForDecision(want uint64) uint64 {
	if !r.head.isConditional() {
		return 0
	}
	b := r.o.primaries.first(r.head.bucket(), r.couldDecide(want&r.e.inPool(), r.owedForDecision()))
	if b == nobody {
		return 0
	}
	return 1 << b
}

// takeLanes counts the request's legs in their backends' lanes, if its body is a large one.
func (r *request) takeLanes() {
	if len(r.legs) < 2 || !r.isLarge() {
		return
	}
	now := r.e.now()
	for i := range r.legs {
		l := &r.legs[i]
		l.lane = &r.e.lanes[l.backend]
		l.load.size = max(r.bodySize(), 0)
		l.lane.begin(now, &l.load)
	}
}

// leaveLane is the end of that; finish calls it, once.
func (l *leg) leaveLane() {
	if l.lane == nil {
		return
	}
	var held time.Duration
	if l.r.message.Exists() {
		held = l.r.message.Stalled(l.index)
	}
	l.lane.end(l.r.e.now(), &l.load, held, l.outcome == OutcomeStalled)
}

// noteLane counts bytes that the backend's connection has taken.
func (l *leg) noteLane(n int) {
	if l.lane != nil {
		l.load.sent.Add(int64(n))
		l.lane.sent.Add(int64(n))
		if n > 0 {
			l.lane.moved.Store(l.r.e.now())
		}
	}
}

// isMerelySlow reports whether the backend still takes large bodies while a leg to it is cut: it is at the limit
// of what it carries, and that is no failure (R13).
func (l *leg) isMerelySlow() bool { return l.lane != nil && l.lane.moves(l.r.e.now(), &l.load) }

// lagShare: a client may be held back once it has waited for one part in so many of StallTimeout.
const lagShare = 4

// noteLag notes that the request's client has waited for a leg, total in sum; the message calls it. It reports
// whether the leg is to be cut for that, before its time.
func (r *request) noteLag(leg int, waited, total time.Duration) (cut bool) {
	l := &r.legs[leg]
	return l.lane != nil && l.lane.lag(r.e.now(), &l.load, waited, total, r.o.StallTimeout)
}

// maxUnheld is the largest body that may hold no client back although its backend is slow: the system keeps
// as much of it (the default bound of tcp_wmem), beside the ring.
const maxUnheld = 4 << 20

// noteEnd tells the limiter how long the leg went on after its client was answered (R13). That of a body which
// is larger than what is kept on the way says nothing of others; its lane knows of it.
func (l *leg) noteEnd() {
	limiter := l.r.e.adaptive
	if limiter == nil || l.lane != nil && l.load.sent.Load() > maxUnheld || !l.r.head.isSwift() {
		return
	}
	at, ok := limiter.AnsweredAt(l.backend, l.slot)
	if !ok {
		return
	}
	now := l.r.e.now()
	limiter.Lagged(l.backend, now, now-at)
}
