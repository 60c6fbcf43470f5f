package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// shutdown begins to stop the engine, with this much time, and gives what comes
// of it. That Serve returns nil is checked when the rig is taken down.
func (r *rig) shutdown(timeout time.Duration) <-chan error {
	r.t.Helper()
	r.stopped = true
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	r.t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- r.e.Shutdown(ctx) }()
	until(r.t, "refused connections", func() bool {
		nc, err := net.Dial("tcp", r.addr)
		if err == nil {
			_ = nc.Close()
		}
		return err != nil
	})
	return done
}

// within waits for the end of a shutdown that has to come soon.
func within(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(rigStop):
		t.Fatal("the shutdown does not end")
		return nil
	}
}

func isRunning(done <-chan error) bool {
	select {
	case <-done:
		return false
	default:
		return true
	}
}

// TestR22WhatIsInFlightIsFinished: answers, and legs that go on behind them.
func TestR22WhatIsInFlightIsFinished(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := newRig(t, 3)
			idle := r.dial()
			wantStatus(t, idle.Do(requestFor("OPTIONS", "/")), 405)
			gates := []chan struct{}{make(chan struct{}), make(chan struct{})}
			r.stores[0].Behave(stub.Behaviour{Gate: gates[0]})
			r.stores[1].Behave(stub.Behaviour{Gate: gates[1]})
			r.stores[2].Behave(stub.Behaviour{Gate: gates[1]})
			body := pattern(size)
			raw := putRequest("/b/k", body)
			c := r.dial()
			c.Send(raw[:len(raw)-10])
			r.stores[0].Wait(t, func(rs stub.Requests) bool { return len(rs) == 2 })
			done := r.shutdown(rigStop)
			closedCleanly(t, idle)
			c.Send(raw[len(raw)-10:]) // a body under way may still come
			r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
			close(gates[0])
			a := c.Answer()
			wantStatus(t, a, 200)
			if !strings.EqualFold(a.Headers.Get("Connection"), "close") {
				t.Errorf("the client is not told: %s", a.RawHead)
			}
			closedCleanly(t, c)
			if !isRunning(done) {
				t.Error("the shutdown did not wait for the other legs")
			}
			close(gates[1])
			if err := within(t, done); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			r.wantRecords("/b/k", "")
			r.wantAllStored("/b/k", body)
		})
	}
}

// TestR22WhatIsLeftIsRecorded: legs that have not ended by then are cut, which
// is no fault of their backends.
func TestR22WhatIsLeftIsRecorded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		b    stub.Behaviour
		size int
	}{
		{"small, before the answer", stub.Behaviour{HangAfterBody: true}, 100},
		{"large, before the answer", stub.Behaviour{HangAfterBody: true}, 1 << 20},
		{"large, in the body", stub.Behaviour{During: stub.HangThere, After: 1000}, 200 << 10},
		{"slow", stub.Behaviour{ReadRate: 1000}, 200 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newTightRig(t, 3, withRing(512<<10))
			r.stores[0].Behave(tt.b)
			r.stores[1].Behave(tt.b)
			body := pattern(tt.size)
			wantStatus(t, r.put("/b/k", body), 200)
			if err := within(t, r.shutdown(50*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown: %v", err)
			}
			if n := r.e.InFlight(); n != 0 {
				t.Errorf("%d in flight after it", n)
			}
			r.wantRecords("/b/k", "proxy shut down", 0, 1)
			r.wantNoBlame()
			wantStored(t, r.stores[2], "/b/k", body)
		})
	}
}

// TestR22WhatBeginsIsWaitedFor: a request that has no legs yet when the time is over writes to the journal all the
// same, which is closed once Shutdown has returned.
func TestR22WhatBeginsIsWaitedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	begun, gate := make(chan struct{}), make(chan struct{})
	hold := func() {
		close(begun)
		<-gate
	}
	r.journal.begin.Store(&hold)
	c := r.dial()
	c.Send(putRequest("/b/k", "body"))
	testkit.Receive(t, "the beginning of a write", begun)
	done := r.shutdown(time.Nanosecond)
	until(t, "the engine's closing", r.e.closing.Load)
	time.AfterFunc(20*time.Millisecond, func() { close(gate) }) // so long it would have returned without it
	_ = within(t, done)
	select {
	case <-gate:
	default:
		t.Error("the shutdown did not wait for a write that begins")
	}
	if n := r.e.InFlight(); n != 0 {
		t.Errorf("%d in flight after it", n)
	}
	wantStatus(t, c.Answer(), 503)
	r.wantNoRecords()
}

