package limiter

import (
	"runtime"
	"slices"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

// load is what one backend carries before the request under test.
type load struct {
	healthy  int // progress just now
	silent   int // no progress for StalledAfter
	answered int // progress just now, but the client was answered StalledAfter ago
}

func TestR13WhoIsDemoted(t *testing.T) {
	const none = -1
	tests := []struct {
		name       string
		loads      []load
		maintained uint64
		want       int
	}{
		{"no stall, no demotion", []load{{healthy: 9}, {healthy: 1}}, 0, none},
		{"the stalled one, though less busy", []load{{healthy: 9}, {silent: 1}}, 0, 1},
		{"the most stalled", []load{{silent: 2}, {silent: 3}, {silent: 1}}, 0, 1},
		{"answered long ago counts as stalled", []load{{silent: 2}, {healthy: 4}, {answered: 3}}, 0, 2},
		{"both kinds add up", []load{{silent: 3}, {silent: 2, answered: 2}}, 0, 1},
		{"tie: the most busy", []load{{silent: 2, healthy: 1}, {silent: 2, healthy: 2}, {silent: 2}}, 0, 1},
		{"tie, the busier one first", []load{{silent: 2, healthy: 2}, {silent: 2, healthy: 1}}, 0, 0},
		{"tie to the end: the first", []load{{healthy: 3}, {silent: 2}, {silent: 2}}, 0, 1},
		{"the last in the pool stays", []load{{silent: 5}, {}}, 0b10, none},
		{"one backend alone", []load{{silent: 5}}, 0, none},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			limit := 0
			for _, l := range tt.loads {
				limit += l.healthy + l.silent + l.answered
			}
			r := newRig(t, len(tt.loads), Options{ConnLimit: limit, Maintained: tt.maintained})
			var counts []Count
			for i, l := range tt.loads {
				for _, s := range r.take(0, i, l.healthy) {
					r.Progress(s.backend, s.slot, stalled)
				}
				for _, s := range r.take(0, i, l.answered) {
					r.Progress(s.backend, s.slot, stalled)
					r.Answered(s.backend, s.slot, 0)
				}
				r.take(0, i, l.silent)
				counts = append(counts, Count{r.backends[i].name, l.healthy + l.silent + l.answered, l.silent + l.answered})
			}
			before := r.Pool()
			if tt.want == none {
				r.mustRefuse(stalled, before)
				if r.Pool() != before || len(r.demotions) != 0 {
					t.Fatalf("pool %b, was %b; events %v", r.Pool(), before, r.demotions)
				}
				return
			}
			// Fill the limit and one more, with slots of a backend other than the one to be
			// demoted.
			other := bit((tt.want + 1) % len(tt.loads))
			r.mustBegin(stalled, other)
			if want := before &^ bit(tt.want); r.Pool() != want {
				t.Errorf("pool %b, want %b", r.Pool(), want)
			}
			if len(r.demotions) != 1 {
				t.Fatalf("%d events, want 1", len(r.demotions))
			}
			e := r.demotions[0]
			if e.Backend != tt.want || e.Name != r.backends[tt.want].name || e.Reason != ReasonStalled {
				t.Errorf("event is %+v", e)
			}
			if !slices.Equal(e.Counts, counts) {
				t.Errorf("counts are %v, want %v", e.Counts, counts)
			}
			check(t, r.Limiter)
		})
	}
}

func TestR13StalledToTheNanosecond(t *testing.T) {
	r := newRig(t, 1, Options{ConnLimit: 2})
	s := r.take(5, 0, 2)
	count := func(now int64, want int) {
		t.Helper()
		if n := r.Status(now)[0].Stalled; n != want {
			t.Fatalf("%d stalled at %d, want %d", n, now, want)
		}
	}
	count(5+stalled-1, 0)
	count(5+stalled, 2)
	r.Progress(0, s[0].slot, 10)
	count(5+stalled, 1)
	r.Answered(0, s[0].slot, 20)
	r.Answered(0, s[0].slot, 30) // only the first call counts
	r.Progress(0, s[0].slot, stalled)
	count(20+stalled-1, 1)
	count(20+stalled, 2)
	r.end(s...)
	count(1<<60, 0)
}

