package engine

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/limiter"
)

func hedging(o *Options, _ *limiter.Options) { o.HedgeAfter, o.HedgeBudget = time.Millisecond, 1 }

// What is told of a histogram is right by a quarter, and what was long ago is forgotten.
func TestR30Latency(t *testing.T) {
	t.Parallel()
	for d := time.Microsecond; d < time.Minute; d = d*21/20 + 1 {
		if got := ofStep(stepOf(d)); got < int64(d) || got > max(int64(d)*5/4+1, ofStep(0)) {
			t.Fatalf("%v is counted as %v", d, time.Duration(got))
		}
	}
	near := func(what string, got int64, want time.Duration) {
		t.Helper()
		if got < int64(want)*3/4 || got > int64(want)*5/4 {
			t.Errorf("%s is %v, want about %v", what, time.Duration(got), want)
		}
	}
	var l latency
	for range latencyEnough - 1 {
		l.observe(time.Millisecond)
	}
	if l.median.Load() != 0 {
		t.Error("it knows after too few")
	}
	for i := range 1000 {
		d := time.Millisecond
		if i%10 == 0 {
			d = 50 * time.Millisecond
		}
		l.observe(d)
	}
	near("the median", l.median.Load(), time.Millisecond)
	near("the 95th percentile", l.p95.Load(), 50*time.Millisecond)
	for range 3000 {
		l.observe(20 * time.Millisecond)
	}
	near("the median later", l.median.Load(), 20*time.Millisecond)
	near("the 95th percentile later", l.p95.Load(), 20*time.Millisecond)
}

// R30: so many reads are hedged at most, and none while more than a fifth would be.
func TestR30HedgeBudget(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		budget     float64
		slowEach   int // one read of so many is slow
		least, top int // hedges of 10,000 reads
	}{
		{"few are slow", 0.05, 100, 99, 101},
		{"more are slow than may be hedged", 0.05, 10, 450, 520},
		{"too many are slow", 0.05, 3, 0, 20},
		{"all are", 0.05, 1, 0, 20},
		{"none may be", 0, 10, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h hedges
			hedged := 0
			for i := range 10_000 {
				h.began(tt.budget)
				if i%tt.slowEach == tt.slowEach-1 && h.take() {
					hedged++
				}
			}
			if hedged < tt.least || hedged > tt.top {
				t.Errorf("%d were hedged, want %d to %d", hedged, tt.least, tt.top)
			}
		})
	}
}

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
			a := <-answered
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
	median := func(backend int) time.Duration {
		return time.Duration(r.e.reads.latencies[backend][classGet].median.Load())
	}
	c := r.dial()
	others := 0
	for i := range 300 + 4*latencyEnough {
		slow, fast := median(0), median(1)
		wantStatus(t, c.Do(requestFor("GET", "/b/k")), 200)
		if i < 4*latencyEnough || slow == fast {
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
