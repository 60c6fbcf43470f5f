package engine

import (
	"bufio"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// staling is a way in which a kept-alive connection goes stale.
var staling = []struct {
	name  string
	first stub.Behaviour // of the request that leaves the connection behind
	then  func(*testing.T, *stub.Server)
}{
	{"FIN after the answer", stub.Behaviour{Then: stub.FinAfter}, nil},
	{"the next head is dropped", stub.Behaviour{Then: stub.DropNext}, nil},
	{"closed while idle", stub.Behaviour{}, func(_ *testing.T, s *stub.Server) { s.CloseIdle() }},
	{"restarted", stub.Behaviour{}, func(t *testing.T, s *stub.Server) {
		s.Down()
		testkit.MustDo(t, s.Up())
	}},
}

// requestsFor counts a storage's requests for path.
func requestsFor(s *stub.Server, path string, f func(*stub.Request) bool) int {
	return s.Requests().Count(func(q *stub.Request) bool { return q.Target == path && f(q) })
}

func complete(q *stub.Request) bool { return q.Complete }
func any1(*stub.Request) bool       { return true }

// warm leaves an idle connection to every storage; the one to store 0 by way of b.
func (r *rig) warm(b stub.Behaviour) {
	r.t.Helper()
	r.stores[0].BehaveNext(b)
	wantStatus(r.t, r.put("/b/first", "x"), 200)
	r.settled()
	for _, s := range r.stores {
		s.WaitDone(r.t, 1)
	}
}

// TestR12StaleConnectionIsNoFailure: the client notices nothing, the write is
// everywhere, taken once, and nobody is blamed.
func TestR12StaleConnectionIsNoFailure(t *testing.T) {
	t.Parallel()
	for _, how := range staling {
		for _, method := range []string{"PUT", "POST"} {
			for _, size := range []int{0, 100, 30 << 10, 200 << 10, 2 << 20} {
				for _, chunked := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, %s %d, chunked %v", how.name, method, size, chunked), func(t *testing.T) {
						if size == 2<<20 && strings.Contains(how.name, "dropped") {
							// The body may run past the ring before this is known.
							size = 250 << 10
						}
						r := newRig(t, 2, withRing(512<<10))
						r.warm(how.first)
						if how.then != nil {
							how.then(t, r.stores[0])
						}
						body := pattern(size)
						raw := strings.Replace(putRequest("/b/k", body), "PUT", method, 1)
						if chunked {
							raw = chunkedRequest(method, "/b/k", body, 10_000, "X-Amz-Checksum-Crc32: AAAAAA==")
						}
						for _, s := range r.stores {
							s.Put("/b/k", []byte("old"))
							s.BehaveFunc(func(q *stub.Request) stub.Behaviour {
								if q.Method == "POST" { // no store of the stub's takes it
									return stub.Behaviour{Status: 200}
								}
								return stub.Behaviour{}
							})
						}
						wantStatus(t, r.dial().Do(raw), 200)
						if method == "POST" && strings.Contains(how.name, "dropped") {
							// It may have been acted on (R33).
							r.wantRecords("/b/k", "", 0)
							if n := requestsFor(r.stores[0], "/b/k", any1); n != 1 {
								t.Errorf("%d attempts:\n%s", n, r.stores[0].Requests())
							}
							return
						}
						r.wantRecords("/b/k", "")
						r.wantNoBlame()
						for i, s := range r.stores {
							if n := requestsFor(s, "/b/k", complete); n != 1 {
								t.Errorf("storage %d took it %d times:\n%s", i, n, s.Requests())
							}
							if method == "PUT" {
								wantStored(t, s, "/b/k", body)
							}
						}
					})
				}
			}
		}
	}
}

// A GET on a stale connection does not lose its backend either.
func TestR12StaleRead(t *testing.T) {
	t.Parallel()
	for _, how := range staling {
		for _, method := range []string{"GET", "HEAD", "DELETE"} {
			t.Run(how.name+", "+method, func(t *testing.T) {
				r := newRig(t, 1)
				r.warm(how.first)
				if how.then != nil {
					how.then(t, r.stores[0])
				}
				a := r.dial().Do(requestFor(method, "/b/first"))
				if a.Status/100 != 2 || method == "GET" && string(a.Body) != "x" {
					t.Errorf("%d %q", a.Status, a.Body)
				}
				r.settled()
				r.wantNoBlame()
			})
		}
	}
}