func TestR13DemotedSlotsLeaveTheSumAndRunOn(t *testing.T) {
	r := newRig(t, 2, Options{ConnLimit: 8})
	slow := r.take(0, 1, 4)
	fast := r.take(stalled, 0, 4)
	fast = append(fast, r.take(stalled, 0, 4)...) // the first of these demotes 1
	if r.Pool() != 0b01 || r.State(1) != StateDemoted {
		t.Fatalf("pool %b, state %s", r.Pool(), r.State(1))
	}
	r.mustRefuse(stalled, 0b01) // all eight slots are the fast one's now
	var slots [64]int32
	if got, ok := r.TryBegin(stalled, 0b10, &slots); got != 0 || !ok {
		t.Fatalf("the demoted one got a request: %b, %v", got, ok)
	}

	// Half of the share is 8/2/2 = 2, and two is not below it.
	r.end(slow[0], slow[1])
	if r.Returnable(1) {
		t.Fatal("returnable with half of its share busy")
	}
	r.end(slow[2])
	if !r.Returnable(1) || r.Returnable(0) {
		t.Fatal("the demoted one must be returnable, the active one not")
	}
	if !r.Return(1) || r.Return(1) {
		t.Fatal("Return must be won once")
	}
	check(t, r.Limiter)
	if len(r.returns) != 1 || r.returns[0].Backend != 1 || r.returns[0].Reason != ReasonStalled {
		t.Fatalf("events %+v", r.returns)
	}
	// The slot it still has counts again: nine of eight.
	r.Progress(1, slow[3].slot, stalled)
	if got, ok := r.TryBegin(stalled, 0, &slots); got != 0 || !ok {
		t.Fatalf("past the limit, a request for nothing got %b, %v", got, ok)
	}
	for _, s := range fast[:2] {
		r.mustRefuse(stalled, 0b01)
		r.end(s)
	}
	r.end(r.mustBegin(stalled, 0b10)...)
	r.end(fast[2:]...)
	r.end(slow[3])
	check(t, r.Limiter)
}

func TestR13SmallShareCanReturn(t *testing.T) {
	r := newRig(t, 2, Options{ConnLimit: 1})
	s := r.mustBegin(0, 0b11)
	r.Progress(0, s[0].slot, stalled)
	r.mustBegin(stalled, 0b01)
	if r.Pool() != 0b01 || r.Returnable(1) {
		t.Fatalf("pool %b", r.Pool())
	}
	r.end(s[1])
	if !r.Returnable(1) {
		t.Fatal("an idle backend must be returnable, however small its share")
	}
}

func TestR13OneDemotionThenTheNext(t *testing.T) {
	// One demotion does not free enough: the caller is refused, but the demotion wakes it, and it
	// may demote the next backend at once, without waiting for scanEvery.
	r := newRig(t, 4, Options{ConnLimit: 6})
	r.take(0, 0, 1)
	r.take(0, 1, 1)
	r.take(stalled, 2, 4)
	changed := r.Changed()
	r.mustRefuse(stalled, 0b1111)
	if r.Pool() != 0b1110 {
		t.Fatalf("pool %b", r.Pool())
	}
	select {
	case <-changed:
	default:
		t.Fatal("a demotion must wake")
	}
	var slots [64]int32
	if got, ok := r.TryBegin(stalled, 0b1111, &slots); got != 0b1100 || !ok || len(r.demotions) != 2 {
		t.Fatalf("TryBegin = %b, %v with %d demotions", got, ok, len(r.demotions))
	}
	check(t, r.Limiter)
}

func TestR13LookIsRateLimited(t *testing.T) {
	r := newRig(t, 2, Options{ConnLimit: 2})
	r.mustBegin(0, 0b11)
	r.mustRefuse(stalled-ms/2, 0b01) // scans in vain
	r.mustRefuse(stalled, 0b01)      // a scan would find one, but it is too early
	r.mustRefuse(stalled-ms, 0b01)   // a clock read a little earlier
	r.mustBegin(stalled+ms/2, 0b10)
	if r.Pool() != 0b10 {
		t.Fatalf("pool %b", r.Pool())
	}
}

