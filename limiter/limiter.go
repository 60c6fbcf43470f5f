// Package limiter counts the busy connections of each backend and decides
// which backends are in the pool (R13, R14).
//
// A busy connection is a slot. TryBegin takes one slot at each backend of a
// request, Progress and Answered note what happens to it, End gives it back.
// The sum of slots over the backends in the pool never grows past the limit:
// where it would, the backend with the most stalled slots is demoted, and its
// slots no longer count; where none is stalled, the caller has to wait (Changed).
// A backend is also demoted for failing FailureLimit times in a row. It comes
// back by Return, which a prober calls after asking Returnable. Maintenance is
// a bit of its own beside that, set and unset by the operator.
//
// The package does no I/O, starts no goroutine and reads no clock: times are
// nanoseconds (not negative) of one monotonic clock of the caller's. Every
// method may be called from any goroutine. OnDemote and OnReturn run on the
// goroutine whose call made the change, with no lock held.
//
// Slots are counted without a lock. Invariants:
//
//   - A backend's count of taken slots and its free list are one word (head), so that
//     they cannot disagree, however calls race.
//   - There is no sum beside the counts that could drift from them: TryBegin adds them up
//     over the pool as it stands.
//   - TryBegin takes its slots first and adds up then. Of all slots in use at any moment
//     one was taken last, and whoever took it has seen all the others: so the sum of
//     those that were granted never passes the limit. Two callers that race for the last
//     place may both be refused; what they give back wakes whoever waits.
//   - A TryBegin that races with a demotion may still get a slot at that backend, as if
//     it had come before it.
//
// A mutex guards the sets that make the pool, and so a demotion, a return, maintenance,
// and the look for stalled slots.
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
	// MaxBackends is what a set of backends, a 64-bit mask, can hold.
	MaxBackends = 64
	// DefaultStalledAfter is R13's 250 ms.
	DefaultStalledAfter = 250 * time.Millisecond
)

// Options sets a Limiter up.
type Options struct {
	// Backends are the names for events and status. Backend i is bit i of a set.
	Backends []string
	// ConnLimit bounds the sum of busy connections over the backends in the
	// pool. Fewer than one a backend would let nothing through, so the limit in
	// effect is at least the number of backends (and at most a million).
	ConnLimit int
	// FailureLimit is how many failures in a row demote a backend; 0 is off.
	FailureLimit int
	// StalledAfter is how long a slot may go without progress, or live on after
	// its client was answered, before it is stalled. 0 is DefaultStalledAfter.
	StalledAfter time.Duration
	// Maintained is the set of backends in maintenance from the start.
	Maintained uint64
	// OnDemote and OnReturn are called exactly once for each transition, before
	// the call that made it returns. Two transitions made at once by different
	// goroutines may be told in either order.
	OnDemote func(Event)
	OnReturn func(Event)
}

// Why a backend was demoted.
const (
	ReasonStalled  = "stalled"
	ReasonFailures = "failures"
)

// Event is a demotion or a return.
type Event struct {
	Backend int
	Name    string
	// Reason is why the backend was demoted; a return gives it once more.
	Reason string
	// Counts holds every backend, the demoted one too, as it stood when the
	// decision was made. A return has none.
	Counts []Count
}

// Count is one backend's busy connections, and how many of them are stalled.
type Count struct {
	Name          string
	Busy, Stalled int
}

// Limiter implements the engine's interface of that name.
type Limiter struct {
	limit        int
	failureLimit int64
	stalledAfter int64
	onDemote     func(Event)
	onReturn     func(Event)
	backends     []backend

	pool     atomic.Uint64 // stored under mu only, by refreshLocked
	nextScan atomic.Int64  // no look for stalled slots before this time
	// changed is nil where nobody has asked since the last change.
	changed atomic.Pointer[chan struct{}]

	mu         sync.Mutex
	demoted    uint64
	maintained uint64
}

type backend struct {
	name     string
	failures atomic.Int64 // consecutive; without mu, it decides nothing alone

	slots table

	// Under mu.
	demotions uint64
	reason    string // of the last demotion
}