// dying is how a backend goes without a word, after so much of the body.
func dying(after int64, during stub.During) stub.Behaviour {
	return stub.Behaviour{During: during, After: after}
}

// The leg starts again once, and on a new connection: where that one dies too,
// it is a failure.
func TestR12RetriesOnce(t *testing.T) {
	t.Parallel()
	for _, during := range []stub.During{stub.CloseThere, stub.ResetThere} {
		for _, size := range []int{100, 100 << 10} {
			for times := 1; times <= 3; times++ {
				t.Run(fmt.Sprintf("%d, %d bytes, %d times", during, size, times), func(t *testing.T) {
					r := newRig(t, 2)
					r.warm(stub.Behaviour{})
					for range times {
						r.stores[0].BehaveNext(dying(50, during))
					}
					body := pattern(size)
					wantStatus(t, r.put("/b/k", body), 200)
					if times == 1 {
						r.wantRecords("/b/k", "")
						wantStored(t, r.stores[0], "/b/k", body)
						r.wantNoBlame()
					} else {
						r.wantRecords("/b/k", "", 0)
						wantAbsent(t, r.stores[0], "/b/k")
						if f := r.failures(); f[0] != 1 || f[1] != 0 {
							t.Errorf("failures %v", f)
						}
					}
					if n := requestsFor(r.stores[0], "/b/k", any1); n != 2 {
						t.Errorf("%d attempts:\n%s", n, r.stores[0].Requests())
					}
					wantStored(t, r.stores[1], "/b/k", body)
				})
			}
		}
	}
}

// A connection that was never used before is not stale.
func TestR12FreshConnectionIsNotRetried(t *testing.T) {
	t.Parallel()
	for _, during := range []stub.During{stub.CloseThere, stub.ResetThere} {
		for _, size := range []int{100, 1 << 20} {
			t.Run(fmt.Sprintf("%d, %d bytes", during, size), func(t *testing.T) {
				r := newRig(t, 2)
				r.stores[0].BehaveNext(dying(50, during))
				wantStatus(t, r.put("/b/k", pattern(size)), 200)
				r.wantRecords("/b/k", "", 0)
				if n := len(r.stores[0].Requests()); n != 1 {
					t.Errorf("%d attempts", n)
				}
			})
		}
	}
}

// Once the ring has wrapped, the body cannot be sent again (R12): a failure.
func TestR12NoRetryAfterTheRingHasWrapped(t *testing.T) {
	t.Parallel()
	for _, during := range []stub.During{stub.CloseThere, stub.ResetThere} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d, chunked %v", during, chunked), func(t *testing.T) {
				r := newTightRig(t, 2, withRing(64<<10))
				r.warm(stub.Behaviour{})
				r.stores[0].BehaveNext(dying(1<<20, during))
				body := pattern(8 << 20)
				raw := putRequest("/b/k", body)
				if chunked {
					raw = chunkedRequest("PUT", "/b/k", body, 100_000)
				}
				wantStatus(t, r.dial().Do(raw), 200)
				r.wantRecords("/b/k", "", 0)
				wantAbsent(t, r.stores[0], "/b/k")
				wantStored(t, r.stores[1], "/b/k", body)
				if n := requestsFor(r.stores[0], "/b/k", any1); n != 1 {
					t.Errorf("%d attempts", n)
				}
				if f := r.failures(); f[0] != 1 || f[1] != 0 {
					t.Errorf("failures %v", f)
				}
			})
		}
	}
}

