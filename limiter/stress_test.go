package limiter

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// TestR13SumNeverPassesTheLimit counts granted slots from outside, from after TryBegin until before
// End, so that it never counts more than are in use.
func TestR13SumNeverPassesTheLimit(t *testing.T) {
	for _, limit := range []int{3, 4, 7, 20} {
		const backends, workers = 3, 8
		l := New(Options{Backends: []string{"a", "b", "c"}, ConnLimit: limit, StalledAfter: math.MaxInt64})
		var granted, refused atomic.Int64
		var wg sync.WaitGroup
		for seed := range uint64(workers) {
			wg.Go(func() {
				random := rand.New(rand.NewPCG(seed, 11))
				var held []slotID
				end := func(n int) {
					for _, h := range held[:n] {
						granted.Add(-1)
						l.End(h.backend, h.slot)
					}
					held = held[n:]
				}
				for range 20_000 {
					var slots [MaxBackends]int32
					got, ok := l.TryBegin(0, 1+random.Uint64N(1<<backends-1), &slots)
					if !ok {
						refused.Add(1)
						end(random.IntN(len(held) + 1))
						continue
					}
					taken := slotsOf(got, &slots)
					if n := granted.Add(int64(len(taken))); n > int64(limit) {
						t.Errorf("%d slots in use, the limit is %d", n, limit)
					}
					held = append(held, taken...)
				}
				end(len(held))
			})
		}
		wg.Wait()
		check(t, l)
		for _, s := range l.Status(0) {
			if s.Busy != 0 {
				t.Errorf("limit %d: not at rest: %+v", limit, s)
			}
		}
		if refused.Load() == 0 {
			t.Errorf("limit %d was never reached: the test tests nothing", limit)
		}
	}
}

// TestR13Stress runs every operation on one limiter at once.
func TestR13Stress(t *testing.T) {
	for _, tt := range []struct {
		name    string
		returns bool
	}{{"demotions only", false}, {"with returns", true}} {
		t.Run(tt.name, func(t *testing.T) {
			const backends, limit, workers = 5, 20, 16
			var clock atomic.Int64
			var demoted, returned, won [backends]atomic.Int64
			l := New(Options{
				Backends: []string{"a", "b", "c", "d", "e"}, ConnLimit: limit, FailureLimit: 4,
				OnDemote: func(e Event) { demoted[e.Backend].Add(1) },
				OnReturn: func(e Event) { returned[e.Backend].Add(1) },
			})
			var wg sync.WaitGroup
			for seed := range uint64(workers) {
				wg.Go(func() {
					random := rand.New(rand.NewPCG(seed, 7))
					var held []slotID
					for range 4000 {
						now := clock.Add(ms)
						i := random.IntN(backends)
						switch op := random.IntN(16); {
						case op < 6:
							var slots [64]int32
							want := random.Uint64N(1 << backends)
							if got, ok := l.TryBegin(now, want, &slots); ok {
								if got&^want != 0 {
									t.Errorf("got %b of %b", got, want)
								}
								held = append(held, slotsOf(got, &slots)...)
							}
						case op < 12 && len(held) > 0:
							k := random.IntN(len(held))
							h := held[k]
							switch {
							case op < 8:
								l.Progress(h.backend, h.slot, now)
							case op == 8:
								l.Answered(h.backend, h.slot, now)
							default:
								l.End(h.backend, h.slot)
								l.Answered(h.backend, h.slot, now) // late, must be ignored
								held[k] = held[len(held)-1]
								held = held[:len(held)-1]
							}
						case op == 12:
							l.Failed(i, now)
						case op == 13:
							l.Succeeded(i)
						case op == 14 && tt.returns && l.Returnable(i):
							if l.Return(i) {
								won[i].Add(1)
							}
						default:
							if l.Pool() == 0 {
								t.Error("the pool is empty")
							}
						}
					}
					for _, h := range held {
						l.End(h.backend, h.slot)
					}
				})
			}
			wg.Wait()
			check(t, l)
			total := uint64(0)
			for i, s := range l.Status(clock.Load()) {
				total += s.Demotions
				if s.Busy != 0 || s.Stalled != 0 {
					t.Errorf("not at rest: %+v", s)
				}
				if d := demoted[i].Load(); uint64(d) != s.Demotions {
					t.Errorf("%s: %d demotions, %d told", s.Name, s.Demotions, d)
				}
				if won[i].Load() != returned[i].Load() {
					t.Errorf("%s: %d returns, %d told", s.Name, won[i].Load(), returned[i].Load())
				}
				open := int64(0)
				if s.Demoted {
					open = 1
				}
				if demoted[i].Load()-returned[i].Load() != open {
					t.Errorf("%s: %d demotions, %d returns, demoted %v", s.Name, demoted[i].Load(), returned[i].Load(), s.Demoted)
				}
			}
			if total == 0 {
				t.Error("nothing was demoted: the test tests nothing")
			}
		})
	}
}

// TestR13OneWinner has many goroutines see one transition fall due at the same moment.
func TestR13OneWinner(t *testing.T) {
	const racers = 16
	for range 50 {
		var demotions, returns, won atomic.Int64
		l := New(Options{
			Backends: []string{"a", "b"}, ConnLimit: 4, FailureLimit: 1,
			OnDemote: func(Event) { demotions.Add(1) },
			OnReturn: func(Event) { returns.Add(1) },
		})
		race := func(f func(racer int)) {
			var wg sync.WaitGroup
			start := make(chan struct{})
			for i := range racers {
				wg.Go(func() {
					<-start
					f(i)
				})
			}
			close(start)
			wg.Wait()
		}
		var slots [64]int32
		for range 4 {
			l.TryBegin(0, 0b01, &slots)
		}
		race(func(int) {
			var slots [64]int32
			l.TryBegin(stalled, 0b11, &slots)
		})
		if demotions.Load() != 1 || l.Pool() != 0b10 {
			t.Fatalf("%d demotions, pool %b", demotions.Load(), l.Pool())
		}
		race(func(int) {
			if l.Return(0) {
				won.Add(1)
			}
		})
		if won.Load() != 1 || returns.Load() != 1 || l.Pool() != 0b11 {
			t.Fatalf("%d won, %d returns, pool %b", won.Load(), returns.Load(), l.Pool())
		}
		// Both backends fail at once: one of them must stay.
		race(func(racer int) { l.Failed(racer%2, stalled) })
		if demotions.Load() != 2 || l.Pool() == 0 {
			t.Fatalf("%d demotions, pool %b", demotions.Load(), l.Pool())
		}
		check(t, l)
	}
}