// A client that waits for its answer is told, and the write that nobody took is
// no divergence; one whose write a backend took alone has it recorded.
func TestR22WaitingClientIsAnswered(t *testing.T) {
	t.Parallel()
	for _, taken := range []bool{false, true} {
		t.Run(fmt.Sprint("taken ", taken), func(t *testing.T) {
			r := newRig(t, 2, withAck(AckAll))
			r.stores[0].Behave(stub.Behaviour{HangAfterBody: true})
			if !taken {
				r.stores[1].Behave(stub.Behaviour{HangAfterBody: true})
			}
			c := r.dial()
			c.Send(putRequest("/b/k", "hello"))
			r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
			if taken {
				r.legsEnded(OutcomePositive, 1)
			}
			w := later(c, "PUT")
			done := r.shutdown(50 * time.Millisecond)
			wantXMLError(t, w.get(t), 503)
			closedCleanly(t, c)
			if err := within(t, done); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown: %v", err)
			}
			if taken {
				r.wantRecords("/b/k", "proxy shut down", 0)
			} else {
				r.wantRecords("/b/k", "")
			}
			r.wantNoBlame()
		})
	}
}

// The same for whoever's handler waits for the answer.
func TestR22WaitingReaderIsAnswered(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "DELETE"} {
		t.Run(method, func(t *testing.T) {
			r := newRig(t, 2, logged)
			for _, s := range r.stores {
				s.Behave(stub.Behaviour{HangAfterBody: true})
			}
			c := r.dial()
			r.e.Drain() // so that no handler leaves its request
			c.Send(requestFor(method, "/b/k"))
			for _, s := range r.stores {
				s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
			}
			w := later(c, method)
			done := r.shutdown(50 * time.Millisecond)
			wantXMLError(t, w.get(t), 503)
			closedCleanly(t, c)
			if err := within(t, done); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown: %v", err)
			}
		})
	}
}

// A body that has not come to its end by then is stored nowhere.
func TestR22ClientInMidBodyIsCut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, sent string }{
		{"small", putRequest("/b/k", pattern(5000))[:4000]},
		{"large", putRequest("/b/k", pattern(1<<20))[:600<<10]},
		{"chunked", chunkedRequest("PUT", "/b/k", pattern(500_000), 1000)[:300_000]},
		{"asked to go on", strings.Replace(expecting, " 5\r\n", " 500000\r\n", 1)},
		{"list of keys", strings.Replace(putRequest("/b?delete", pattern(1000))[:500], "PUT", "POST", 1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, 2)
			c := r.dial()
			c.Send(tt.sent)
			until(t, "the request", func() bool { return r.e.InFlight() == 1 })
			done := r.shutdown(50 * time.Millisecond)
			_, _ = c.ReadAnswer() // some error, or none
			if _, err := c.Rest(); err != nil {
				t.Errorf("the connection ends with %v", err)
			}
			if err := within(t, done); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown: %v", err)
			}
			r.wantUntouched()
		})
	}
}

// A client that does not take its answer cannot hold the shutdown up.
func TestR22ClientThatDoesNotReadIsCut(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"HTTP/1.1", "HTTP/1.0"} {
		for _, b := range []stub.Behaviour{{}, {Chunked: true}, {NoLength: true}} {
			t.Run(fmt.Sprintf("%s, chunked %v, no length %v", proto, b.Chunked, b.NoLength), func(t *testing.T) {
				r := newRig(t, 1)
				r.stores[0].Put("/b/k", make([]byte, 32<<20))
				r.stores[0].Behave(b)
				c := r.dial()
				c.Send(strings.Replace(requestFor("GET", "/b/k"), "HTTP/1.1", proto, 1))
				a, err := c.ReadHeadTo("GET")
				testkit.MustDo(t, err)
				done := r.shutdown(50 * time.Millisecond)
				if err := within(t, done); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Shutdown: %v", err)
				}
				// What it then reads must not look whole.
				if err := c.ReadBody(a); err == nil {
					t.Errorf("a cut answer looks whole: %d bytes", len(a.Body))
				}
			})
		}
	}
}

