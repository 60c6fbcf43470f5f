package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/limiter"
)

// TestR22DrainTakesRequests: who is told to go elsewhere is still served, on old connections
// and on new ones, and each answer says that its connection ends.
func TestR22DrainTakesRequests(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	old := r.dial()
	wantStatus(t, old.Do(putRequest("/b/k", "before")), 200)
	r.e.Drain()
	for name, c := range map[string]*stub.Client{"old": old, "new": r.dial()} {
		a := c.Do(putRequest("/b/"+name, "while it drains"))
		wantStatus(t, a, 200)
		if !strings.EqualFold(a.Headers.Get("Connection"), "close") {
			t.Errorf("%s connection is not told to end: %s", name, a.RawHead)
		}
		closedCleanly(t, c)
	}
}

// TestR22NoConnectionInUseIsClosed: a connection on which the next request is about to come,
// or the first one, outlives the listener until it has come.
func TestR22NoConnectionInUseIsClosed(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.drainGrace = time.Hour })
	used, fresh := r.dial(), r.dial()
	wantStatus(t, used.Do(putRequest("/b/k", "before")), 200)
	until(t, "both are accepted", func() bool { return r.e.Clients().Open == 2 })
	done := r.shutdown(rigStop)
	for _, c := range []*stub.Client{used, fresh} {
		if !isRunning(done) {
			t.Fatal("the shutdown has not waited")
		}
		a := c.Do(putRequest("/b/k", "after"))
		wantStatus(t, a, 200)
		if !strings.EqualFold(a.Headers.Get("Connection"), "close") {
			t.Errorf("the client is not told: %s", a.RawHead)
		}
		closedCleanly(t, c)
	}
	if err := within(t, done); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}
