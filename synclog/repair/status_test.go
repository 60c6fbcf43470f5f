package repair

import (
	"testing"
	"testing/synctest"
	"time"
)

// R36: how long repair will take is said only once a rate is known that has to do with what is left.
func TestR36EstimateNeedsARate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		one := &backend{gate: newGate(1, 1)}
		r := &Repairer{o: Options{Pending: func() int { return 300 }}, backends: []*backend{one}}
		closeFor := func(seconds int) {
			for range seconds {
				r.counts.recent.add(10, 0)
				time.Sleep(time.Second) // in the bubble
			}
		}
		want := func(when string, eta time.Duration) {
			t.Helper()
			if s := r.Status(); s.ETA != eta || (s.ETAText == "") != (eta == 0) {
				t.Errorf("%s: %v (%q), want %v", when, s.ETA, s.ETAText, eta)
			}
		}
		want("at first", 0)
		closeFor(2)
		want("after two seconds", 0)
		closeFor(4)
		want("after six", 30*time.Second)
		one.breaker.open.Store(true)
		want("while the backend is out", 0)
		one.breaker.open.Store(false)
		r.counts.recent.restart()
		want("when it is back", 0)
		closeFor(4)
		want("once it is worked on", 30*time.Second)
		time.Sleep((idleSeconds + 1) * time.Second) // in the bubble
		closeFor(2)
		want("two seconds after nothing was done", 0)
		closeFor(2)
		want("four seconds after it", 30*time.Second)
	})
}