// A request that waits for a slot (R13) neither slips through nor stays.
func TestR22RequestThatWaitsForASlot(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, func(o *Options, lo *limiter.Options) {
		lo.ConnLimit, o.SlotTimeout = 1, patience
	})
	r.stores[0].Behave(stub.Behaviour{HangAfterBody: true})
	first, second := r.dial(), r.dial()
	first.Send(putRequest("/b/k", "x"))
	r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	second.Send(putRequest("/b/l", "x"))
	until(t, "two requests", func() bool { return r.e.InFlight() == 2 })
	done := r.shutdown(10 * time.Millisecond)
	for _, c := range []*stub.Client{first, second} {
		if a, err := c.ReadAnswer(); err != nil || a.Status != 503 {
			t.Errorf("%+v, %v", a, err)
		}
	}
	if err := within(t, done); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	until(t, "rest", func() bool { return r.e.InFlight() == 0 })
	if n := requestsFor(r.stores[0], "/b/l", any1); n != 0 {
		t.Errorf("%d requests after the end", n)
	}
}

// A client that has sent half a head when the time is over gets no service.
func TestR22NoRequestsAfterTheEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	raw := putRequest("/b/k", "x")
	c := r.dial()
	c.Send(raw[:20])
	// Where nothing of the head was read yet the connection counts as idle, and there is nothing to wait for.
	if err := within(t, r.shutdown(10*time.Millisecond)); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	_, _ = c.Write([]byte(raw[20:]))
	if a, err := c.ReadAnswer(); err == nil {
		wantXMLError(t, a, 503)
	}
	if rest, err := c.Rest(); rest != nil || err != nil && !isReset(err) {
		t.Errorf("the connection ends with %q, %v", rest, err)
	}
	if n := len(r.stores[0].Requests()); n != 0 {
		t.Errorf("%d requests after the end", n)
	}
}

func isReset(err error) bool {
	return strings.Contains(err.Error(), "reset") || strings.Contains(err.Error(), "broken pipe")
}

// TestR22BusyClientsLoseNothing: clients that send one request after another
// while the proxy stops see each one answered, or their connection closed. What
// was acknowledged is everywhere, or recorded.
func TestR22BusyClientsLoseNothing(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{rigStop, 20 * time.Millisecond} {
		t.Run(timeout.String(), func(t *testing.T) {
			r := newRig(t, 2)
			var mu sync.Mutex
			acked := map[string]string{}
			var clients sync.WaitGroup
			begun := make(chan struct{}, 1000)
			for client := range 6 {
				c := r.dial()
				clients.Go(func() {
					for i := 0; ; i++ {
						path, body := fmt.Sprintf("/b/%d-%d", client, i), pattern(1+i*997%100_000)
						if _, err := c.Write([]byte(putRequest(path, body))); err != nil {
							return
						}
						a, err := c.ReadAnswer()
						if err != nil {
							return
						}
						if a.Status == 200 {
							mu.Lock()
							acked[path] = body
							mu.Unlock()
						} else if a.Status != 503 && a.Status != 400 {
							t.Errorf("%s: %d", path, a.Status)
						}
						if strings.EqualFold(a.Headers.Get("Connection"), "close") {
							closedCleanly(t, c)
							return
						}
						if a.Status != 200 {
							t.Errorf("%s: %d on a connection that stays open", path, a.Status)
						}
						select {
						case begun <- struct{}{}:
						default:
						}
					}
				})
			}
			for range 50 {
				testkit.Receive(t, "its beginning", begun)
			}
			done := r.shutdown(timeout)
			testkit.Finish(t, "the clients end", clients.Wait)
			if err := within(t, done); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown: %v", err)
			}
			records := r.settled()
			for path, body := range acked {
				for _, s := range r.stores {
					o, ok := s.Object(path)
					if ok && string(o.Body) == body {
						continue
					}
					if ok || !slices.ContainsFunc(records, func(d Divergence) bool { return d.Path == path && d.FailedHost == s.Addr() }) {
						t.Errorf("%s: lost at %s", path, s.Addr())
					}
				}
			}
		})
	}
}
