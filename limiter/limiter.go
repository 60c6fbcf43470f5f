// Package limiter counts the busy connections of each backend and decides
// which backends are in the pool (R13, R14).
//
// A busy connection is a slot. TryBegin takes one slot at each of a request's backends, Progress
// and Answered record what happens to it, and End gives it back. The sum of slots over the backends
// in the pool never exceeds the limit. When it would, the backend with the most stalled slots is
// demoted and its slots no longer count; if no slot is stalled, the caller has to wait (see
// Changed). FailureLimit failures in a row also demote a backend, and so does silence (see Silence).
// It comes back through Return, which a prober calls after asking Returnable. Beside the limit of all
// each backend has one of its own, which adapts (see Crowded). Maintenance is independent of demotion; the
// operator sets and clears it.
//
// The package does no I/O and starts no goroutine. Times are non-negative nanoseconds of one monotonic
// clock that the caller provides. Every method may be called from any
// goroutine. OnDemote and OnReturn run on the goroutine whose call caused the transition, with no
// lock held.
//
// Slots are counted without a lock. Invariants:
//
//   - A backend's count of taken slots and its free list share one word (head), so
//     they cannot disagree, however calls race.
//   - No sum is stored that could drift from the counts: TryBegin adds the counts up
//     over the current pool.
//   - TryBegin takes its slots first and adds up afterwards. Of all granted slots in use
//     at any moment one was taken last, and its taker has seen all the others, so the sum
//     of granted slots never exceeds the limit. Two callers that race for the last
//     place may both be refused; the slots they give back wake whoever waits.
//   - A TryBegin that races with a demotion may still get a slot at that backend, as if
//     it had come first.
//
// A mutex guards the sets that make up the pool, and with them demotions, returns, maintenance and
// the scan for stalled slots.
package limiter

import (
	"fmt"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// MaxBackends is the size of a set of backends, which is a 64-bit mask.
	MaxBackends = 64
	// defaultStalledAfter is R13's 250 ms.
	defaultStalledAfter = 250 * time.Millisecond
)

// Options configures a Limiter.
type Options struct {
	// Backends are the names used in events and status. Backend i is bit i of a set.
	Backends []string
	// ConnLimit bounds the sum of busy connections over the backends in the pool. With less than
	// one connection per backend no request could run, so the effective limit is at least the
	// number of backends (and at most about a million).
	ConnLimit int
	// FailureLimit is how many failures in a row demote a backend; 0 turns this off.
	FailureLimit int
	// StalledAfter is how long a slot may go without progress, or stay busy after its client was
	// answered, before it counts as stalled. 0 means defaultStalledAfter.
	StalledAfter time.Duration
	// Maintained is the set of backends that start in maintenance.
	Maintained uint64
	// OnDemote and OnReturn are called exactly once per transition, before the call that caused it
	// returns. Transitions caused at the same time by different goroutines may be reported in
	// either order.
	OnDemote func(Event)
	OnReturn func(Event)
	// Now is the clock for the pauses of demoted backends: one that is demoted again soon after
	// its return stays out longer. If nil, there are no pauses.
	Now func() int64
}

// Reasons for a demotion.
const (
	ReasonStalled  = "stalled"
	ReasonFailures = "failures"
	ReasonSilent   = "silent"
)

// Event is a demotion or a return.
type Event struct {
	Backend int
	Name    string
	// Reason is why the backend was demoted. A return repeats it.
	Reason string
	// Counts holds the counts of every backend, including the demoted one, at the time of the
	// decision. It is nil for a return.
	Counts []Count
}

// Count is the number of one backend's busy connections and how many of them are stalled.
type Count struct {
	Name          string
	Busy, Stalled int
}

// Limiter implements the engine's interface of the same name.
type Limiter struct {
	limit        atomic.Int64
	failureLimit atomic.Int64
	room         int // the highest limit that fits into the slots
	stalledAfter int64
	onDemote     func(Event)
	onReturn     func(Event)
	clock        func() int64
	backends     []backend

	pool     atomic.Uint64 // stored by refreshLocked only, under mu
	nextScan atomic.Int64  // no scan for stalled slots before this time
	// changed is nil if nobody has called Changed since the last change.
	changed atomic.Pointer[chan struct{}]

	mu         sync.Mutex
	demoted    uint64
	maintained uint64
}

type backend struct {
	name     string
	failures atomic.Int64 // consecutive; not under mu, so a decision checks it again there

	slots table
	lag   gauge
	// succeeded is set by Succeeded, and taken by whoever asks for silence.
	succeeded atomic.Bool
	cut       atomic.Int64 // see Cut; 0: it was heard since
	heard     int64        // when a leg ended well last, as far as Silence has asked; its goroutine's

	// Guarded by mu.
	demotions uint64
	reason    string // of the last demotion
	returned  int64  // when it came back last, if ever
	pause     int64  // how long it stays out at least since until then
	until     int64  // it does not come back before
	changed   int64  // when its state changed last; 0: it is as it was at the start
}

// New makes a Limiter in which every backend is active, except those in maintenance. It panics if
// there are no backends or more than MaxBackends, which is a programmer's mistake.
func New(o Options) *Limiter {
	if n := len(o.Backends); n == 0 || n > MaxBackends {
		panic(fmt.Sprintf("limiter: %d backends, must be 1 to %d", n, MaxBackends))
	}
	if o.StalledAfter <= 0 {
		o.StalledAfter = defaultStalledAfter
	}
	l := &Limiter{
		stalledAfter: int64(o.StalledAfter),
		onDemote:     o.OnDemote,
		onReturn:     o.OnReturn,
		clock:        o.Now,
		backends:     make([]backend, len(o.Backends)),
		maintained:   o.Maintained & all(len(o.Backends)),
	}
	l.room = min(max(o.ConnLimit, len(o.Backends), leastRoom), maxLimit)
	l.SetLimits(o.ConnLimit, o.FailureLimit)
	for i, name := range o.Backends {
		l.backends[i].name = name
		l.backends[i].slots.init(l.room)
		l.backends[i].lag.init()
	}
	l.refreshLocked()
	return l
}

