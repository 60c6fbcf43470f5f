package engine

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// racingBackend says something unasked on a connection after the last look at it, right before a request is sent.
type racingBackend struct {
	Backend
	race func()
}

func (b racingBackend) Acquire(fresh bool) (Conn, error) {
	c, err := b.Backend.Acquire(fresh)
	if err == nil && c.Reused() {
		c = &racingConn{Conn: c, b: b}
	}
	return c, err
}

type racingConn struct {
	Conn
	b    racingBackend
	once sync.Once
}

func (c *racingConn) TryWrite(p []byte) (int, error) {
	if c.b.Plain() { // over TLS it sends nothing
		c.once.Do(c.b.race)
	}
	return c.Conn.TryWrite(p)
}

func (c *racingConn) Send(p []byte, patience time.Duration) (int, error) {
	c.once.Do(c.b.race)
	return c.Conn.Send(p, patience)
}

// TestR32StrayAnswersAfterTheLook: no look finds a stray answer that comes between the look and the request. But the
// request's own answer comes as well, and then the backend is known. Half of the answers went to the wrong client.
func TestR32StrayAnswersAfterTheLook(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, config *tls.Config, roots *x509.CertPool) {
		for _, method := range []string{"GET", "PUT", "POST"} {
			t.Run(method, func(t *testing.T) {
				s := newStrayServer(t, config)
				s.strayTime = 0 // as it is by itself
				var last atomic.Pointer[strayConn]
				written, goOn := make(chan struct{}, 1), make(chan struct{}, 1)
				var raced atomic.Bool
				s.answer = func(c *strayConn, _ *http.Request, own string) {
					if raced.Swap(false) { // its client has an answer already
						select {
						case <-goOn:
						case <-t.Context().Done():
						}
					}
					c.write(ownAnswer(own))
					last.Store(c)
					written <- struct{}{}
				}
				s.start(t)
				var strays atomic.Int64
				r := strayRig(t, []*strayServer{s}, roots, func(o *Options, _ *limiter.Options) {
					o.Backends[0] = racingBackend{o.Backends[0], func() {
						raced.Store(true)
						last.Load().write(strayAnswer)
						strays.Add(1)
					}}
				})
				c := dialStray(t, r.addr)
				var wrong []string
				const n = 150
				for i := range n {
					own, before := fmt.Sprint("own-", i), strays.Load()
					if _, w := c.do(method, "/b/"+own, own, ""); w != "" {
						wrong = append(wrong, w)
					}
					if strays.Load() > before {
						goOn <- struct{}{}
					}
					testkit.Receive(t, "the request's own answer", written)
					r.settled()
				}
				t.Logf("%d wrong answers of %d, %d stray ones, %d connections", len(wrong), n, strays.Load(), s.conns.Load())
				if strays.Load() == 0 || len(wrong) > 1 {
					t.Errorf("%d wrong answers after %d stray ones; the second one is %.200q", len(wrong), strays.Load(), wrong[min(1, len(wrong)):])
				}
			})
		}
	})
}
