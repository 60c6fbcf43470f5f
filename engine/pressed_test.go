package engine

import (
	"testing"
	"time"
)

// TestR10PressedBackend: repair hears that clients fill a backend, or that it has held one back, and that this is
// over. What is deferred for its size leaves the way to repair.
func TestR10PressedBackend(t *testing.T) {
	t.Parallel()
	limiter := &crowdedLimiter{}
	r := newRig(t, 2, anyway(func(o *Options) { o.Limiter = limiter }))
	want := func(when string, pressed bool) {
		t.Helper()
		for i, is := range []bool{false, pressed} {
			if got := r.e.Pressed(i); got != is {
				t.Errorf("%s: backend %d is pressed: %v", when, i, got)
			}
		}
	}
	// The engine's clock begins at 0, and nothing has happened then.
	want("at first", false)
	r.heldBack(1, r.e.now()+int64(time.Hour)) // however long this test takes
	want("a client was held back", true)
	r.heldBack(1, r.e.now()-int64(5*time.Second))
	want("that was a while ago", false)
	l, before := &r.e.lanes[1], r.e.now()
	wantStatus(t, r.put("/b/k", pattern(largeBody)), 200)
	r.wantDeferred("/b/k", 1)
	if l.Pressed(before) {
		t.Error("a large body was deferred: that makes nobody's way narrower")
	}
	limiter.crowded.Store(0b10)
	wantStatus(t, r.put("/b/small", "x"), 200)
	r.wantDeferred("/b/small", 1)
	if !l.Pressed(before) || l.Pressed(before+int64(time.Hour)) {
		t.Error("a write was deferred since others fill the backend: that makes it pressed, for a while")
	}
}
