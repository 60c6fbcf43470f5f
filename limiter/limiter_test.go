package limiter

import (
	"fmt"
	"math/bits"
	"slices"
	"testing"
	"time"
)

// The engine's interface, spelled out here because the packages do not import each other.
var _ interface {
	Pool() uint64
	TryBegin(now int64, want uint64, slots *[64]int32) (got uint64, ok bool)
	Changed() <-chan struct{}
	Progress(backend int, slot int32, now int64)
	Answered(backend int, slot int32, now int64)
	End(backend int, slot int32)
	Succeeded(backend int)
	Failed(backend int, now int64)
} = (*Limiter)(nil)

const (
	ms      = int64(time.Millisecond)
	stalled = int64(defaultStalledAfter)
)

// rig is a limiter that records its events.
type rig struct {
	*Limiter
	t                  *testing.T
	demotions, returns []Event
}

func newRig(t *testing.T, backends int, o Options) *rig {
	r := &rig{t: t}
	for i := range backends {
		o.Backends = append(o.Backends, fmt.Sprintf("b%d", i))
	}
	o.OnDemote = func(e Event) { r.unlocked(); r.demotions = append(r.demotions, e) }
	o.OnReturn = func(e Event) { r.unlocked(); r.returns = append(r.returns, e) }
	r.Limiter = New(o)
	return r
}

// unlocked fails if an event is reported with the lock held.
func (r *rig) unlocked() {
	if !r.mu.TryLock() {
		r.t.Error("the lock is held during an event")
		return
	}
	r.mu.Unlock()
}

type slotID struct {
	backend int
	slot    int32
}

// mustBegin takes a slot at every backend of want and returns the slots.
func (r *rig) mustBegin(now int64, want uint64) []slotID {
	r.t.Helper()
	var slots [64]int32
	got, ok := r.TryBegin(now, want, &slots)
	if !ok || got != want {
		r.t.Fatalf("TryBegin(%d, %b) = %b, %v, want all of it", now, want, got, ok)
	}
	return slotsOf(got, &slots)
}

func (r *rig) mustRefuse(now int64, want uint64) {
	r.t.Helper()
	var slots [64]int32
	if got, ok := r.TryBegin(now, want, &slots); ok {
		r.t.Fatalf("TryBegin(%d, %b) = %b, true, want a refusal", now, want, got)
	}
}

func (r *rig) end(slots ...slotID) {
	for _, s := range slots {
		r.End(s.backend, s.slot)
	}
}

// take begins n requests at one backend.
func (r *rig) take(now int64, backend, n int) (slots []slotID) {
	r.t.Helper()
	for range n {
		slots = append(slots, r.mustBegin(now, bit(backend))...)
	}
	return slots
}

func slotsOf(set uint64, slots *[64]int32) (ids []slotID) {
	for ; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		ids = append(ids, slotID{i, slots[i]})
	}
	return ids
}

// check fails if counts that must always agree do not.
func check(t *testing.T, l *Limiter) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	pool := all(len(l.backends)) &^ (l.demoted | l.maintained)
	if got := l.pool.Load(); got != pool {
		t.Errorf("pool is %b, the sets say %b", got, pool)
	}
	for i := range l.backends {
		b := &l.backends[i]
		// With a large negative limit everything counts as stalled.
		if busy, n, _ := b.slots.count(0, -1<<62); n != busy || busy != b.slots.taken() {
			t.Errorf("%s: %d slots taken, %d in use, %d of them stalled", b.name, b.slots.taken(), busy, n)
		}
		checkFreeList(t, b)
	}
}

// checkFreeList fails if a slot is neither in use nor on the free list, or is on it twice.
func checkFreeList(t *testing.T, b *backend) {
	t.Helper()
	seen := map[int32]bool{}
	for i := head(b.slots.head.Load()).first(); i != 0; i = b.slots.at(i - 1).next.Load() {
		if seen[i] {
			t.Fatalf("%s: slot %d is on the free list twice", b.name, i-1)
		}
		seen[i] = true
		if a := b.slots.at(i - 1).answered.Load(); a != free {
			t.Errorf("%s: slot %d is on the free list and in use", b.name, i-1)
		}
	}
	if used := int(b.slots.used.Load()); len(seen)+b.slots.taken() != used {
		t.Errorf("%s: %d slots free and %d taken, of %d", b.name, len(seen), b.slots.taken(), used)
	}
}

