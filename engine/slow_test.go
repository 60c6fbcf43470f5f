package engine

import (
	"net/http"
	"testing"
	"time"
)

// R36: slow requests are told leg by leg, while somebody watches, and fast ones never.
func TestR36SlowRequests(t *testing.T) {
	e := &Engine{}
	add := func(d time.Duration) {
		r := &request{e: e}
		r.head.begun, r.head.method = time.Now(), http.MethodPut
		r.head.buf = []byte("/b/k")
		r.head.raw = r.head.buf
		r.legs = []leg{{backend: 1, took: d / 2, outcome: OutcomePositive}, {backend: 0, took: d, outcome: OutcomeFailed}}
		r.race.asked, r.race.winner, r.race.firstAnswer = 2, 0, d/2
		r.noteSlow(d)
	}
	e.WatchSlow(true)
	for i := range 3 * slowKept {
		add(time.Duration(i+1) * time.Second)
	}
	all := e.Slow()
	if len(all) != slowKept || all[0].Whole != 3*slowKept*time.Second || all[slowKept-1].Whole != (2*slowKept+1)*time.Second {
		t.Fatalf("%d are kept, from %v to %v", len(all), all[0].Whole, all[len(all)-1].Whole)
	}
	if l := all[0].Legs; len(l) != 2 || !l[0].Won || l[0].Backend != 1 || l[1].Won || l[1].Took != all[0].Whole || l[1].Outcome != OutcomeFailed {
		t.Errorf("legs %+v", l)
	}
	e.WatchSlow(false)
	if all := e.Slow(); len(all) != 0 {
		t.Errorf("%d are kept for nobody", len(all))
	}
}
