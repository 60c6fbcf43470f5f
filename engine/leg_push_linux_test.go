package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
)

// started sends the head of a PUT to /b/k and this much of its body, and returns the rest
// once every storage has some of it. The rig is warm, so that the handler's goroutine
// sends.
func (r *rig) started(c *stub.Client, body string, sent int) (rest string) {
	r.t.Helper()
	raw := putRequest("/b/k", body)
	sent += strings.Index(raw, "\r\n\r\n") + 4
	c.Send(raw[:sent])
	for _, s := range r.stores {
		s.Wait(r.t, func(rs stub.Requests) bool { return len(rs) == 2 })
	}
	return raw[sent:]
}

// A large body on idle connections goes through pipes from the head's first byte, and
// arrives byte for byte, whether the sockets have room for it or not.
func TestR1PushedBodies(t *testing.T) {
	t.Parallel()
	for name, rig := range rigs {
		for _, size := range []int{minSpliced, minSpliced + 5000, 1 << 20, 3<<20 + 1} {
			t.Run(fmt.Sprintf("%s, %d", name, size), func(t *testing.T) {
				throughPipes(t, func(t testing.TB, _ func() bool) {
					var spliced atomic.Int64
					r := rig(t, 3, counting(&spliced))
					r.warm(stub.Behaviour{})
					body := pattern(size)
					raw := putRequest("/b/k", body)
					c := r.dial()
					c.Send(raw, requestFor("GET", "/none"))
					for _, want := range []int{200, 404} {
						wantStatus(t, c.Answer(), want)
					}
					r.wantRecords("/b/k", "")
					r.wantNoBlame()
					for _, s := range r.stores {
						wantStored(t, s, "/b/k", body)
					}
					if n := spliced.Load(); n < int64(3*len(raw)) {
						t.Errorf("only %d bytes went through pipes", n)
					}
				})
			})
		}
	}
}

// A storage that ends the request in mid-body leaves, also while the client pauses and
// nothing is being sent; the other one goes on.
func TestR9PushedLegThatEnds(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]struct {
		stub.Behaviour
		outcome string
	}{
		"rejects, closes": {stub.Behaviour{During: stub.AnswerAndClose}, OutcomeNegative},
		"rejects, FIN":    {stub.Behaviour{During: stub.AnswerAndFin}, OutcomeNegative},
		"rejects, stops":  {stub.Behaviour{During: stub.AnswerAndStop}, OutcomeNegative},
		"rejects, drains": {stub.Behaviour{During: stub.AnswerAndDrain}, OutcomeNegative},
		"closes":          {stub.Behaviour{During: stub.CloseThere}, OutcomeFailed},
		"resets":          {stub.Behaviour{During: stub.ResetThere}, OutcomeFailed},
	} {
		for _, after := range []int64{0, 100, 200 << 10} {
			t.Run(fmt.Sprintf("%s after %d", name, after), func(t *testing.T) {
				r := newTightRig(t, 2)
				r.warm(stub.Behaviour{})
				b.After = after
				r.stores[0].Behave(b.Behaviour)
				body := pattern(2 << 20)
				c := r.dial()
				rest := r.started(c, body, 300<<10)
				r.legsEnded(b.outcome, 1)
				c.Send(rest)
				wantStatus(t, c.Answer(), 200)
				r.wantRecords("/b/k", "", 0)
				wantStored(t, r.stores[1], "/b/k", body)
				wantAbsent(t, r.stores[0], "/b/k")
			})
		}
	}
}

// All have rejected while the client pauses: it gets the answer without sending the rest.
func TestR9AllRejectWhilePushed(t *testing.T) {
	t.Parallel()
	for _, early := range earlyAnswers {
		t.Run(early.name, func(t *testing.T) {
			r := newRig(t, 2)
			r.warm(stub.Behaviour{})
			for _, s := range r.stores {
				s.Behave(stub.Behaviour{During: early.during, After: 200 << 10})
			}
			c := r.dial()
			r.started(c, pattern(2<<20), 300<<10)
			wantStatus(t, c.Answer(), 403)
			closedCleanly(t, c)
			r.wantRecords("/b/k", "")
		})
	}
}

