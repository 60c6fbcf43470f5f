package limiter

import (
	"math"
	"testing"
)

func TestR13NextLimit(t *testing.T) {
	const most = 750
	tests := []struct {
		name         string
		limit, busy  int
		least, floor int64
		want         int
	}{
		{"a near one, unburdened", most, 3, ms / 10, ms / 10, most},
		{"a far one, unburdened", most, 40, 80 * ms, 80 * ms, most},
		{"a far one, many under way", most, 740, 85 * ms, 80 * ms, most},
		{"it grows", 100, 90, 80 * ms, 80 * ms, 113},
		{"it grows while few are under way", 100, 3, 80 * ms, 80 * ms, 113},
		{"up to the most", most - 3, 400, 80 * ms, 80 * ms, most},
		{"a standing queue: what takes the bound's time", most, 300, 345 * ms, 30 * ms, 200},
		{"half at a time", most, 300, 6900 * ms, 30 * ms, 150},
		{"never less than the least", 40, 40, 6900 * ms, 30 * ms, leastLimit},
		{"a queue of few is none of the limit's", 200, 2, 900 * ms, 30 * ms, leastLimit},
		{"a very far one: twice its floor", 200, 190, 590 * ms, 300 * ms, 226},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			next, _ := nextLimit(tt.limit, tt.busy, most, tt.least, tt.floor)
			if next != tt.want {
				t.Errorf("%d, want %d", next, tt.want)
			}
		})
	}
}

// A floor follows a path that has become longer, but never a queue.
func TestR13FloorOfALag(t *testing.T) {
	floor := int64(math.MaxInt64)
	for range 100 {
		_, floor = nextLimit(750, 10, 750, 30*ms, floor)
	}
	if floor != 30*ms {
		t.Fatalf("the floor is %d", floor)
	}
	for range 1000 {
		_, floor = nextLimit(100, 95, 750, 230*ms, floor)
	}
	if floor != 30*ms {
		t.Errorf("a queue has moved the floor to %d ms", floor/ms)
	}
	for range 100 {
		_, floor = nextLimit(750, 10, 750, 90*ms, floor)
	}
	if floor < 85*ms {
		t.Errorf("a longer path has moved the floor to %d ms only", floor/ms)
	}
}

// link is a backend in a test's own time: legs begin every step, and it ends so many of them a second.
type link struct {
	*rig
	now     int64
	begun   []slotID
	at      []int64
	credit  float64
	crowded int
}

// run begins so many legs a second at backend 1, for seconds, each beside a near one, and ends as many
// as the backend carries, after delay at least.
func (k *link) run(seconds, rate, carries float64, delay int64) {
	const step = ms
	due := 0.0
	for range int(seconds * 1000) {
		k.now += step
		k.credit = min(k.credit+carries/1000, carries)
		for len(k.begun) > 0 && k.credit >= 1 && k.now-k.at[0] >= delay {
			s := k.begun[0]
			k.Lagged(s.backend, k.now, k.now-k.at[0])
			k.Succeeded(s.backend)
			k.End(s.backend, s.slot)
			k.begun, k.at = k.begun[1:], k.at[1:]
			k.credit--
		}
		for due += rate / 1000; due >= 1; due-- {
			want := uint64(0b11)
			if c := k.Crowded(k.now, want); c != 0 {
				if c != 0b10 {
					k.t.Fatalf("crowded are %b", c)
				}
				k.crowded++
				want &^= c
			}
			for _, s := range k.mustBegin(k.now, want) {
				k.Answered(s.backend, s.slot, k.now)
				if s.backend == 0 {
					k.End(0, s.slot)
					continue
				}
				k.begun, k.at = append(k.begun, s), append(k.at, k.now)
			}
		}
	}
}

