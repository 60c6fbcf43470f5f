package engine

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/limiter"
)

// One of three backends answers reads 300 ms late: what that does to the slowest of a hundred reads under
// fastest with hedging, and how many requests backends get for one (R30).
func BenchmarkReadsBesideALateBackend(b *testing.B) {
	const clients = 4
	for name, late := range map[string]time.Duration{"none is late": 0, "one is late": 300 * time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, 3, reading(ReadFastest), func(o *Options, _ *limiter.Options) { o.HedgeP95, o.HedgeBudget = true, .05 })
			for _, s := range r.stores {
				s.Put("/b/k", []byte(pattern(4<<10)))
			}
			r.stores[2].BehaveFunc(func(*stub.Request) stub.Behaviour {
				time.Sleep(late)
				return stub.Behaviour{}
			})
			took := make([][]time.Duration, clients)
			var all sync.WaitGroup
			for i := range took {
				c := r.dial()
				all.Go(func() {
					for n := 0; n < b.N; n += clients {
						begun := time.Now()
						c.Do(requestFor("GET", "/b/k"))
						took[i] = append(took[i], time.Since(begun))
					}
				})
			}
			all.Wait()
			r.settled()
			list, asked := slices.Concat(took...), 0
			slices.Sort(list)
			for _, s := range r.stores {
				asked += len(s.Requests())
			}
			b.ReportMetric(float64(list[len(list)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(asked)/float64(len(list)), "requests/read")
		})
	}
}