// A 200 that comes before the body's end counts once the body has gone.
func TestR9EarlySuccessWhilePushed(t *testing.T) {
	t.Parallel()
	early := stub.Behaviour{During: stub.AnswerAndDrain, Status: 200, After: 100 << 10}
	for _, whole := range []bool{true, false} {
		t.Run(fmt.Sprint("whole ", whole), func(t *testing.T) {
			r := newRig(t, 2)
			r.warm(stub.Behaviour{})
			r.stores[0].Behave(early)
			r.stores[1].Behave(early)
			body := pattern(1 << 20)
			c := r.dial()
			rest := r.started(c, body, 300<<10)
			for _, s := range r.stores {
				s.Wait(t, func(rs stub.Requests) bool { return rs[1].Status == 200 })
			}
			if !whole {
				c.Close()
				r.wantNoRecords()
				r.wantNoBlame()
				return
			}
			c.Send(rest)
			wantStatus(t, c.Answer(), 200)
			r.wantRecords("/b/k", "")
			for _, s := range r.stores {
				s.Wait(t, func(rs stub.Requests) bool { return rs.Complete() == 2 })
			}
		})
	}
}

// A client that leaves while its body is being pushed leaves nothing behind.
func TestR6ClientGoneWhilePushed(t *testing.T) {
	t.Parallel()
	for _, reset := range []bool{false, true} {
		r := newRig(t, 2)
		r.warm(stub.Behaviour{})
		c := r.dial()
		r.started(c, pattern(2<<20), 300<<10)
		r.wantNothingLeft(c, reset, "/b/k", "/b/next", pattern(700_000))
	}
}

// A shutdown ends it, too, and waits for a body that still comes.
func TestR22ShutdownWhilePushed(t *testing.T) {
	t.Parallel()
	for _, comes := range []bool{true, false} {
		t.Run(fmt.Sprint("comes ", comes), func(t *testing.T) {
			r := newRig(t, 2)
			r.warm(stub.Behaviour{})
			c := r.dial()
			body := pattern(1 << 20)
			rest := r.started(c, body, 300<<10)
			timeout := 50 * time.Millisecond
			if comes {
				timeout = rigStop
			}
			done := r.shutdown(timeout)
			if comes {
				c.Send(rest)
				wantStatus(t, c.Answer(), 200)
			}
			if err := within(t, done); comes != (err == nil) || !comes && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown: %v", err)
			}
			r.wantRecords("/b/k", "")
			r.wantNoBlame()
			for _, s := range r.stores {
				if comes {
					wantStored(t, s, "/b/k", body)
				} else {
					wantAbsent(t, s, "/b/k")
				}
			}
		})
	}
}

// A storage that stops taking the body is its own goroutine's from there on, and is cut
// once it holds the other one back for too long (R10).
func TestR10PushedLegThatStalls(t *testing.T) {
	t.Parallel()
	inSlowMotion(t, 500*time.Millisecond, testPushedLegThatStalls)
}

func testPushedLegThatStalls(t testing.TB, stall time.Duration) {
	r := newTightRig(t, 2, anyway(func(o *Options) { o.StallTimeout = stall }))
	r.warm(stub.Behaviour{})
	r.stores[0].Behave(stub.Behaviour{During: stub.HangThere, After: 300 << 10})
	body := pattern(8 << 20)
	wantStatus(t, r.put("/b/k", body), 200)
	r.wantRecords("/b/k", "stalled", 0)
	r.stores[0].Unhang()
	wantStored(t, r.stores[1], "/b/k", body)
	wantAbsent(t, r.stores[0], "/b/k")
}