// TestR13AdaptiveLimit: a link that carries what is sent defers nothing; beyond that as much is deferred
// as it cannot carry, and it stays in the pool.
func TestR13AdaptiveLimit(t *testing.T) {
	t.Run("below the link's rate", func(t *testing.T) {
		k := &link{rig: newRig(t, 2, Options{ConnLimit: 1000})}
		k.run(60, 180, 190, 30*ms)
		if k.crowded > 0 || k.Pool() != 0b11 {
			t.Errorf("%d were deferred, pool %b", k.crowded, k.Pool())
		}
	})
	t.Run("at twice the link's rate", func(t *testing.T) {
		k := &link{rig: newRig(t, 2, Options{ConnLimit: 1000})}
		k.run(10, 400, 190, 30*ms)
		early := k.crowded
		k.run(60, 400, 190, 30*ms)
		if got, want := k.crowded-early, (400-190)*60; got < want*9/10 || got > want*11/10 {
			t.Errorf("%d were deferred, want about %d", got, want)
		}
		if k.Pool() != 0b11 || len(k.demotions) > 0 {
			t.Errorf("it has left the pool: %v", k.demotions)
		}
		if n := len(k.begun); n > 250 {
			t.Errorf("%d legs are under way: more than two seconds' worth are waiting", n)
		}
		// And it is over soon.
		k.run(20, 150, 190, 30*ms)
		k.crowded = 0
		k.run(20, 180, 190, 30*ms)
		if k.crowded > 0 {
			t.Errorf("%d were deferred when the load was over", k.crowded)
		}
	})
	// "Busy 950, Stalled 1", eleven times in eleven seconds: the link is not full, there are only
	// many on their way.
	t.Run("a long way", func(t *testing.T) {
		k := &link{rig: newRig(t, 2, Options{ConnLimit: 1000})}
		k.run(20, 12000, 20000, 80*ms)
		if len(k.demotions) > 0 {
			t.Fatalf("demoted: %+v", k.demotions)
		}
		if n := len(k.begun); n > 760 {
			t.Errorf("%d legs are under way: no place is left for the near one", n)
		}
	})
}

// A pause of the whole machine, or of one backend, is no queue that stands.
func TestR13PauseDefersNothing(t *testing.T) {
	k := &link{rig: newRig(t, 2, Options{ConnLimit: 1000})}
	for range 20 {
		k.run(0.4, 500, 0, ms)
		k.run(2, 500, 2000, ms)
	}
	if k.crowded > 0 {
		t.Errorf("%d were deferred", k.crowded)
	}
}

// Where all legs hang the limit is no reason to defer: ConnLimit and the stalled ones decide.
func TestR13HungOneIsNotCrowded(t *testing.T) {
	r := newRig(t, 2, Options{ConnLimit: 100})
	now := int64(0)
	for range 20 {
		now += lagInterval
		r.Lagged(1, now, 5000*ms)
	}
	r.take(now, 1, 40)
	if got := r.Crowded(now, 0b11); got != 0b10 {
		t.Fatalf("crowded are %b", got)
	}
	if r.AtLimit(now, 0) || !r.AtLimit(now, 1) {
		t.Errorf("at their limits: %v, %v", r.AtLimit(now, 0), r.AtLimit(now, 1))
	}
	if got := r.Crowded(now, 0b10); got != 0 {
		t.Errorf("nobody else is asked, but crowded are %b", got)
	}
	s := r.take(now, 0, 20)
	if got := r.Crowded(now, 0b11); got != 0 {
		t.Errorf("the other one has half as many under way, but crowded are %b", got)
	}
	r.end(s...)
	if got := r.Crowded(now+lagForgotten+1, 0b11); got != 0 {
		t.Errorf("nothing has ended for long, but crowded are %b", got)
	}
}

func TestR13ShareOfStalledOnes(t *testing.T) {
	r := newRig(t, 2, Options{ConnLimit: 100})
	r.take(0, 1, 20)
	for _, s := range r.take(0, 1, 75) {
		r.Progress(s.backend, s.slot, stalled)
	}
	for _, s := range r.take(0, 0, 5) {
		r.Progress(s.backend, s.slot, stalled)
	}
	r.mustRefuse(stalled, 0b11)
	if len(r.demotions) > 0 {
		t.Fatalf("demoted with 20 of 95 stalled: %+v", r.demotions)
	}
	r.mustBegin(2*stalled, 0b01) // all are
	if r.Pool() != 0b01 {
		t.Errorf("pool %b", r.Pool())
	}
}

