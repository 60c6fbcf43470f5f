package engine

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// surplusRequests is how many requests are sent behind each kind of surplus bytes;
// SURPLUS_REQUESTS=1000 in the environment makes it more.
func surplusRequests() int {
	if n, err := strconv.Atoi(os.Getenv("SURPLUS_REQUESTS")); err == nil {
		return n
	}
	return 40
}

// surplusKinds are ways to send more than an answer to a request of the method.
var surplusKinds = []struct {
	name   string
	method string
	answer func(c *strayConn, own string)
}{
	{"body behind HEAD with its length", "HEAD", func(c *strayConn, own string) {
		c.write(headOf("200 OK", own) + lengthOf(strayAnswer) + "\r\n" + strayAnswer)
	}},
	{"body behind HEAD in a record of its own", "HEAD", func(c *strayConn, own string) {
		c.write(headOf("200 OK", own)+lengthOf(strayAnswer)+"\r\n", strayAnswer)
	}},
	{"body behind HEAD, late", "HEAD", func(c *strayConn, own string) {
		c.write(headOf("200 OK", own) + lengthOf(strayAnswer) + "\r\n")
		time.Sleep(time.Millisecond) // any time is late: what matters is that it passes
		c.write(strayAnswer)
	}},
	{"body behind HEAD without a length", "HEAD", func(c *strayConn, own string) {
		c.write(headOf("200 OK", own)+"\r\n", strayAnswer)
	}},
	{"chunks behind HEAD", "HEAD", func(c *strayConn, own string) {
		c.write(headOf("200 OK", own)+"Transfer-Encoding: chunked\r\n\r\n", "5\r\nstray\r\n0\r\n\r\n")
	}},
	{"body behind 204 with its length", "DELETE", func(c *strayConn, own string) {
		c.write(headOf("204 No Content", own) + lengthOf(strayAnswer) + "\r\n" + strayAnswer)
	}},
	{"body behind 204 with its length, late", "DELETE", func(c *strayConn, own string) {
		c.write(headOf("204 No Content", own) + lengthOf(strayAnswer) + "\r\n")
		time.Sleep(time.Millisecond) // any time is late: what matters is that it passes
		c.write(strayAnswer)
	}},
	{"body behind 204 without a length", "DELETE", func(c *strayConn, own string) {
		c.write(headOf("204 No Content", own)+"\r\n", strayAnswer)
	}},
	{"chunks behind 204", "DELETE", func(c *strayConn, own string) {
		c.write(headOf("204 No Content", own)+"Transfer-Encoding: chunked\r\n\r\n", "5\r\nstray\r\n0\r\n\r\n")
	}},
	{"body behind 304 with its length", "GET", func(c *strayConn, own string) {
		c.write(headOf("304 Not Modified", own)+lengthOf(strayAnswer)+"\r\n", strayAnswer)
	}},
	{"body behind 304 without a length", "GET", func(c *strayConn, own string) {
		c.write(headOf("304 Not Modified", own) + "\r\n" + strayAnswer)
	}},
	{"chunks behind 304", "GET", func(c *strayConn, own string) {
		c.write(headOf("304 Not Modified", own)+"Transfer-Encoding: chunked\r\n\r\n", "5\r\nstray\r\n0\r\n\r\n")
	}},
	{"a second answer at once", "PUT", func(c *strayConn, own string) { c.write(ownAnswer(own) + strayAnswer) }},
	{"a second answer in a record of its own", "PUT", func(c *strayConn, own string) { c.write(ownAnswer(own), strayAnswer) }},
	{"a second answer, late", "PUT", func(c *strayConn, own string) {
		c.write(ownAnswer(own))
		time.Sleep(time.Millisecond) // any time is late: what matters is that it passes
		c.write(strayAnswer)
	}},
	{"a second answer, in pieces", "GET", func(c *strayConn, own string) {
		c.write(append([]string{ownAnswer(own)}, strings.SplitAfter(strayAnswer, "")...)...)
	}},
	{"a second answer to a POST", "POST", func(c *strayConn, own string) { c.write(ownAnswer(own), strayAnswer) }},
	{"a 408, and the end", "PUT", func(c *strayConn, own string) {
		c.write(ownAnswer(own), "HTTP/1.1 408 Request Timeout\r\nX-Id: stray\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		_ = c.tcp.CloseWrite()
	}},
	{"a 408 alone", "GET", func(c *strayConn, own string) {
		c.write(ownAnswer(own), "HTTP/1.1 408 Request Timeout\r\nX-Id: stray\r\nContent-Length: 0\r\n\r\n")
	}},
	{"garbage", "GET", func(c *strayConn, own string) { c.write(ownAnswer(own), "\x00\xff garbage") }},
	{"a line's end", "PUT", func(c *strayConn, own string) { c.write(ownAnswer(own), "\r\n") }},
	{"a 100", "PUT", func(c *strayConn, own string) { c.write(ownAnswer(own), "HTTP/1.1 100 Continue\r\n\r\n") }},
	{"a 103 and its answer", "GET", func(c *strayConn, own string) {
		c.write(ownAnswer(own), "HTTP/1.1 103 Early Hints\r\n\r\n", strayAnswer)
	}},
	{"more than the length", "GET", func(c *strayConn, own string) { c.write(ownAnswer(own) + "x") }},
	{"more than the length, of a large answer", "GET", func(c *strayConn, own string) {
		body := own + strings.Repeat(".", 100_000)
		c.write(headOf("200 OK", own)+lengthOf(body)+"\r\n", body, strayAnswer)
	}},
	{"more than the chunks", "GET", func(c *strayConn, own string) {
		c.write(fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n%s", headOf("200 OK", own), len(own), own, strayAnswer))
	}},
	{"more than the chunks, in a record of its own", "GET", func(c *strayConn, own string) {
		c.write(fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", headOf("200 OK", own), len(own), own), strayAnswer)
	}},
	{"half of an answer", "GET", func(c *strayConn, own string) { c.write(ownAnswer(own), strayAnswer[:30]) }},
	{"half of a record", "PUT", func(c *strayConn, own string) {
		c.write(ownAnswer(own))
		_, _ = c.tcp.Write([]byte{23, 3, 3, 0, 100, 1, 2, 3})
	}},
	{"a record's type", "PUT", func(c *strayConn, own string) {
		c.write(ownAnswer(own))
		_, _ = c.tcp.Write([]byte{23})
	}},
	{"close_notify", "PUT", func(c *strayConn, own string) {
		c.write(ownAnswer(own))
		if tc, ok := c.nc.(*tls.Conn); ok {
			_ = tc.CloseWrite()
		} else {
			_ = c.tcp.CloseWrite()
		}
	}},
	{"FIN", "POST", func(c *strayConn, own string) {
		c.write(ownAnswer(own))
		_ = c.tcp.CloseWrite()
	}},
}

// TestR32SurplusBytesAreNobodysAnswer: whatever a backend sends behind an answer, each
// client gets its own answer, and the backend has all of the requests.
func TestR32SurplusBytesAreNobodysAnswer(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, config *tls.Config, roots *x509.CertPool) {
		for _, kind := range surplusKinds {
			t.Run(kind.name, func(t *testing.T) {
				t.Parallel()
				s := newStrayServer(t, config)
				written := make(chan struct{}, 1)
				s.answer = func(c *strayConn, _ *http.Request, own string) {
					kind.answer(c, own)
					select {
					case written <- struct{}{}:
					default: // the test has failed
					}
				}
				s.start(t)
				r := strayRig(t, []*strayServer{s}, roots)
				c := dialStray(t, r.addr)
				n := surplusRequests()
				for i := range n {
					// Small ones go out at once, large ones by a goroutine of their own.
					body := ""
					if kind.method == "PUT" || kind.method == "POST" {
						body = strings.Repeat("x", i%3*40_000)
					}
					own := fmt.Sprint("own-", i)
					status, wrong := c.do(kind.method, fmt.Sprintf("/b/k%d", i), own, body)
					if wrong != "" || status >= 400 {
						t.Fatalf("request %d: %d %s", i, status, wrong)
					}
					testkit.Receive(t, "what is written", written)
				}
				if got := s.answers.Load(); got != int64(n) {
					t.Errorf("%d requests came, want %d", got, n)
				}
			})
		}
	})
}

// TestR32BackendThatTalksFirst: what is there before a request was sent is no answer to
// it. (What comes in the moment after that cannot be told from one.)
func TestR32BackendThatTalksFirst(t *testing.T) {
	t.Parallel()
	roots, certificate := testCertificate(t)
	for name, said := range map[string]string{"an answer": strayAnswer, "half of one": strayAnswer[:20], "103": "HTTP/1.1 103 Early Hints\r\n\r\n"} {
		for _, size := range []int{0, 4 << 10, 100 << 10} {
			t.Run(fmt.Sprint(name, " ", size), func(t *testing.T) {
				// It is there for sure when the handshake ends: the second flight of TLS 1.2 is
				// the server's, and what it says goes out with that.
				config := &tls.Config{Certificates: []tls.Certificate{certificate}, MaxVersion: tls.VersionTLS12, SessionTicketsDisabled: true}
				first, good := newStrayServer(t, config), newStrayServer(t, config)
				first.holdAfter = 1
				first.greet = func(c *strayConn) { c.write(said) }
				for _, s := range []*strayServer{first, good} {
					s.answer = func(c *strayConn, _ *http.Request, own string) { c.write(ownAnswer(own)) }
					s.start(t)
				}
				r := strayRig(t, []*strayServer{first, good}, roots)
				c := dialStray(t, r.addr)
				for i := range 5 {
					own := fmt.Sprint("own-", i)
					if status, wrong := c.do("PUT", "/b/"+own, own, strings.Repeat("x", size)); status != 200 || wrong != "" {
						t.Fatalf("request %d: %d %s", i, status, wrong)
					}
				}
				if n := len(r.settled()); n != 5 || first.answers.Load() != 0 {
					t.Errorf("%d records, want 5; %d requests went to who spoke first", n, first.answers.Load())
				}
			})
		}
	}
}

// lateBackend lets something happen between Acquire and the first byte of a request that
// a goroutine of its own sends.
type lateBackend struct {
	Backend
	late func(alive func() bool)
}

func (b *lateBackend) Acquire(fresh bool) (Conn, error) {
	c, err := b.Backend.Acquire(fresh)
	if err == nil && c.Reused() {
		c = &lateConn{c, b.late}
	}
	return c, err
}

type lateConn struct {
	Conn
	late func(alive func() bool)
}

func (c *lateConn) Alive() bool {
	c.late(c.Conn.Alive)
	return c.Conn.Alive()
}

// TestR32NothingIsReadBeforeTheRequest: whatever comes before the first byte was sent is
// seen by who sends that, and read by nobody.
func TestR32NothingIsReadBeforeTheRequest(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, config *tls.Config, roots *x509.CertPool) {
		s := newStrayServer(t, config)
		var last atomic.Pointer[strayConn]
		s.answer = func(c *strayConn, req *http.Request, own string) {
			c.write(ownAnswer(own))
			if req.Method == http.MethodGet { // what is stored behind the other one's answer would be the next GET's
				last.Store(c)
			}
		}
		s.start(t)
		var strays atomic.Int64
		late := func(alive func() bool) {
			c := last.Swap(nil)
			if c == nil {
				return
			}
			c.write(strayAnswer)
			strays.Add(1)
			for end := time.Now().Add(patience); alive(); time.Sleep(time.Millisecond) { // polling, on a goroutine that is not the test's
				if time.Now().After(end) {
					t.Error("nobody sees what has come")
					return
				}
			}
		}
		r := strayRig(t, []*strayServer{s}, roots, func(o *Options, _ *limiter.Options) {
			o.Backends[0] = &lateBackend{o.Backends[0], late}
		})
		c := dialStray(t, r.addr)
		const n = 10
		for i := range n {
			own := fmt.Sprint("own-", i)
			if status, wrong := c.do("GET", "/b/"+own, own, ""); status != 200 || wrong != "" { // leaves a connection
				t.Fatalf("request %d: %d %s", i, status, wrong)
			}
			// The server's goroutine is a step behind, and so is the leg, which gives the connection back.
			until(t, "its answer is out, and nothing is in flight", func() bool { return last.Load() != nil && r.e.InFlight() == 0 })
			if status, wrong := c.do("CHUNKED", "/b/"+own, own, strings.Repeat("x", 50_000)); status != 200 || wrong != "" {
				t.Fatalf("request %d: %d %s", i, status, wrong)
			}
		}
		if strays.Load() != n || s.answers.Load() != 2*n {
			t.Errorf("%d stray answers and %d requests, want %d and %d", strays.Load(), s.answers.Load(), n, 2*n)
		}
	})
}

