package engine

import (
	"math/bits"
	"time"

	"github.com/akubra/akubra/engine/lane"
	"github.com/akubra/akubra/s3"
)

// A write is deferred at a backend where it would only have to wait: the leg is not begun, nobody
// waits for it, and the backend owes the write (R10, R13). It is handled like a write that a
// demoted backend does not get, with a reason of its own (OutcomeDeferred). Deferred legs take no
// part in what the client is told, so enough others always remain.

// mayDefer reports whether the request can do without one of its backends: it is a write that
// every backend should get, or a read for which no backend is known to differ from another.
func (r *request) mayDefer(want uint64) bool {
	switch {
	case len(r.e.o.Backends) < 2 || want&(want-1) == 0 || r.plan.n > 0:
		return false
	case r.head.write:
		return want|r.race.leftOut() == r.e.all && r.head.mayComeLater()
	}
	return r.head.isRouted()
}

// mayComeLater reports whether a backend may just as well get the write from repair. It may not:
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

// askLater turns the request into a planned read that asks busy backends only if no other one has
// what is asked for: one of them may be the only one that has an object which did not come through
// the proxy (R3). It returns the backends to ask at once.
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

// deferLegs returns those of the backends holding slots that the request does without, and gives
// their slots back. crowded are those that are busy up to their limits (R13); kept is one that
// must not be deferred. behind: see full.
func (r *request) deferLegs(got, crowded, kept uint64, behind bool, slots *[MaxBackends]int32) (late uint64) {
	e := r.e
	late = r.notAhead(got&crowded, got)
	crowded = late
	large := r.isLarge()
	if late == 0 && !large {
		return 0
	}
	acks := 1
	if r.head.write {
		acks = r.acks()
	}
	if large {
		late |= r.full(got, behind)
	}
	if late &^= kept; late == got {
		late = 0 // all are slow: waiting for them is right
	}
	// The client is told by those that are left, so that enough of them have to be expected to take it.
	sound := got &^ e.failing.Load()
	late = allBut(late, late&sound, bits.OnesCount64(sound)-acks)
	late = allBut(late, late, bits.OnesCount64(got)-acks)
	for set := late; set != 0; set &= set - 1 {
		b := bits.TrailingZeros64(set)
		e.o.Limiter.End(b, slots[b])
		if crowded&(1<<b) != 0 {
			e.lanes[b].Crowded(e.now())
		}
	}
	return late
}

// allBut removes from set as many of some as are more than most.
func allBut(set, some uint64, most int) uint64 {
	for ; bits.OnesCount64(some) > max(most, 0); some &= some - 1 {
		set &^= some & -some
	}
	return set
}

// noteFailing remembers whether the backend has failed at a write. What a client or the proxy is to blame for says
// nothing, nor does a leg that was cut because it was slow.
func (l *leg) noteFailing() {
	if !l.r.head.write {
		return
	}
	failing, one := &l.r.e.failing, uint64(1)<<l.backend
	switch is := failing.Load()&one != 0; {
	case l.state == votePositive:
		if is {
			failing.And(^one)
		}
	case is:
	case l.state == voteNegative && (l.answer.Status >= 500 || l.answer.Status < 300), l.outcome == OutcomeFailed && l.failure != ResultOwn:
		failing.Or(one)
	}
}

// notAhead removes from late, the busy backends, those that owe less in the bucket than one that
// would get the write. Such a backend has just come back and is catching up; if the other one
// began to owe as well, none would have the whole bucket (R30). Nobody waits for a busy backend,
// so asking it costs no client anything.
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

// isLarge reports whether the request's body does not fit into its ring, so that a slow leg would
// hold its client back.
func (r *request) isLarge() bool {
	return r.head.write && (r.head.chunked || r.head.contentLength > int64(r.o.ringSize))
}

// bodySize is how much body the client sends, or lane.UnknownSize.
func (r *request) bodySize() int64 {
	if n := r.head.bodyLength(); n >= 0 {
		return n
	}
	return lane.UnknownSize
}

// full is the set of backends that could not carry another large body. behind: repair has not brought everything.
func (r *request) full(got uint64, behind bool) (full uint64) {
	now := r.e.now()
	for set := got; set != 0; set &= set - 1 {
		b := bits.TrailingZeros64(set)
		if !r.e.lanes[b].Fits(now, r.bodySize(), r.o.StallTimeout, behind) {
			full |= 1 << b
		}
	}
	return full
}