// New makes a Limiter with every backend active but the maintained ones. No
// backend at all, or more than MaxBackends, is a programmer's mistake: it panics.
func New(o Options) *Limiter {
	if n := len(o.Backends); n == 0 || n > MaxBackends {
		panic(fmt.Sprintf("limiter: %d backends, must be 1 to %d", n, MaxBackends))
	}
	if o.StalledAfter <= 0 {
		o.StalledAfter = DefaultStalledAfter
	}
	l := &Limiter{
		limit:        min(max(o.ConnLimit, len(o.Backends)), maxLimit),
		failureLimit: int64(o.FailureLimit),
		stalledAfter: int64(o.StalledAfter),
		onDemote:     o.OnDemote,
		onReturn:     o.OnReturn,
		backends:     make([]backend, len(o.Backends)),
		maintained:   o.Maintained & all(len(o.Backends)),
	}
	for i, name := range o.Backends {
		l.backends[i].name = name
		l.backends[i].slots.init(l.limit)
	}
	l.refreshLocked()
	return l
}

// all is the set of the first n backends.
func all(n int) uint64 { return math.MaxUint64 >> (MaxBackends - n) }

// Pool is the set of backends that get new requests now.
func (l *Limiter) Pool() uint64 { return l.pool.Load() }

// TryBegin takes one slot at every backend of want that is in the pool, and
// stores its number in slots[i]; got is the set of those. got may be empty with
// ok true: then no backend of want is in the pool. ok is false, and nothing
// taken, where the limit is reached and no backend could be demoted, or one was
// and that did not free enough.
//
// Time alone can make slots stalled and so let a later TryBegin demote and
// succeed; nothing closes Changed for that. A waiter so waits for Changed or a
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

// take is TryBegin without a demotion.
func (l *Limiter) take(now int64, want uint64, slots *[MaxBackends]int32) (got uint64, ok bool) {
	pool := l.pool.Load()
	got = want & pool
	// A return or the end of maintenance may have lifted the sum past the
	// limit; a request for nothing goes through all the same.
	if got == 0 {
		return 0, true
	}
	// Where somebody waits, a look first: what has to go back wakes them all.
	if l.changed.Load() != nil && l.sum(pool)+bits.OnesCount64(got) > l.limit {
		return 0, false
	}
	for set := got; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		if slots[i] = l.backends[i].slots.take(); slots[i] < 0 {
			l.giveBack(got&^set, slots)
			return 0, false
		}
	}
	if l.sum(pool) > l.limit {
		l.giveBack(got, slots)
		return 0, false
	}
	for set := got; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		slots[i] = l.backends[i].slots.use(slots[i], now)
	}
	return got, true
}

// sum is how many slots are taken at the backends of set.
func (l *Limiter) sum(set uint64) (n int) {
	for ; set != 0; set &= set - 1 {
		n += l.backends[bits.TrailingZeros64(set)].slots.taken()
	}
	return n
}

// giveBack gives slots back that were taken in vain. Who was refused because of them may
// try again.
func (l *Limiter) giveBack(set uint64, slots *[MaxBackends]int32) {
	for ; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		l.backends[i].slots.give(slots[i])
	}
	l.wake()
}

// Progress notes that the connection in slot moved bytes. Not after End.
func (l *Limiter) Progress(backend int, slot int32, now int64) {
	l.backends[backend].slots.of(slot).progress.Store(now)
}

// Answered notes that the client of the request has its answer; the first call
// counts. One that comes after the slot's End, from the goroutine that answers
// while a leg ends on its own, is ignored, whoever has the slot by then.
func (l *Limiter) Answered(backend int, slot int32, now int64) {
	l.backends[backend].slots.of(slot).answered.CompareAndSwap(unanswered(slot), now)
}

// End gives the slot back. To give one back twice is a programmer's mistake and
// panics: going on would break the counts for good.
func (l *Limiter) End(backend int, slot int32) {
	b := &l.backends[backend]
	if !b.slots.end(slot) {
		panic(fmt.Sprintf("limiter: slot %d of %q is not busy", slot, b.name))
	}
	l.wake()
}

// Changed returns a channel that is closed at the next event that may let
// TryBegin succeed: a slot given back, a demotion, a return, a change of
// maintenance. Ask for it before the TryBegin whose refusal it is to outwait:
// what happens between the two closes it.
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

// wake closes what Changed has given out. Whatever it tells of has been stored before.
func (l *Limiter) wake() {
	if l.changed.Load() == nil {
		return
	}
	if c := l.changed.Swap(nil); c != nil {
		close(*c)
	}
}

func bit(backend int) uint64 { return 1 << backend }