// TestR32SessionTicketsAreNoSurplus: what TLS itself has to say ends no connection.
func TestR32SessionTicketsAreNoSurplus(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, config *tls.Config, roots *x509.CertPool) {
		s := newStrayServer(t, config)
		s.answer = func(c *strayConn, _ *http.Request, own string) { c.write(ownAnswer(own)) }
		s.start(t)
		r := strayRig(t, []*strayServer{s}, roots)
		c := dialStray(t, r.addr)
		for i := range 50 {
			own := fmt.Sprint("own-", i)
			if status, wrong := c.do("PUT", "/b/"+own, own, "x"); status != 200 || wrong != "" {
				t.Fatalf("request %d: %d %s", i, status, wrong)
			}
			r.settled()
		}
		if n := s.conns.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// TestR32AnswersUnderAttack: a backend that misbehaves at random, many clients at once.
// Each answer is its client's own, or an error of the proxy's.
func TestR32AnswersUnderAttack(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, config *tls.Config, roots *x509.CertPool) {
		var servers []*strayServer
		for range 2 {
			s := newStrayServer(t, config)
			var n atomic.Uint64
			s.answer = func(c *strayConn, q *http.Request, own string) {
				at := n.Add(1)
				if at%3 == 0 { // as it should be
					if q.Method == "HEAD" {
						c.write(headOf("200 OK", own) + "Content-Length: 7\r\n\r\n")
					} else {
						c.write(ownAnswer(own))
					}
					return
				}
				for at = at * 0x9e3779b97f4a7c15 >> 32; ; at++ {
					kind := &surplusKinds[at%uint64(len(surplusKinds))]
					// What comes after a while may come when the next request has been sent, and
					// cannot be told from its answer then.
					if kind.method == q.Method && !strings.Contains(kind.name, "late") {
						kind.answer(c, own)
						return
					}
				}
			}
			s.start(t)
			servers = append(servers, s)
		}
		r := strayRig(t, servers, roots)
		var all sync.WaitGroup
		var good, failed atomic.Int64
		for client := range 8 {
			c := dialStray(t, r.addr)
			all.Go(func() {
				for i := range 2 * surplusRequests() {
					own := fmt.Sprintf("own-%d-%d", client, i)
					method := []string{"PUT", "GET", "HEAD", "DELETE", "POST"}[(client+i)%5]
					body := ""
					if method == "PUT" || method == "POST" {
						body = strings.Repeat("x", i%4*30_000)
					}
					status, wrong := c.do(method, "/b/"+own, own, body)
					switch {
					case wrong != "":
						t.Error(wrong)
						return
					case status == 503:
						failed.Add(1)
					default:
						good.Add(1)
					}
				}
			})
		}
		testkit.Finish(t, "the clients end", all.Wait)
		r.settled()
		t.Logf("%d answers, %d errors, %d and %d connections", good.Load(), failed.Load(), servers[0].conns.Load(), servers[1].conns.Load())
		if good.Load() == 0 {
			t.Error("nothing was answered")
		}
	})
}

