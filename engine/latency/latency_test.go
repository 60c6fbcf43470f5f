package latency

import (
	"testing"
	"time"
)

// What is told of a histogram is right by a quarter, and what was long ago is forgotten.
func TestR30Latency(t *testing.T) {
	t.Parallel()
	for d := time.Microsecond; d < time.Minute; d = d*21/20 + 1 {
		if got := ofStep(stepOf(d)); got < int64(d) || got > max(int64(d)*5/4+1, ofStep(0)) {
			t.Fatalf("%v is counted as %v", d, time.Duration(got))
		}
	}
	near := func(what string, got, want time.Duration) {
		t.Helper()
		if got < want*3/4 || got > want*5/4 {
			t.Errorf("%s is %v, want about %v", what, got, want)
		}
	}
	var l Histogram
	for range enough - 1 {
		l.Observe(time.Millisecond)
	}
	if l.Median() != 0 {
		t.Error("it knows after too few")
	}
	for i := range 1000 {
		d := time.Millisecond
		if i%10 == 0 {
			d = 50 * time.Millisecond
		}
		l.Observe(d)
	}
	near("the median", l.Median(), time.Millisecond)
	near("the 95th percentile", l.P95(), 50*time.Millisecond)
	for range 3000 {
		l.Observe(20 * time.Millisecond)
	}
	near("the median later", l.Median(), 20*time.Millisecond)
	near("the 95th percentile later", l.P95(), 20*time.Millisecond)
}

// R30: so many reads are hedged at most, and none while more than a fifth would be.
func TestR30HedgeBudget(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		budget     float64
		slowEach   int // one read of so many is slow
		least, top int // hedges of 10,000 reads
	}{
		{"few are slow", 0.05, 100, 99, 101},
		{"more are slow than may be hedged", 0.05, 10, 450, 520},
		{"too many are slow", 0.05, 3, 0, 20},
		{"all are", 0.05, 1, 0, 20},
		{"none may be", 0, 10, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h Budget
			hedged := 0
			for i := range 10_000 {
				h.Began(tt.budget)
				if i%tt.slowEach == tt.slowEach-1 && h.Take() {
					hedged++
				}
			}
			if hedged < tt.least || hedged > tt.top {
				t.Errorf("%d were hedged, want %d to %d", hedged, tt.least, tt.top)
			}
		})
	}
}