// An answer that has begun, were it by an interim one, is the backend's word: the
// connection was not stale.
func TestR12NoRetryAfterABeginningOfAnAnswer(t *testing.T) {
	t.Parallel()
	for _, b := range []stub.Behaviour{
		{Cut: stub.CutClose, CutAt: stub.MidHead},
		{Cut: stub.CutReset, CutAt: stub.MidHead},
		{Interim: []int{102}, Cut: stub.CutClose, CutAt: stub.NoAnswer},
	} {
		t.Run(fmt.Sprint(b.Cut, b.Interim), func(t *testing.T) {
			r := newRig(t, 2)
			r.warm(stub.Behaviour{})
			r.stores[0].BehaveNext(b)
			wantStatus(t, r.put("/b/k", "hello"), 200)
			r.wantRecords("/b/k", "", 0)
			if n := requestsFor(r.stores[0], "/b/k", any1); n != 1 {
				t.Errorf("%d attempts", n)
			}
		})
	}
}

// A backend that stored the write and died before its answer gets it again: the
// same bytes, and no record.
func TestR12RetryAfterTheWriteWasStored(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 100 << 10} {
		r := newRig(t, 2)
		r.warm(stub.Behaviour{})
		r.stores[0].BehaveNext(stub.Behaviour{Cut: stub.CutClose, CutAt: stub.NoAnswer})
		body := pattern(size)
		wantStatus(t, r.put("/b/k", body), 200)
		r.wantRecords("/b/k", "")
		if n := requestsFor(r.stores[0], "/b/k", complete); n != 2 {
			t.Errorf("%d attempts", n)
		}
		r.wantAllStored("/b/k", body)
	}
}

// All of a client's idle connections going stale at once is no failure either.
func TestR12ManyStaleConnections(t *testing.T) {
	t.Parallel()
	const n = 20
	r := newRig(t, 2)
	gate := make(chan struct{})
	for _, s := range r.stores {
		s.Behave(stub.Behaviour{Gate: gate})
	}
	var waiting []*answering
	var clients []*stub.Client
	for i := range n {
		c := r.dial()
		c.Send(putRequest(fmt.Sprintf("/b/first-%d", i), "x"))
		clients = append(clients, c)
		waiting = append(waiting, later(c, "PUT"))
	}
	for _, s := range r.stores {
		s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == n })
		s.Behave(stub.Behaviour{})
	}
	close(gate)
	for _, w := range waiting {
		wantStatus(t, w.get(t), 200)
	}
	r.settled()
	r.stores[0].WaitDone(t, n)
	if idle := r.stores[0].CloseIdle(); idle != n {
		t.Fatalf("%d idle connections, want %d", idle, n)
	}
	for i, c := range clients {
		wantStatus(t, c.Do(putRequest(fmt.Sprintf("/b/second-%d", i), "y")), 200)
	}
	if d := r.settled(); len(d) > 0 {
		t.Errorf("recorded %+v", d)
	}
	r.wantNoBlame()
	for i := range n {
		wantStored(t, r.stores[0], fmt.Sprintf("/b/second-%d", i), "y")
	}
}

// resetConn is a connection that the backend has reset, which nobody was told of
// before the write.
type resetConn struct {
	Conn
	t *testing.T
}

func (c resetConn) TryWrite([]byte) (int, error) { return 0, syscall.ECONNRESET }
func (c resetConn) Reader() *bufio.Reader {
	c.t.Error("there is no answer to read")
	return c.Conn.Reader()
}
func (c resetConn) Await(func() func()) bool {
	c.t.Error("there is nothing to wait for")
	return false
}

// resetBackend hands out idle connections as such.
type resetBackend struct {
	Backend
	t *testing.T
}

func (b resetBackend) Acquire(fresh bool) (Conn, error) {
	c, err := b.Backend.Acquire(fresh)
	if err == nil && c.Reused() {
		c = resetConn{c, b.t}
	}
	return c, err
}

// TestR12FailedWriteIsSeenAtOnce: no event will come that tells of it.
func TestR12FailedWriteIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.Backends[0] = resetBackend{o.Backends[0], t} })
	r.warm(stub.Behaviour{})
	wantStatus(t, r.put("/b/k", "hello"), 200)
	r.wantRecords("/b/k", "")
	r.wantNoBlame()
	r.wantAllStored("/b/k", "hello")
}
