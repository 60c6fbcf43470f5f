package metrics

import (
	"testing"
	"time"

	"github.com/akubra/akubra/engine"
)

// TestLatency: the page's percentiles come from all legs that were answered, whatever the
// ReadPolicy, and what was long ago no longer counts.
func TestLatency(t *testing.T) {
	m := New("", []string{"a", "b"})
	answer := func(n int, class engine.Class, first time.Duration) {
		for range n {
			m.LegEnded(1, engine.LegEnd{Class: class, Outcome: engine.OutcomePositive, Result: engine.Result2xx, First: first, Total: first})
		}
	}
	within := func(what string, got, low, high time.Duration) {
		t.Helper()
		if got <= low || got > high {
			t.Errorf("%s: %v, want more than %v and at most %v", what, got, low, high)
		}
	}
	at := time.Now()
	answer(recentLeast-1, engine.ClassGet, time.Millisecond)
	if p := m.latencyAt(1, at); p != [3]time.Duration{} {
		t.Errorf("too little is known for %v", p)
	}
	answer(90, engine.ClassWrite, 3*time.Millisecond)
	answer(4, engine.ClassGet, 70*time.Millisecond)
	answer(2, engine.ClassGet, 700*time.Millisecond)
	p := m.latencyAt(1, at)
	within("p50", p[0], 2500*time.Microsecond, 5*time.Millisecond)
	within("p95", p[1], 50*time.Millisecond, 100*time.Millisecond)
	within("p99", p[2], 500*time.Millisecond, time.Second)
	if p := m.latencyAt(0, at); p != [3]time.Duration{} {
		t.Errorf("the other backend has answered nothing, and has %v", p)
	}

	// Nobody looks for a while, then somebody does, now and then.
	answer(100, engine.ClassWrite, 30*time.Millisecond)
	for range 2 {
		at = at.Add(recentAge)
		within("p50, some time later", m.latencyAt(1, at)[0], 5*time.Millisecond, 50*time.Millisecond)
	}
	at = at.Add(recentAge)
	answer(100, engine.ClassWrite, 300*time.Millisecond)
	within("p50 of late", m.latencyAt(1, at)[0], 250*time.Millisecond, 500*time.Millisecond)
	// Without recent answers, all since the start count.
	for range 3 {
		at = at.Add(recentAge)
		within("p50 of all", m.latencyAt(1, at)[0], 5*time.Millisecond, 50*time.Millisecond)
	}
	answer(1000, engine.ClassGet, time.Hour)
	if p := m.latencyAt(1, at.Add(recentAge)); p[2] != latencyBounds[len(latencyBounds)-1] {
		t.Errorf("above all bounds it is %v", p[2])
	}
}