func TestNewPanicsOnProgrammersMistakes(t *testing.T) {
	for _, n := range []int{0, 65} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Fatalf("New took %d backends", n)
				}
			}()
			New(Options{Backends: make([]string, n)})
		})
	}
}

func TestSixtyFourBackends(t *testing.T) {
	r := newRig(t, 64, Options{ConnLimit: 64})
	s := r.mustBegin(0, ^uint64(0))
	if len(s) != 64 {
		t.Fatalf("%d slots", len(s))
	}
	r.mustRefuse(0, 1<<63)
	r.end(s...)
	check(t, r.Limiter)
}

func TestSmallLimitLetsOneRequestThrough(t *testing.T) {
	r := newRig(t, 3, Options{ConnLimit: 1})
	s := r.mustBegin(0, 0b111)
	r.mustRefuse(0, 0b001)
	r.end(s...)
	r.end(r.mustBegin(0, 0b111)...)
}

func TestNothingIsTakenOnRefusal(t *testing.T) {
	r := newRig(t, 2, Options{ConnLimit: 3})
	s := r.mustBegin(0, 0b11)
	r.mustRefuse(0, 0b11) // one slot would fit, but not two
	check(t, r.Limiter)
	s = append(s, r.mustBegin(0, 0b01)...)
	r.mustRefuse(0, 0b10)
	r.end(s...)
	check(t, r.Limiter)
}

func TestEmptyWantPasses(t *testing.T) {
	r := newRig(t, 2, Options{ConnLimit: 2, Maintained: 0b10})
	r.take(0, 0, 2)
	var slots [64]int32
	for _, want := range []uint64{0, 0b10, 1 << 40} {
		if got, ok := r.TryBegin(0, want, &slots); got != 0 || !ok {
			t.Errorf("TryBegin(%b) = %b, %v, want nothing and true", want, got, ok)
		}
	}
}

func TestBackendHoldsTheWholeLimit(t *testing.T) {
	const limit = 3*chunkSize + 1
	r := newRig(t, 2, Options{ConnLimit: limit})
	for range 2 {
		s := r.take(0, 1, limit)
		slices.SortFunc(s, func(a, b slotID) int { return int(a.slot - b.slot) })
		if n := len(slices.Compact(slices.Clone(s))); n != limit {
			t.Fatalf("%d different slots of %d", n, limit)
		}
		r.mustRefuse(0, 0b01)
		check(t, r.Limiter)
		r.end(s...)
		check(t, r.Limiter)
	}
}

func TestAnsweredAfterEndHitsNobody(t *testing.T) {
	r := newRig(t, 1, Options{ConnLimit: 1})
	old := r.take(0, 0, 1)[0]
	r.end(old)
	r.Answered(0, old.slot, 1) // the slot is free
	r.take(2, 0, 1)            // the slot has another owner
	r.Answered(0, old.slot, 3)
	if n := r.Status(2 + stalled - 1)[0].Stalled; n != 0 {
		t.Fatal("a late Answered made somebody else's slot stalled")
	}
}

func TestSecondEndPanics(t *testing.T) {
	for _, reused := range []bool{false, true} {
		t.Run(fmt.Sprintf("reused=%v", reused), func(t *testing.T) {
			r := newRig(t, 1, Options{ConnLimit: 1})
			s := r.take(0, 0, 1)[0]
			r.end(s)
			if reused {
				r.take(0, 0, 1)
			}
			defer func() {
				if recover() == nil {
					t.Fatal("no panic")
				}
				check(t, r.Limiter)
			}()
			r.end(s)
		})
	}
}

func TestGenerationWraps(t *testing.T) {
	var tab table
	tab.init(maxLimit) // 21 bits of index leave 10 for the generation
	seen := make(map[int32]bool)
	for range 3000 {
		n := tab.use(tab.take(), 0)
		if n < 0 {
			t.Fatalf("a number below zero: %d", n)
		}
		seen[n] = true
		if !tab.end(n) {
			t.Fatalf("cannot give %d back", n)
		}
	}
	if len(seen) != 1024 {
		t.Fatalf("%d different numbers, want 1024", len(seen))
	}
}