// TestR32WhichAnswerIsInDoubt: a stray answer that came after the last look at the
// connection, and then the request's own right behind it, are both nobody's.
func TestR32WhichAnswerIsInDoubt(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, config *tls.Config, roots *x509.CertPool) {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "POST"} {
			t.Run(method, func(t *testing.T) {
				s := newStrayServer(t, config)
				s.answer = func(c *strayConn, q *http.Request, own string) {
					stray := ""
					if strings.HasPrefix(own, "raced") && s.answers.Load() == 2 {
						stray = strayAnswer
						if q.Method == "HEAD" {
							stray = "HTTP/1.1 200 OK\r\nX-Id: stray\r\n\r\n"
						}
					}
					if q.Method == "HEAD" {
						c.write(stray + headOf("200 OK", own) + "\r\n")
					} else {
						c.write(stray + ownAnswer(own))
					}
				}
				s.start(t)
				r := strayRig(t, []*strayServer{s}, roots)
				c := dialStray(t, r.addr)
				if status, wrong := c.do(method, "/b/k", "first", ""); status != 200 || wrong != "" {
					t.Fatal(status, wrong)
				}
				status, wrong := c.do(method, "/b/k", "raced", "")
				want, requests := 200, int64(3)
				if method == "POST" {
					want, requests = 503, 2 // R33
				}
				if status != want || wrong != "" || s.answers.Load() != requests {
					t.Errorf("%d %s after %d requests", status, wrong, s.answers.Load())
				}
				r.settled()
				if method == "POST" && r.journal.newest("b", "k").Owed != 1 {
					t.Error("the journal does not know")
				}
			})
		}
	})
}

