package limiter

import (
	"math"
	"math/bits"
	"time"
)

// scanEvery is the shortest time between two scans of a full limiter's slots. Every End wakes all
// waiting requests; thousands of them must not each scan and burn a core.
const scanEvery = int64(time.Millisecond)

// refreshLocked recomputes the pool after the sets have changed.
func (l *Limiter) refreshLocked() {
	l.pool.Store(all(len(l.backends)) &^ (l.demoted | l.maintained))
	// The pool has changed, so the next refused request may scan at once.
	l.nextScan.Store(math.MinInt64)
}

// stalledShare: one in so many of a backend's busy slots must be stalled for a demotion. A single
// one among hundreds is a slow request, not a slow backend (R13).
const stalledShare = 4

// demoteStalledLocked demotes the backend with the most stalled slots, among those where enough of
// them are stalled (stalledShare). Ties go to the one with the most busy slots, then to the first.
// It returns nil if there is none, if the slots were scanned just now, or if only one backend is
// left in the pool.
func (l *Limiter) demoteStalledLocked(now int64) *Event {
	pool := l.pool.Load()
	if now < l.nextScan.Load() || bits.OnesCount64(pool) < 2 {
		return nil
	}
	l.nextScan.Store(now + scanEvery)

	worst, worstStalled, worstBusy := -1, 0, 0
	for set := pool; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		b := &l.backends[i]
		if b.slots.taken() <= worstStalled {
			continue // cannot have more stalled slots, nor win a tie
		}
		busy, n, _ := b.slots.count(now, l.stalledAfter)
		if n*stalledShare < busy {
			continue
		}
		if n > worstStalled || n > 0 && n == worstStalled && busy > worstBusy {
			worst, worstStalled, worstBusy = i, n, busy
		}
	}
	if worst < 0 {
		return nil // load alone never demotes
	}
	return l.demoteLocked(worst, ReasonStalled, now)
}

// demoteLocked takes the backend out of the pool. It returns nil and changes nothing if the backend
// is not in the pool (another caller won) or is the last one there.
func (l *Limiter) demoteLocked(backend int, reason string, now int64) *Event {
	if pool := l.pool.Load(); pool&bit(backend) == 0 || pool == bit(backend) {
		return nil
	}
	b := &l.backends[backend]
	b.demotions++
	b.reason = reason
	b.pause = nextPause(b.pause, b.returned, now)
	b.until = now + b.pause
	l.demoted |= bit(backend)
	b.changed = now
	l.refreshLocked()

	e := &Event{Backend: backend, Name: b.name, Reason: reason, Counts: make([]Count, len(l.backends))}
	for i := range l.backends {
		b := &l.backends[i]
		busy, stalled, _ := b.slots.count(now, l.stalledAfter)
		e.Counts[i] = Count{Name: b.name, Busy: busy, Stalled: stalled}
	}
	return e
}

// A backend that is demoted again within a moment of its return stays out for firstPause, and for twice
// as long each further time, up to lastPause.
const (
	aMoment    = int64(30 * time.Second)
	firstPause = int64(2 * time.Second)
	lastPause  = int64(time.Minute)
)

// nextPause is the least time that a backend demoted now stays out. returned is 0 if it has never
// been out before.
//
// It is a pure function of its arguments.
func nextPause(pause, returned, now int64) int64 {
	if returned == 0 || now-returned > max(aMoment, 2*pause) {
		return 0
	}
	return min(max(2*pause, firstPause), lastPause)
}

func (l *Limiter) tellDemoted(e *Event) {
	if l.onDemote != nil {
		l.onDemote(*e)
	}
}

// Failed counts a failure. FailureLimit failures in a row demote the backend, unless it is the last
// one in the pool. In that case a later failure demotes it, once it no longer is the last.
func (l *Limiter) Failed(backend int, now int64) {
	b := &l.backends[backend]
	most := l.failureLimit.Load()
	if n := b.failures.Add(1); most <= 0 || n < most {
		return
	}
	l.mu.Lock()
	// Check again under the lock: a Return may have reset the count in between.
	if b.failures.Load() < most {
		l.mu.Unlock()
		return
	}
	event := l.demoteLocked(backend, ReasonFailures, now)
	if event == nil {
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()

	l.wake()
	l.tellDemoted(event)
}

// Succeeded resets the count of consecutive failures.
func (l *Limiter) Succeeded(backend int) {
	// Normally these are only loads, so they take no cache line from other cores.
	b := &l.backends[backend]
	if b.failures.Load() != 0 {
		b.failures.Store(0)
	}
	if !b.succeeded.Load() {
		b.succeeded.Store(true)
	}
}

// pausesLocked reports whether the backend's pause goes on. While whoever is left in the pool fails, it is no
// longer than the first one: clients have nobody else.
func (l *Limiter) pausesLocked(backend int) bool {
	b := &l.backends[backend]
	if l.clock == nil {
		return false
	}
	until := b.until
	if l.poolFailsLocked() {
		until -= max(b.pause-firstPause, 0)
	}
	return l.clock() < until
}

// poolFailsLocked reports whether each backend in the pool has failed as often as others are demoted for.
func (l *Limiter) poolFailsLocked() bool {
	most := l.failureLimit.Load()
	for set := l.pool.Load(); set != 0; set &= set - 1 {
		if n := l.backends[bits.TrailingZeros64(set)].failures.Load(); most <= 0 || n < most {
			return false
		}
	}
	return true
}

// Returnable reports whether a probe may bring the backend back: it is demoted, and its busy
// connections have fallen below half of its share of the limit, and its pause is over. A backend in maintenance is not
// returnable: it gets no traffic, not even probes (R14).
func (l *Limiter) Returnable(backend int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	// This is busy < limit/len/2 without the division, which would round a small share down to a
	// number that nothing is below.
	return l.demoted&^l.maintained&bit(backend) != 0 && !l.pausesLocked(backend) &&
		2*l.backends[backend].slots.taken()*len(l.backends) < int(l.limit.Load())
}

// Return puts a demoted backend back into the pool and resets its failures. It reports whether this
// call did so. Slots that the backend still has busy count again and may lift the sum past the
// limit; TryBegin then refuses until the sum has fallen.
func (l *Limiter) Return(backend int) bool {
	b := &l.backends[backend]
	l.mu.Lock()
	if l.demoted&bit(backend) == 0 {
		l.mu.Unlock()
		return false
	}
	l.demoted &^= bit(backend)
	b.failures.Store(0)
	if l.clock != nil {
		b.returned = l.clock()
		if l.maintained&bit(backend) == 0 {
			b.changed = b.returned
		}
	}
	l.refreshLocked()
	event := Event{Backend: backend, Name: b.name, Reason: b.reason}
	l.mu.Unlock()

	l.wake()
	if l.onReturn != nil {
		l.onReturn(event)
	}
	return true
}

// SetMaintained starts or ends a backend's maintenance (R14). It takes effect at once, even for the
// last backend in the pool: that is the operator's decision. It reports whether anything changed. A
// demoted backend stays demoted.
func (l *Limiter) SetMaintained(backend int, on bool) bool {
	_ = &l.backends[backend] // a wrong index panics here instead of setting a meaningless bit
	l.mu.Lock()
	if on == (l.maintained&bit(backend) != 0) {
		l.mu.Unlock()
		return false
	}
	l.maintained ^= bit(backend)
	if l.clock != nil {
		l.backends[backend].changed = l.clock()
	}
	l.refreshLocked()
	l.mu.Unlock()

	l.wake()
	return true
}