func TestR13FailureLimit(t *testing.T) {
	r := newRig(t, 2, Options{ConnLimit: 9, FailureLimit: 3})
	r.Failed(0, 1)
	r.Failed(0, 2)
	r.Succeeded(0)
	r.Failed(0, 3)
	r.Failed(0, 4)
	if r.Pool() != 0b11 {
		t.Fatal("demoted for failures that were not in a row")
	}
	s := r.take(4, 0, 1)
	r.Failed(0, 5)
	r.Failed(0, 6)
	if r.Pool() != 0b10 || len(r.demotions) != 1 {
		t.Fatalf("pool %b, events %v", r.Pool(), r.demotions)
	}
	want := []Count{{"b0", 1, 0}, {"b1", 0, 0}}
	if e := r.demotions[0]; e.Backend != 0 || e.Reason != ReasonFailures || !slices.Equal(e.Counts, want) {
		t.Fatalf("event %+v", e)
	}
	for range 5 {
		r.Failed(1, 7)
	}
	if r.Pool() != 0b10 {
		t.Fatal("the last one left the pool")
	}
	if !r.Returnable(0) || !r.Return(0) {
		t.Fatal("cannot return")
	}
	if st := r.Status(8)[0]; st.Failures != 0 || st.Demotions != 1 || st.Reason != ReasonFailures {
		t.Fatalf("after the return: %+v", st)
	}
	r.Failed(1, 9) // no longer the last one, and still failing
	if r.Pool() != 0b01 {
		t.Fatalf("pool %b", r.Pool())
	}
	r.end(s...)
	check(t, r.Limiter)
}

// A failure counted before a Return, whose goroutine gets the lock after it, must not demote the
// backend that has just had its count reset.
func TestR13FailureOvertakenByReturn(t *testing.T) {
	r := newRig(t, 2, Options{ConnLimit: 2, FailureLimit: 1})
	failures := &r.backends[0].failures
	done := make(chan struct{})
	r.mu.Lock()
	go func() {
		defer close(done)
		r.Failed(0, 0)
	}()
	for failures.Load() == 0 {
		runtime.Gosched()
	}
	failures.Store(0) // as Return does, under the lock
	r.mu.Unlock()
	testkit.Receive(t, "the end of a goroutine", done)
	if r.Pool() != 0b11 || len(r.demotions) != 0 {
		t.Fatalf("pool %b, events %v", r.Pool(), r.demotions)
	}
}

func TestR13FailureLimitOff(t *testing.T) {
	r := newRig(t, 2, Options{ConnLimit: 2})
	for range 1000 {
		r.Failed(0, 1)
	}
	if st := r.Status(1)[0]; st.State != StateActive || st.Failures != 1000 {
		t.Fatalf("%+v", st)
	}
}

func TestR14Maintenance(t *testing.T) {
	r := newRig(t, 3, Options{ConnLimit: 6, FailureLimit: 1, Maintained: 0b001})
	if r.Pool() != 0b110 || r.State(0) != StateMaintained {
		t.Fatalf("pool %b, state %s", r.Pool(), r.State(0))
	}
	var slots [64]int32
	if got, ok := r.TryBegin(0, 0b111, &slots); got != 0b110 || !ok {
		t.Fatalf("TryBegin = %b, %v", got, ok)
	}
	r.end(slotsOf(0b110, &slots)...)

	// Demotion and maintenance are independent; the state in one word is maintained.
	r.Failed(1, 0)
	if !r.SetMaintained(1, true) || r.SetMaintained(1, true) {
		t.Fatal("SetMaintained must tell a change")
	}
	if st := r.Status(0)[1]; st.State != StateMaintained || !st.Demoted || !st.Maintained {
		t.Fatalf("%+v", st)
	}
	if r.Returnable(1) {
		t.Fatal("a probe would reach a backend in maintenance")
	}
	r.SetMaintained(1, false)
	if r.State(1) != StateDemoted || !r.Returnable(1) || !r.Return(1) {
		t.Fatal("the end of maintenance must leave the demotion")
	}

	// The operator may take out the last backend, which a demotion must not.
	r.Failed(2, 0)
	r.Failed(1, 0)
	if r.Pool() != 0b010 {
		t.Fatalf("pool %b", r.Pool())
	}
	s := r.take(0, 1, 4)
	r.SetMaintained(1, true)
	if got, ok := r.TryBegin(0, 0b111, &slots); got != 0 || !ok || r.Pool() != 0 {
		t.Fatalf("TryBegin = %b, %v", got, ok)
	}
	check(t, r.Limiter)
	r.SetMaintained(1, false)
	s = append(s, r.take(0, 1, 2)...)
	r.mustRefuse(0, 0b010) // slots that stayed busy through the maintenance count again
	r.end(s...)
	check(t, r.Limiter)
}

func TestR14FailureInMaintenanceIsNoDemotion(t *testing.T) {
	r := newRig(t, 2, Options{ConnLimit: 2, FailureLimit: 1, Maintained: 0b01})
	r.Failed(0, 0)
	if len(r.demotions) != 0 || r.Status(0)[0].Demoted {
		t.Fatal("demoted from a pool it was not in")
	}
}
