package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
)

// TestR13ClientThatPausesIsNoBackendsFault: a request whose client pauses, wherever it does, waits for no backend:
// none is silent, nor has a stalled connection, however long that takes.
func TestR13ClientThatPausesIsNoBackendsFault(t *testing.T) {
	t.Parallel()
	const later = int64(time.Hour)
	none := func(int, int64) int64 { return 0 }
	contentType, form := formOf("f", pattern(2000), "key", "k")
	posted := formRequest("/b", contentType, form)
	asks := func(raw string) string { return strings.Replace(raw, "Host:", "Expect: 100-continue\r\nHost:", 1) }
	early := stub.Behaviour{During: stub.AnswerAndDrain, Status: 200}
	for name, tt := range map[string]struct {
		raw string
		b   stub.Behaviour
	}{
		"a small body":                        {raw: putRequest("/b/k", pattern(2000))},
		"a larger one":                        {raw: putRequest("/b/k", pattern(100<<10))},
		"a large one":                         {raw: putRequest("/b/k", pattern(4<<20))},
		"chunks":                              {raw: chunkedRequest("PUT", "/b/k", pattern(2000), 100)},
		"a list of deletes":                   {raw: deleteRequestOf("k", "other")},
		"a form":                              {raw: posted},
		"asked for: a body":                   {raw: asks(putRequest("/b/k", pattern(2000)))},
		"a body that the backends ask for":    {putRequest("/b/k", pattern(2000)), stub.Behaviour{Continue: stub.ContinueAlways}},
		"one that they answer early":          {putRequest("/b/k", pattern(2000)), early},
		"a larger one that they answer early": {putRequest("/b/k", pattern(100<<10)), early},
		"chunks that they answer early":       {chunkedRequest("PUT", "/b/k", pattern(2000), 100), early},
		"asked for: a list":                   {raw: asks(deleteRequestOf("k", "other"))},
		"asked for: a form":                   {raw: asks(posted)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := tt.raw
			r := newRig(t, 2)
			for _, s := range r.stores {
				s.Behave(tt.b)
			}
			half := strings.Index(raw, "\r\n\r\n") + 40
			if strings.HasPrefix(name, "asked") {
				half -= 36
			}
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
