// Package limiter counts the busy connections of each backend and decides
// which backends are in the pool (R13, R14).
//
// A busy connection is a slot. TryBegin takes one slot at each backend of a
// request, Progress and Answered note what happens to it, End gives it back.
// The sum of slots over the backends in the pool never grows past the limit:
// where it would, the backend with the most stalled slots is demoted, and its
// slots leave the sum; where none is stalled, the caller has to wait (Changed).
// A backend is also demoted for failing FailureLimit times in a row. It comes
// back by Return, which a prober calls after asking Returnable. Maintenance is
// a bit of its own beside that, set and unset by the operator.
//
// The package does no I/O, starts no goroutine and reads no clock: times are
// nanoseconds (not negative) of one monotonic clock of the caller's. Every
// method may be called from any goroutine. OnDemote and OnReturn run on the
// goroutine whose call made the change, with no lock held.
//
// One mutex guards all that has to agree: sets, sum, counts and free slots. An
// End that races with a demotion so falls either before it or after it, and the
// sum cannot drift. Taking and giving back two slots costs three uncontended
// locks (BenchmarkPair); what is called more often than once a leg (Pool,
// Progress, Answered, Succeeded) takes no lock at all.
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
	// maxLimit keeps room for a generation beside the index in a slot's number.
	maxLimit = 1 << 24
)

// Options sets a Limiter up.
type Options struct {
	// Backends are the names for events and status. Backend i is bit i of a set.
	Backends []string
	// ConnLimit bounds the sum of busy connections over the backends in the
	// pool. Fewer than one a backend would let nothing through, so the limit in
	// effect is at least the number of backends (and at most 16 million).
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

	pool atomic.Uint64 // stored under mu only, by refreshLocked

	mu         sync.Mutex
	demoted    uint64
	maintained uint64
	sum        int           // of busy over the backends in the pool
	nextScan   int64         // no look for stalled slots before this time
	changed    chan struct{} // nil where nobody has asked since the last change
}

type backend struct {
	name     string
	failures atomic.Int64 // consecutive; without mu, it decides nothing alone

	// Under mu.
	slots     table
	busy      int
	demotions uint64
	reason    string // of the last demotion
	_         [64]byte
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
	l.mu.Lock()
	if got, ok = l.takeLocked(now, want, slots); ok {
		l.mu.Unlock()
		return got, true
	}
	event := l.demoteStalledLocked(now)
	if event == nil {
		l.mu.Unlock()
		return 0, false
	}
	got, ok = l.takeLocked(now, want, slots)
	changed := l.takeChangedLocked()
	l.mu.Unlock()

	wake(changed)
	l.tellDemoted(event)
	return got, ok
}

func (l *Limiter) takeLocked(now int64, want uint64, slots *[MaxBackends]int32) (got uint64, ok bool) {
	got = want & l.pool.Load()
	n := bits.OnesCount64(got)
	// A return or the end of maintenance may have lifted the sum past the
	// limit; a request for nothing goes through all the same.
	if n > 0 && l.sum+n > l.limit {
		return 0, false
	}
	l.sum += n
	for set := got; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		b := &l.backends[i]
		b.busy++
		slots[i] = b.slots.takeLocked(now)
	}
	return got, true
}

// Progress notes that the connection in slot moved bytes. Not after End.
func (l *Limiter) Progress(backend int, slot int32, now int64) {
	l.backends[backend].slots.at(slot).progress.Store(now)
}

// Answered notes that the client of the request has its answer; the first call
// counts. One that comes after the slot's End, from the goroutine that answers
// while a leg ends on its own, is ignored, whoever has the slot by then.
func (l *Limiter) Answered(backend int, slot int32, now int64) {
	l.backends[backend].slots.at(slot).answered.CompareAndSwap(unanswered(slot), now)
}

// End gives the slot back. To give one back twice is a programmer's mistake and
// panics: going on would break the counts for good.
func (l *Limiter) End(backend int, slot int32) {
	b := &l.backends[backend]
	l.mu.Lock()
	if !b.slots.giveLocked(slot) {
		l.mu.Unlock()
		panic(fmt.Sprintf("limiter: slot %d of %q is not busy", slot, b.name))
	}
	b.busy--
	if l.pool.Load()&bit(backend) != 0 {
		l.sum--
	}
	changed := l.takeChangedLocked()
	l.mu.Unlock()
	wake(changed)
}

// Changed returns a channel that is closed at the next event that may let
// TryBegin succeed: a slot given back, a demotion, a return, a change of
// maintenance. Ask for it before the TryBegin whose refusal it is to outwait:
// what happens between the two closes it.
func (l *Limiter) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}

// takeChangedLocked takes the channel out; the caller closes it when it has
// unlocked, since that makes all who wait for the lock runnable.
func (l *Limiter) takeChangedLocked() chan struct{} {
	c := l.changed
	l.changed = nil
	return c
}

func wake(changed chan struct{}) {
	if changed != nil {
		close(changed)
	}
}

func bit(backend int) uint64 { return 1 << backend }
