package engine

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

func hedging(o *Options, _ *limiter.Options) { o.HedgeAfter, o.HedgeBudget = time.Millisecond, 1 }

// R30: one backend is asked, and the next one only after a failure, a 404, or slowness.
func TestR30OneIsAsked(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "HEAD"} {
		for _, tt := range []struct {
			name   string
			stores []stub.Behaviour // in the order of their weights
			status int
			asked  []int
			metric string
		}{
			{"it has it", []stub.Behaviour{{}, {}, {}}, 200, []int{1, 0, 0}, ""},
			{"not modified", []stub.Behaviour{{Status: 304, Body: []byte{}}, {}, {}}, 304, []int{1, 0, 0}, ""},
			{"forbidden", []stub.Behaviour{stub.Fails(403), {}, {}}, 403, []int{1, 0, 0}, ""},
			{"not satisfiable", []stub.Behaviour{stub.Fails(416), {}, {}}, 416, []int{1, 0, 0}, ""},
			{"404", []stub.Behaviour{stub.Fails(404), {}, {}}, 200, []int{1, 1, 0}, ReadFailover},
			{"404 twice", []stub.Behaviour{stub.Fails(404), stub.Fails(404), {}}, 404, []int{1, 1, 0}, ReadFailover},
			{"500", []stub.Behaviour{stub.Fails(500), {}, {}}, 200, []int{1, 1, 0}, ReadFailover},
			{"503 and 500", []stub.Behaviour{stub.Fails(503), stub.Fails(500), {}}, 200, []int{1, 1, 1}, ReadFailover},
			{"500, and 404", []stub.Behaviour{stub.Fails(500), stub.Fails(404), stub.Fails(503)}, 404, []int{1, 1, 1}, ReadFailover},
			{"no answer", []stub.Behaviour{{Cut: stub.CutClose, CutAt: stub.NoAnswer}, {}, {}}, 200, []int{1, 1, 0}, ReadFailover},
			{"reset in the head", []stub.Behaviour{{Cut: stub.CutReset, CutAt: stub.MidHead}, {}, {}}, 200, []int{1, 1, 0}, ReadFailover},
			{"nobody", []stub.Behaviour{stub.Fails(500), stub.Fails(502), stub.Fails(503)}, 500, []int{1, 1, 1}, ReadFailover},
		} {
			t.Run(method+" "+tt.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 3, reading(ReadPrefer, 3, 2, 1))
				for i, b := range tt.stores {
					r.stores[i].Put("/b/k", []byte("object"))
					r.stores[i].Behave(b)
				}
				wantStatus(t, r.readOnce(method, "/b/k"), tt.status)
				r.settled()
				for i, s := range r.stores {
					if n := len(s.Requests()); n != tt.asked[i] {
						t.Errorf("storage %d was asked %d times, want %d", i, n, tt.asked[i])
					}
				}
				if tt.metric != "" && r.metrics.count("read "+tt.metric) == 0 {
					t.Errorf("no %s is counted", tt.metric)
				}
			})
		}
	}
}

// R30: a backend that refuses connections, and one that has left the pool.
func TestR30OneIsAskedThatIsThere(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{ReadPrefer, ReadSpread, ReadFastest} {
		for _, method := range []string{"GET", "HEAD"} {
			t.Run(policy+method, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 3, reading(policy))
				for _, s := range r.stores {
					s.Put("/b/k", []byte("object"))
				}
				r.stores[0].Down()
				r.limiter.SetMaintained(1, true)
				for range 20 {
					wantStatus(t, r.readOnce(method, "/b/k"), 200)
				}
				if n := len(r.stores[1].Requests()); n != 0 {
					t.Errorf("one under maintenance was asked %d times", n)
				}
			})
		}
	}
}

// R30: a slow backend's answer is not waited for where another one has it.
func TestR30Hedge(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "HEAD"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, reading(ReadPrefer, 2, 1), hedging)
			for _, s := range r.stores {
				s.Put("/b/k", []byte("object"))
			}
			r.stores[0].Behave(stub.Behaviour{HangAfterBody: true})
			for range 3 {
				wantStatus(t, r.readOnce(method, "/b/k"), 200)
			}
			r.stores[0].Wait(t, func(q stub.Requests) bool { return q.Held() == 3 })
			r.stores[0].Unhang()
			r.settled()
			for _, event := range []string{ReadHedged, ReadHedgeWon} {
				if n := r.metrics.count("read " + event); n != 3 {
					t.Errorf("%d are counted as %s", n, event)
				}
			}
		})
	}
}

// A hedge that loses changes nothing, in any order of answers.
func TestR30HedgeLoses(t *testing.T) {
	t.Parallel()
	for _, second := range []stub.Behaviour{{}, stub.Fails(404), stub.Fails(500), {Cut: stub.CutReset, CutAt: stub.NoAnswer}} {
		t.Run(fmt.Sprint(second.Status, second.Cut), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, reading(ReadPrefer, 2, 1), hedging)
			gate := make(chan struct{})
			r.stores[0].Put("/b/k", []byte("object"))
			r.stores[0].Behave(stub.Behaviour{Gate: gate})
			second.HangAfterBody = second.Status == 0 && second.Cut == 0
			r.stores[1].Behave(second)
			answered := make(chan *stub.Answer, 1)
			go func() { answered <- r.readOnce("GET", "/b/k") }()
			if second.HangAfterBody {
				r.awaitHeld(1)
			} else {
				r.stores[1].Wait(t, func(q stub.Requests) bool { return len(q) > 0 })
			}
			close(gate)
			a := testkit.Receive(t, "the answer", answered)
			wantStatus(t, a, 200)
			r.stores[1].Unhang()
			r.settled()
			if n := r.metrics.count("read " + ReadHedgeWon); n != 0 {
				t.Errorf("%d hedges are said to have won", n)
			}
		})
	}
}

// R30: under fastest the backend is asked that has been the fastest of late, and any other one hardly
// ever. Which of them that is on a busy machine the engine knows, and not the test.
func TestR30Fastest(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, reading(ReadFastest))
	var asked atomic.Int64
	for i, s := range r.stores {
		s.Put("/b/k", []byte("object"))
		s.BehaveFunc(func(*stub.Request) stub.Behaviour {
			if asked.Store(int64(i)); i == 0 {
				time.Sleep(20 * time.Millisecond) // it is slow
			}
			return stub.Behaviour{}
		})
	}
	median := func(backend int) time.Duration { return r.e.latencies[backend][classGet].Median() }
	const enough = 64 // answers of each, before which their medians are not known
	c := r.dial()
	others := 0
	for i := range 300 + enough {
		slow, fast := median(0), median(1)
		wantStatus(t, c.Do(requestFor("GET", "/b/k")), 200)
		if i < enough || slow == fast {
			continue
		}
		if slow < 20*time.Millisecond || fast == 0 {
			t.Fatalf("the medians are %v and %v", slow, fast)
		}
		if (asked.Load() == 0) != (slow < fast) {
			others++
		}
	}
	if others > 300/exploreEach+1 {
		t.Errorf("another one than the fastest was asked %d times of 300", others)
	}
}