// keptForDecision is the backend that decides a conditional write, as a set. It is not deferred,
// because the next one would decide by what it alone knows (R29).
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

// takeLanes counts the request's legs in their backends' lanes, if its body is large.
func (r *request) takeLanes() {
	if len(r.legs) < 2 || !r.isLarge() {
		return
	}
	now := r.e.now()
	for i := range r.legs {
		l := &r.legs[i]
		l.lane = &r.e.lanes[l.backend]
		l.lane.Begin(now, &l.load, r.bodySize(), l.onTheWayFn)
	}
}

// leaveLane ends that; finish calls it, once.
func (l *leg) leaveLane() {
	if l.lane == nil {
		return
	}
	var held time.Duration
	if l.r.message.Exists() {
		held = l.r.message.Stalled(l.index)
	}
	now, fate := l.r.e.now(), lane.Failed
	switch l.outcome {
	case OutcomePositive:
		fate = lane.Arrived
	case OutcomeStalled:
		fate = lane.Cut
		if l.r.e.adaptive != nil {
			l.r.e.adaptive.Cut(l.backend, now-int64(held))
		}
	}
	l.lane.End(now, &l.load, held, fate)
}

// noteLane counts bytes that the backend's connection has accepted.
func (l *leg) noteLane(n int) {
	if l.lane != nil && n > 0 {
		l.lane.Moved(l.r.e.now(), &l.load, n)
	}
}

// LaneStatus is what is known of how one backend takes large bodies.
type LaneStatus = lane.Status

// Lanes tells about them, by backend.
func (e *Engine) Lanes() []LaneStatus {
	all := make([]LaneStatus, len(e.lanes))
	for i := range e.lanes {
		all[i] = e.lanes[i].Status(e.now())
	}
	return all
}

// Pressed reports whether clients need all the capacity of a backend, so that work that can wait,
// such as repair's, should stand back (R10). Any goroutine may call it.
func (e *Engine) Pressed(backend int) bool { return e.lanes[backend].Pressed(e.now()) }

// isMerelySlow reports whether the backend still accepts large bodies while a leg to it is being
// cut: it carries all it can, and that is no failure (R13).
func (l *leg) isMerelySlow() bool { return l.lane != nil && l.lane.Moves(l.r.e.now(), &l.load) }

// noteLag records that the request's client has waited for a leg, total in sum; the message calls
// it. It reports whether the leg is to be cut early because of that.
func (r *request) noteLag(leg int, waited, total time.Duration) (cut bool) {
	l := &r.legs[leg]
	return l.lane != nil && l.lane.Lag(r.e.now(), &l.load, waited, total, r.o.StallTimeout) && r.isOvertaken(l)
}

// isOvertaken reports whether another backend has more of the body than the leg's. A leg that the system has taken
// more from may be the slower one: the system keeps some megabytes for a backend that takes none. If it were
// left alone, the client would go at its speed.
func (r *request) isOvertaken(l *leg) bool {
	has := l.delivered()
	for i := range r.legs {
		if o := &r.legs[i]; o != l && o.delivered() > has {
			return true
		}
	}
	return false
}

// delivered is how much of a large body has arrived at the leg's backend; where the system does not tell, how
// much was sent.
func (l *leg) delivered() int64 {
	l.mu.Lock() // nobody gives the connection back meanwhile
	defer l.mu.Unlock()
	if l.conn == nil {
		return 0
	}
	return l.load.Sent() - int64(max(l.conn.Unsent(), 0))
}

// onTheWay is how much of what was sent has yet to arrive at the leg's backend; where the system does not tell, 0.
func (l *leg) onTheWay() int64 {
	if l.load.Sent() == 0 { // it may have yet to connect
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return 0
	}
	return int64(max(l.conn.Unsent(), 0))
}

// maxUnheld is the largest body that holds no client back even if its backend is slow: besides the
// ring, the system buffers this much (the default bound of tcp_wmem).
const maxUnheld = 4 << 20

// noteEnd tells the limiter how long the leg went on after its client was answered (R13). A body
// too large to be buffered on the way says nothing about others; its lane accounts for it.
func (l *leg) noteEnd() {
	limiter := l.r.e.adaptive
	if limiter == nil || l.lane != nil && l.load.Sent() > maxUnheld || !l.r.head.isSwift() {
		return
	}
	at, ok := limiter.AnsweredAt(l.backend, l.slot)
	if !ok {
		return
	}
	now := l.r.e.now()
	limiter.Lagged(l.backend, now, now-at)
}