// TestR12TimeoutHoweverItIsSent: over TLS, too, and to a body that is sent by a goroutine of
// its own, a 408 on a connection that was idle is a close.
func TestR12TimeoutHoweverItIsSent(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, config *tls.Config, roots *x509.CertPool) {
		s := newStrayServer(t, config)
		s.answer = func(c *strayConn, _ *http.Request, own string) {
			if c.answered {
				c.write(closing408)
				_ = c.tcp.CloseWrite()
				return
			}
			c.answered = true
			c.write(ownAnswer(own))
		}
		s.start(t)
		r := strayRig(t, []*strayServer{s}, roots)
		c := dialStray(t, r.addr)
		for i, method := range []string{"PUT", "GET", "CHUNKED", "DELETE", "POST", "PUT", "CHUNKED", "POST"} {
			for _, size := range []int{0, 100, 50_000, 120_000} {
				own := fmt.Sprintf("own-%d-%d", i, size)
				if status, wrong := c.do(method, "/b/"+own, own, strings.Repeat("x", size)); status != 200 || wrong != "" {
					t.Errorf("%s of %d: %d %s", method, size, status, wrong)
				}
			}
		}
		r.settled()
		r.wantNoBlame()
	})
}

// TestR33HoweverItIsSent: over TLS, too, what was sent on a connection that ends without an
// answer is not sent again if it is a POST.
func TestR33HoweverItIsSent(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, config *tls.Config, roots *x509.CertPool) {
		for _, size := range []int{100, 120_000} {
			s := newStrayServer(t, config)
			s.answer = func(c *strayConn, _ *http.Request, own string) {
				if c.answered {
					_ = c.tcp.SetLinger(0)
					_ = c.tcp.Close()
					return
				}
				c.answered = true
				c.write(ownAnswer(own))
			}
			s.start(t)
			r := strayRig(t, []*strayServer{s}, roots)
			c := dialStray(t, r.addr)
			for i := range 4 {
				own := fmt.Sprint("own-", i)
				status, wrong := c.do("POST", "/b/"+own, own, strings.Repeat("x", size))
				if want := 200 + i%2*303; status != want || wrong != "" {
					t.Errorf("request %d: %d %s, want %d", i, status, wrong, want)
				}
				r.settled()
				if e := r.journal.newest("b", own); e.Owed != uint64(i%2) {
					t.Errorf("of request %d the journal has %+v", i, e)
				}
			}
			if n := s.answers.Load(); n != 4 {
				t.Errorf("4 requests came %d times", n)
			}
		}
	})
}