// leastRoom is how far ConnLimit can always be raised later. It costs a few kilobytes of memory.
const leastRoom = 1 << 16

// SetLimits changes ConnLimit and FailureLimit (see Options) at once. Requests that wait at the
// old limit try again. Slots beyond a lowered limit are not taken away, but TryBegin refuses until
// enough of them have ended. It reports whether ConnLimit fits into what New made room for; if
// not, the limit is as high as that allows.
func (l *Limiter) SetLimits(connLimit, failureLimit int) (fits bool) {
	limit := min(max(connLimit, len(l.backends)), maxLimit)
	l.limit.Store(int64(min(limit, l.room)))
	l.failureLimit.Store(int64(failureLimit))
	l.wake()
	return limit <= l.room
}

// all is the set of the first n backends.
func all(n int) uint64 { return math.MaxUint64 >> (MaxBackends - n) }

// Limit is how many slots can be taken over the backends in the pool.
func (l *Limiter) Limit() int { return int(l.limit.Load()) }

// Pool is the set of backends that currently get new requests.
func (l *Limiter) Pool() uint64 { return l.pool.Load() }

// TryBegin takes one slot at every backend of want that is in the pool and stores its number in
// slots[i]; got is the set of these backends. An empty got with ok true means that no backend of
// want is in the pool. If ok is false, nothing was taken: the limit is reached, and either no
// backend could be demoted or the demotion did not free enough.
//
// Slots can become stalled merely because time passes, which may let a later TryBegin demote a
// backend and succeed. Changed does not signal that. So a waiter waits for Changed or for a
// fraction of StalledAfter, whichever comes first, and tries again.
func (l *Limiter) TryBegin(now int64, want uint64, slots *[MaxBackends]int32) (got uint64, ok bool) {
	if got, ok = l.take(now, want, slots); ok || now < l.nextScan.Load() {
		return got, ok
	}
	l.mu.Lock()
	event := l.demoteStalledLocked(now)
	l.mu.Unlock()
	if event == nil {
		return 0, false
	}
	got, ok = l.take(now, want, slots)
	l.wake()
	l.tellDemoted(event)
	return got, ok
}

// take is TryBegin without demotion.
func (l *Limiter) take(now int64, want uint64, slots *[MaxBackends]int32) (got uint64, ok bool) {
	pool := l.pool.Load()
	got = want & pool
	// A return or the end of maintenance may have lifted the sum past the limit; a request that
	// needs no slot passes all the same.
	if got == 0 {
		return 0, true
	}
	// If somebody is waiting, check before taking: slots taken and given back would wake all
	// waiters.
	if l.changed.Load() != nil && l.sum(pool)+bits.OnesCount64(got) > int(l.limit.Load()) {
		return 0, false
	}
	for set := got; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		if slots[i] = l.backends[i].slots.take(); slots[i] < 0 {
			l.giveBack(got&^set, slots)
			return 0, false
		}
	}
	if l.sum(pool) > int(l.limit.Load()) {
		l.giveBack(got, slots)
		return 0, false
	}
	for set := got; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		slots[i] = l.backends[i].slots.use(slots[i], now)
	}
	return got, true
}

// sum is the number of slots taken at the backends of set.
func (l *Limiter) sum(set uint64) (n int) {
	for ; set != 0; set &= set - 1 {
		n += l.backends[bits.TrailingZeros64(set)].slots.taken()
	}
	return n
}

// giveBack gives back slots that were taken in vain. Requests refused because of them may try
// again.
func (l *Limiter) giveBack(set uint64, slots *[MaxBackends]int32) {
	for ; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		l.backends[i].slots.give(slots[i])
	}
	l.wake()
}

// Progress records that the connection in slot moved bytes. It must not be called after End.
func (l *Limiter) Progress(backend int, slot int32, now int64) {
	l.backends[backend].slots.of(slot).progress.Store(now)
}

// Answered records that the request's client has been answered; only the first call counts. A call
// after the slot's End is ignored, even if the slot has a new owner by then: the goroutine that
// answers may race with a leg that ends on its own.
func (l *Limiter) Answered(backend int, slot int32, now int64) {
	l.backends[backend].slots.of(slot).answered.CompareAndSwap(unanswered(slot), now)
}

// End gives the slot back. Giving a slot back twice panics: it is a programmer's mistake, and going
// on would leave the counts wrong for good.
func (l *Limiter) End(backend int, slot int32) {
	b := &l.backends[backend]
	if !b.slots.end(slot) {
		panic(fmt.Sprintf("limiter: slot %d of %q is not busy", slot, b.name))
	}
	l.wake()
}

// Changed returns a channel that is closed at the next event that may let TryBegin succeed: a slot
// given back, a demotion, a return, a change of maintenance. Call it before TryBegin, so that a
// change between the two is not missed.
func (l *Limiter) Changed() <-chan struct{} {
	for {
		if c := l.changed.Load(); c != nil {
			return *c
		}
		c := make(chan struct{})
		if l.changed.CompareAndSwap(nil, &c) {
			return c
		}
	}
}

// wake closes the channel that Changed has handed out. The caller has stored the change before.
func (l *Limiter) wake() {
	if l.changed.Load() == nil {
		return
	}
	if c := l.changed.Swap(nil); c != nil {
		close(*c)
	}
}

func bit(backend int) uint64 { return 1 << backend }
