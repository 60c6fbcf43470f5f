package repair

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestSourceIsTheNearest: content is read from the nearest backend that is known to have it, and a nearer one
// that may not is none.
func TestSourceIsTheNearest(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("x", 1<<20)
	for _, c := range []struct {
		name    string
		weights [3]int
		near    func(w *world, key string) // what the near backend has
		owed    []int
		far     bool // content is read there
	}{
		{name: "by the round trip", weights: [3]int{1, 1, 1}, owed: []int{1}, near: func(w *world, key string) {
			w.stores[2].put("b", key, body, time.Minute)
		}},
		{name: "by weight", weights: [3]int{1, 1, 2}, owed: []int{1}, near: func(w *world, key string) {
			w.stores[2].put("b", key, body, time.Minute)
		}},
		{name: "by weight, whatever the round trip", weights: [3]int{2, 1, 1}, owed: []int{1}, far: true, near: func(w *world, key string) {
			w.stores[2].put("b", key, body, time.Minute)
		}},
		{name: "the near one lacks it", weights: [3]int{1, 1, 2}, owed: []int{1, 2}, far: true, near: func(*world, string) {}},
		{name: "the near one owes it, and shows the same bytes with other metadata", weights: [3]int{1, 1, 2}, owed: []int{1, 2}, far: true, near: func(w *world, key string) {
			w.stores[2].put("b", key, body, time.Hour, "x-amz-meta-of", "an older one")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWired(t, &wire{trip: 80 * time.Millisecond}, &wire{trip: time.Millisecond}, &wire{trip: time.Millisecond})
				for i := range w.o.Backends {
					w.o.Backends[i].Weight = c.weights[i]
				}
				r := w.repairer()
				var last string
				for i := range leastAnswers { // which tell how far each one is
					last = fmt.Sprint("k", i)
					etag := w.stores[0].put("b", last, body, time.Minute).etag
					c.near(w, last)
					w.wrote(last, etag, c.owed...)
					if sum, err := r.RunOnce(t.Context()); err != nil || sum.Resolved != 1 {
						t.Fatalf("%+v, %v; %s", sum, err, r.Status().LastError)
					}
				}
				if n := w.stores[0].requests("GET /b/"+last) - w.stores[0].requests("GET /b/"+last+"?"); n > 0 != c.far {
					t.Errorf("content was read %d times from the far backend", n)
				}
				for _, i := range c.owed {
					if o, ok := w.stores[i].get("b", last); !ok || string(o.body) != body || o.header.Get("x-amz-meta-of") != "" {
						t.Errorf("backend %d has %v", i, o.header)
					}
				}
			})
		})
	}
}