func TestR13PausesGrow(t *testing.T) {
	now := int64(0)
	r := newRig(t, 2, Options{ConnLimit: 4, FailureLimit: 1, Now: func() int64 { return now }})
	out := func() (pause int64) {
		r.Failed(1, now)
		from := now
		for !r.Returnable(1) {
			if now += 100 * ms; now-from > 1000*1000*ms {
				t.Fatal("it never comes back")
			}
		}
		if !r.Return(1) {
			t.Fatal("no return")
		}
		return now - from
	}
	now = 1000 * ms
	for i, want := range []int64{0, 2, 4, 8, 16, 32, 60, 60} {
		if got := out(); got != want*1000*ms {
			t.Errorf("pause %d is %d ms, want %d s", i, got/ms, want)
		}
	}
	now += 130 * 1000 * ms
	if got := out(); got != 0 {
		t.Errorf("after a good while the pause is %d ms", got/ms)
	}
}

// A backend that was demoted again and again does not stay out for so long where the others fail as well.
func TestR13PausesEndWhereAllFail(t *testing.T) {
	for _, limit := range []int{3, 0} {
		now := int64(0)
		r := newRig(t, 3, Options{ConnLimit: 4, FailureLimit: 3, Now: func() int64 { return now }})
		fail := func(backend, times int) {
			for range times {
				r.Failed(backend, now)
			}
		}
		for range 4 { // the last pause is one of 8 s
			now += 20_000 * ms
			r.Return(1)
			fail(1, 3)
		}
		r.SetLimits(4, limit)
		from := now
		isBack := func(after int64, want bool) {
			t.Helper()
			if now = from + after; r.Returnable(1) != want {
				t.Errorf("limit %d, after %d ms it may come back: %t", limit, after/ms, !want)
			}
		}
		isBack(2000*ms, false)
		fail(0, 3)
		isBack(3000*ms, false) // the third one is well
		fail(2, 3)
		isBack(1999*ms, false)
		isBack(2000*ms, limit > 0)
		r.Succeeded(2)
		isBack(7999*ms, false)
		isBack(8000*ms, true)
	}
}

func TestR13Silence(t *testing.T) {
	r := newRig(t, 2, Options{ConnLimit: 10})
	unacknowledged := func(int, int64) int64 { return 0 }
	silence := func(now, want int64) {
		t.Helper()
		if got := r.Silence(1, now, unacknowledged); got != want {
			t.Errorf("silent for %d ms at %d ms, want %d", got/ms, now/ms, want/ms)
		}
	}
	silence(9000*ms, 0) // nothing is waited for
	s := r.take(10000*ms, 1, 1)
	silence(10000*ms, 0)
	silence(12000*ms, 2000*ms)
	more := r.take(12500*ms, 1, 1) // a new request is no news
	silence(13000*ms, 3000*ms)
	r.Succeeded(1)
	silence(13500*ms, 0)
	silence(14500*ms, 1000*ms)
	r.Progress(1, s[0].slot, math.MaxInt64) // it waits for its client
	r.Progress(1, more[0].slot, math.MaxInt64)
	silence(19000*ms, 0)
	unacknowledged = func(backend int, _ int64) int64 { return []int64{8000 * ms, 3000 * ms}[backend] }
	silence(19000*ms, 3000*ms) // but what it has sent has not arrived
	unacknowledged = func(int, int64) int64 { return 8000 * ms }
	silence(19000*ms, 5500*ms) // and a leg has ended well since
	unacknowledged = func(int, int64) int64 { return 0 }
	r.Progress(1, s[0].slot, 19000*ms)
	silence(21000*ms, 2000*ms)
	r.Heard(1, 21000*ms)
	silence(22000*ms, 1000*ms)
	r.Progress(1, s[0].slot, math.MaxInt64)
	r.Progress(1, more[0].slot, math.MaxInt64)
	silence(22100*ms, 0)
	r.Cut(1, 21500*ms) // who did not wait any longer
	silence(22100*ms, 600*ms)
	r.Heard(1, 22200*ms)
	silence(30000*ms, 0)
	r.Succeeded(1)
	silence(30100*ms, 0)
	r.Cut(1, 30050*ms) // it had begun before it was seen that another leg has ended well
	silence(31100*ms, 1000*ms)
	r.Succeeded(1)
	silence(31200*ms, 0)
	silence(40000*ms, 0)
	if !r.DemoteSilent(1, 22000*ms) || r.DemoteSilent(1, 22000*ms) || r.DemoteSilent(0, 22000*ms) {
		t.Error("one of two is to be demoted, once")
	}
	if len(r.demotions) != 1 || r.demotions[0].Reason != ReasonSilent {
		t.Errorf("events %+v", r.demotions)
	}
}
