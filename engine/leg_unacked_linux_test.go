package engine

import (
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
)

// TestR13WhatTheSystemTakesIsNoProgress: a leg whose backend has acknowledged nothing for long is silent although
// the system takes all that its client sends. One whose client pauses is not, however long that takes.
func TestR13WhatTheSystemTakesIsNoProgress(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"larger than the ring":  putRequest("/b/k", pattern(4<<20)),
		"one that fits into it": putRequest("/b/k", pattern(200<<10)),
		"in chunks":             chunkedRequest("PUT", "/b/k", pattern(4<<20), 10_000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newTightRig(t, 2)
			for i := range 2 { // on a fresh connection, and on a kept one
				r.stores[1].Behave(stub.Behaviour{During: stub.HangThere})
				c := r.dial()
				const first, later = 60 << 10, int64(time.Hour)
				c.Send(raw[:first])
				silence := func(backend int, unacknowledged func(int, int64) int64) int64 {
					now := r.e.now()
					r.limiter.Succeeded(backend)
					r.limiter.Silence(backend, now, unacknowledged)
					unacknowledged(backend, now)
					return r.limiter.Silence(backend, now+later, unacknowledged)
				}
				r.stores[1].Wait(t, func(all stub.Requests) bool { return len(all) > i && all[len(all)-1].Stage == stub.StageHeld })
				takesAll := func() bool { return silence(1, func(int, int64) int64 { return 0 }) == 0 }
				testkit.Eventually(t, "the one that takes nothing is silent, though the system takes all", func() bool {
					return takesAll() && silence(1, r.e.Unacknowledged) >= later && takesAll()
				})
				testkit.Eventually(t, "the other one is not", func() bool { return silence(0, r.e.Unacknowledged) == 0 })
				r.stores[1].Unhang()
				testkit.Eventually(t, "none is while the client pauses", func() bool {
					return silence(0, r.e.Unacknowledged) == 0 && silence(1, r.e.Unacknowledged) == 0
				})
				r.stores[1].Behave(stub.Behaviour{})
				c.Send(raw[first:])
				wantStatus(t, c.Answer(), 200)
				r.wantRecords("/b/k", "")
			}
		})
	}
}