// guardedBackend counts how often a connection's guard is changed, each of which is a
// system call.
type guardedBackend struct {
	Backend
	mu      sync.Mutex
	on      map[Conn]bool // by the connection below
	changes int
}

func (b *guardedBackend) Acquire(fresh bool) (Conn, error) {
	c, err := b.Backend.Acquire(fresh)
	if err == nil {
		c = &guardedConn{c, b}
	}
	return c, err
}

type guardedConn struct {
	Conn
	b *guardedBackend
}

func (c *guardedConn) Guard(on bool) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.b.on[c.Conn] != on {
		c.b.on[c.Conn] = on
		c.b.changes++
	}
	c.Conn.Guard(on)
}

// TestR31SmallMessagesCostNoGuard: neither one that goes out in one write, nor one over
// TLS, which never does so and so leaves its connection guarded.
func TestR31SmallMessagesCostNoGuard(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, config *tls.Config, roots *x509.CertPool) {
		s := newStrayServer(t, config)
		s.answer = func(c *strayConn, _ *http.Request, own string) { c.write(ownAnswer(own)) }
		s.start(t)
		counted := &guardedBackend{on: map[Conn]bool{}}
		r := strayRig(t, []*strayServer{s}, roots, func(o *Options, _ *limiter.Options) {
			counted.Backend = o.Backends[0]
			o.Backends[0] = counted
		})
		c := dialStray(t, r.addr)
		for i := range 10 {
			own := fmt.Sprint("own-", i)
			if status, wrong := c.do("PUT", "/b/"+own, own, "small"); status != 200 || wrong != "" {
				t.Fatalf("request %d: %d %s", i, status, wrong)
			}
			r.settled()
		}
		most := 0
		if config != nil {
			most = 1
		}
		if n := s.conns.Load(); n != 1 || counted.changes > most {
			t.Errorf("%d changes on %d connections, want %d on one at most", counted.changes, n, most)
		}
	})
}
