package engine

import (
	"testing"
	"time"
)

// TestR10PressedBackend: repair hears that a backend defers writes, or has held a client back, and that this
// is over.
func TestR10PressedBackend(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
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
	l := &r.e.lanes[1]
	heldAgo := func(ago time.Duration) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.heldAt = r.e.now() - int64(ago)
	}
	r.full(1)
	heldAgo(-time.Hour) // however long this test takes
	want("a client was held back", true)
	heldAgo(5 * time.Second)
	want("that was a while ago", false)
	wantStatus(t, r.put("/b/k", pattern(largeBody)), 200)
	r.wantDeferred("/b/k", 1)
	if l.deferredAt.Add(int64(time.Hour)) <= int64(time.Hour) {
		t.Error("the deferral was not noted")
	}
	want("a write was deferred", true)
	l.deferredAt.Add(-2 * int64(time.Hour))
	want("that was a while ago, too", false)
}
