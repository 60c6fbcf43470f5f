package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// TestR13ClientThatPausesIsNoBackendsFault: a request whose client pauses, wherever it does, waits for no backend:
// none is silent, nor has a stalled connection, however long that takes.
func TestR13ClientThatPausesIsNoBackendsFault(t *testing.T) {
	t.Parallel()
	const later = int64(time.Hour)
	none := func(int, int64) int64 { return 0 }
	for name, raw := range map[string]string{
		"a small body":      putRequest("/b/k", pattern(2000)),
		"a larger one":      putRequest("/b/k", pattern(100<<10)),
		"a large one":       putRequest("/b/k", pattern(4<<20)),
		"chunks":            chunkedRequest("PUT", "/b/k", pattern(2000), 100),
		"a list of deletes": deleteRequestOf("k", "other"),
		"a form":            strings.Replace(putRequest("/b/k", pattern(2000)), "PUT", "POST", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			half := strings.Index(raw, "\r\n\r\n") + 40
			c := r.dial()
			c.Send(raw[:half])
			testkit.Eventually(t, "its slots are taken", func() bool { return r.limiter.Busy(0) == 1 && r.limiter.Busy(1) == 1 })
			testkit.Eventually(t, "none is waited for", func() bool {
				now := r.e.now() + later
				for i, s := range r.limiter.Status(now) {
					r.limiter.Succeeded(i)
					r.limiter.Silence(i, now-later, none)
					if s.Stalled > 0 || r.limiter.Silence(i, now, none) > 0 {
						return false
					}
				}
				return true
			})
			c.Send(raw[half:])
			if a, err := c.ReadAnswer(); err != nil || a.Status >= 300 {
				t.Fatalf("%v, %v", a, err)
			}
		})
	}
}
