package limiter

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// Besides ConnLimit each backend has a limit of its own, which follows its lag: how long its legs
// go on after their clients have been answered (R13). It works like TCP Vegas: a lag near the
// least one seen means that nothing queues on the way, and the limit grows; otherwise it shrinks
// to what the backend has carried. Crowded applies it.
//
// What counts is the least lag of an interval, as in CoDel (RFC 8289): a queue that empties
// now and then is a burst, or a pause of the machine, and no reason to leave anything out.
const (
	// lagInterval is how long a queue has to stand.
	lagInterval = int64(500 * time.Millisecond)
	// lagTolerance is the lag that is fine beyond the least one. It is less than defaultStalledAfter,
	// so that a backend which works at its limit has no stalled connections.
	lagTolerance = int64(200 * time.Millisecond)
	// highestFloor bounds the lag that counts as the length of the path rather than as a queue.
	highestFloor = int64(time.Second)
	// leastLimit is the lowest limit: fewer legs are a burden to nobody.
	leastLimit = 32
	// lagForgotten is how long a limit holds while no leg ends. A backend on which all legs hang does
	// not work at its limit: ConnLimit and its stalled legs decide about that one.
	lagForgotten = int64(2 * time.Second)
)

// gauge follows one backend's lag. Invariants:
//
//   - Whoever moves until on evaluates the interval that is over, and alone writes floor, limit and
//     evaluated; the next one may do so only lagInterval later.
//   - least may miss a lag of the moment at which an interval ends; it is in the next one then.
type gauge struct {
	limit     atomic.Int64 // 0: there is none yet
	evaluated atomic.Int64 // when limit was set
	until     atomic.Int64 // when the interval ends
	least     atomic.Int64 // the least lag of the interval
	floor     atomic.Int64 // the least lag while nothing queued
}

func (g *gauge) init() {
	g.least.Store(math.MaxInt64)
	g.floor.Store(math.MaxInt64)
}

// note takes a lag. busy is how many legs are under way, most the highest limit.
func (g *gauge) note(now, lag int64, busy, most int) {
	for old := g.least.Load(); lag < old && !g.least.CompareAndSwap(old, lag); old = g.least.Load() {
	}
	until := g.until.Load()
	if now < until || !g.until.CompareAndSwap(until, now+lagInterval) || until == 0 {
		return
	}
	least := g.least.Swap(math.MaxInt64)
	if least == math.MaxInt64 {
		return
	}
	limit := int(g.limit.Load())
	if limit == 0 {
		limit = most
	}
	next, floor := nextLimit(limit, busy, most, least, g.floor.Load())
	g.floor.Store(floor)
	g.limit.Store(int64(next))
	g.evaluated.Store(now)
}

// nextLimit is the limit after an interval whose least lag this was, and the new floor.
//
// It is a pure function of its arguments.
func nextLimit(limit, busy, most int, least, floor int64) (next int, newFloor int64) {
	switch {
	case least < floor:
		floor = least
	case busy < leastLimit:
		// The path itself has become longer: few legs make no queue.
		floor += (least - floor) / 8
	}
	floor = min(floor, highestFloor)
	bound := max(2*floor, floor+lagTolerance)
	if least <= bound {
		return min(limit+limit/8+1, most), floor
	}
	// By Little's law, this many legs take as long as the bound.
	carried := min(limit, busy)
	next = int(float64(carried) * float64(bound) / float64(least))
	return min(max(next, carried/2, leastLimit), most), floor
}

// limitOf is the backend's own limit.
func (l *Limiter) limitOf(b *backend, now int64) int {
	limit := int(b.lag.limit.Load())
	if limit == 0 || now-b.lag.evaluated.Load() > lagForgotten {
		return int(l.limit.Load())
	}
	return limit
}

// mostOf is the highest limit that a backend may have. It leaves the others' share of ConnLimit
// alone, so that they need not wait for its legs.
func (l *Limiter) mostOf() int {
	limit := int(l.limit.Load())
	return max(limit-limit/(2*len(l.backends)), min(leastLimit, limit))
}

// AnsweredAt returns when the slot's client was answered, and false if it has not been. It must not be
// called after End.
func (l *Limiter) AnsweredAt(backend int, slot int32) (at int64, ok bool) {
	at = l.backends[backend].slots.of(slot).answered.Load()
	return at, at >= 0
}

// Lagged records that a leg has ended well this long after its client was answered.
func (l *Limiter) Lagged(backend int, now, lag int64) {
	b := &l.backends[backend]
	b.lag.note(now, max(lag, 0), b.slots.taken(), l.mostOf())
}

// AtLimit reports whether a backend has as many legs in flight as its limit allows.
func (l *Limiter) AtLimit(now int64, backend int) bool {
	b := &l.backends[backend]
	busy := b.slots.taken()
	return busy >= leastLimit && busy >= l.limitOf(b, now)
}

// Crowded returns the backends of want that have reached their limits: another leg would only
// queue there. A backend is crowded only beside another one that is not, and that has less than
// half as many legs in flight: if all are slow, waiting for them is right. It takes nothing and
// changes nothing, so racing callers may exceed a limit by their own number.
func (l *Limiter) Crowded(now int64, want uint64) (crowded uint64) {
	want &= l.pool.Load()
	if want&(want-1) == 0 {
		return 0
	}
	least := math.MaxInt
	for set := want; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		if l.AtLimit(now, i) {
			crowded |= bit(i)
			continue
		}
		least = min(least, l.backends[i].slots.taken())
	}
	if least == math.MaxInt {
		return 0
	}
	for set := crowded; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		if l.backends[i].slots.taken() <= 2*least {
			crowded &^= bit(i)
		}
	}
	return crowded
}
