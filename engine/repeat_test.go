package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/limiter"
)

// way is how a connection ends without a word once a request was sent on it.
type way struct {
	name        string
	first, next stub.Behaviour // of the request that leaves the connection behind, and of the one after it
}

func (w *way) drops() bool { return w.first.Then == stub.DropNext }

var silent = []way{
	{"the next head is dropped", stub.Behaviour{Then: stub.DropNext}, stub.Behaviour{}},
	{"done, and closed", stub.Behaviour{}, stub.Behaviour{Store: stub.StoreAlways, Cut: stub.CutClose, CutAt: stub.NoAnswer}},
	{"done, and reset", stub.Behaviour{}, stub.Behaviour{Store: stub.StoreAlways, Cut: stub.CutReset, CutAt: stub.NoAnswer}},
	{"half of it is read", stub.Behaviour{}, dying(50, stub.CloseThere)},
}

const unknown = "outcome unknown: "

// TestR33CompleteIsNotRepeated: the client is told to try again, not that there is no
// such upload, and the journal knows that the object may be there.
func TestR33CompleteIsNotRepeated(t *testing.T) {
	t.Parallel()
	for _, how := range silent {
		t.Run(how.name, func(t *testing.T) {
			r := newRig(t, 2)
			id, owner := r.initiate("/b/k")
			s := r.stores[owner]
			s.WaitDone(t, 1)
			s.BehaveNext(how.first)
			etag := r.uploadPart("/b/k", id, 1, "part")
			s.WaitDone(t, 2)
			s.Behave(how.next)
			wantStatus(t, r.dial().Do(completeRequest("/b/k", id, etag)), 503)
			r.settled()
			s.Behave(stub.Behaviour{})
			completes := s.Requests().Count(func(q *stub.Request) bool {
				return q.Method == "POST" && strings.Contains(q.Target, "uploadId")
			})
			if completes != 1 {
				t.Errorf("it was sent %d times:\n%s", completes, s.Requests())
			}
			e := r.journal.newest("b", "k")
			if e.Owed != 0b11 || e.Open || !e.Unacknowledged || !strings.HasPrefix(string(e.Reason), unknown) {
				t.Errorf("the journal has %+v %s", e, e.Reason)
			}
		})
	}
}

// TestR33PostIsNotRepeated: one that another backend took is a divergence.
func TestR33PostIsNotRepeated(t *testing.T) {
	t.Parallel()
	for _, how := range silent {
		for _, size := range []int{100, 100 << 10} {
			t.Run(fmt.Sprint(how.name, " ", size), func(t *testing.T) {
				r := newRig(t, 2)
				for _, s := range r.stores {
					s.BehaveFunc(func(q *stub.Request) stub.Behaviour {
						if q.Method == "POST" { // no store of the stub's takes it
							return stub.Behaviour{Status: 200}
						}
						return stub.Behaviour{}
					})
				}
				r.warm(how.first)
				if !how.drops() {
					r.stores[0].BehaveNext(how.next)
				}
				wantStatus(t, r.dial().Do(strings.Replace(putRequest("/b/k", pattern(size)), "PUT", "POST", 1)), 200)
				r.wantRecords("/b/k", unknown, 0)
				if n := requestsFor(r.stores[0], "/b/k", any1); n != 1 {
					t.Errorf("it was sent %d times:\n%s", n, r.stores[0].Requests())
				}
				if e := r.journal.newest("b", "k"); e.Owed != 1 {
					t.Errorf("the journal has %+v", e)
				}
			})
		}
	}
}

// TestR33HalfAPostMayHaveBeenDone: nor is one known not to have been done of which no
// backend had all.
func TestR33HalfAPostMayHaveBeenDone(t *testing.T) {
	t.Parallel()
	r := newTightRig(t, 2, withRing(64<<10))
	for _, s := range r.stores {
		s.BehaveNext(dying(1<<20, stub.ResetThere))
	}
	wantStatus(t, r.dial().Do(strings.Replace(putRequest("/b/k", pattern(8<<20)), "PUT", "POST", 1)), 503)
	r.settled()
	if e := r.journal.newest("b", "k"); e.Owed != 0b11 || !e.Unacknowledged {
		t.Errorf("the journal has %+v", e)
	}
}

// TestR33DeleteOfManyIsNotRepeated: neither is that, and each key is owed.
func TestR33DeleteOfManyIsNotRepeated(t *testing.T) {
	t.Parallel()
	for _, how := range silent {
		for _, both := range []bool{false, true} {
			t.Run(fmt.Sprint(how.name, ", at both ", both), func(t *testing.T) {
				r := newRig(t, 2)
				if both {
					r.stores[1].BehaveNext(how.first)
				}
				r.warm(how.first)
				for i, s := range r.stores {
					if !how.drops() && (i == 0 || both) {
						s.BehaveNext(how.next)
					}
				}
				want := 200
				if both {
					want = 503
				}
				wantStatus(t, r.dial().Do(postDelete(deleteBody("x", "y"))), want)
				list := r.settled()
				for _, d := range list {
					if !strings.HasPrefix(d.Error, unknown) || d.FailedHost != r.host(0) {
						t.Errorf("record %+v", d)
					}
				}
				if !both && len(list) != 2 {
					t.Errorf("%d records", len(list))
				}
				if n := requestsFor(r.stores[0], "/b?delete", any1); n != 1 {
					t.Errorf("it was sent %d times", n)
				}
				for _, key := range []string{"x", "y"} {
					e := r.journal.newest("b", key)
					if e.Owed&1 == 0 || both && (e.Owed != 0b11 || !e.Unacknowledged) {
						t.Errorf("of %s the journal has %+v", key, e)
					}
				}
			})
		}
	}
}

// TestR33PostIsSentWhereNothingWasSent: a connection that was found to be dead before the
// first byte has cost nothing.
func TestR33PostIsSentWhereNothingWasSent(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.Backends[0] = resetBackend{o.Backends[0], t} })
	r.warm(stub.Behaviour{})
	for _, s := range r.stores {
		s.Behave(stub.Behaviour{Status: 200})
	}
	wantStatus(t, r.dial().Do(strings.Replace(putRequest("/b/k", "hello"), "PUT", "POST", 1)), 200)
	r.wantRecords("/b/k", "")
	for i, s := range r.stores {
		if n := requestsFor(s, "/b/k", complete); n != 1 {
			t.Errorf("storage %d has it %d times", i, n)
		}
	}
}

// closing408 is what servers send before they close an idle connection.
const closing408 = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nlate\n"

var timedOut = []struct {
	name string
	b    stub.Behaviour
}{
	{"at the head", stub.Behaviour{During: stub.AnswerAndFin, Status: 408}},
	{"at the head, and closed", stub.Behaviour{During: stub.AnswerAndClose, Status: 408, Store: stub.StoreNever}},
	{"at the end", stub.Behaviour{Raw: []byte(closing408), Store: stub.StoreNever, Then: stub.SayClose}},
	{"at the end, kept", stub.Behaviour{Status: 408, Store: stub.StoreNever}},
}

// TestR12TimeoutOfAnIdleConnection: a 408 on a connection that was idle is a close.
func TestR12TimeoutOfAnIdleConnection(t *testing.T) {
	t.Parallel()
	for _, how := range timedOut {
		for _, method := range []string{"PUT", "POST", "GET", "HEAD", "DELETE"} {
			for _, size := range []int{0, 100, 100 << 10} {
				if size > 0 && method != "PUT" && method != "POST" || size != 0 && strings.Contains(how.name, "closed") {
					continue // with bytes unread a close is a reset, which may destroy the answer
				}
				t.Run(fmt.Sprint(how.name, " ", method, " ", size), func(t *testing.T) {
					r := newRig(t, 1)
					r.warm(stub.Behaviour{})
					r.stores[0].Behave(stub.Behaviour{})
					if method == "POST" {
						r.stores[0].Behave(stub.Behaviour{Status: 200})
					}
					r.stores[0].BehaveNext(how.b)
					path, raw := "/b/first", requestFor(method, "/b/first")
					if method == "PUT" || method == "POST" {
						path, raw = "/b/k", strings.Replace(putRequest("/b/k", pattern(size)), "PUT", method, 1)
					}
					if a := r.dial().Do(raw); a.Status/100 != 2 {
						t.Errorf("%d %s", a.Status, a.Body)
					}
					r.wantRecords(path, "")
					r.wantNoBlame()
					s := r.stores[0]
					if n := requestsFor(s, path, any1) - s.Requests().Count(func(q *stub.Request) bool { return q.Nth == 1 && q.Conn == 1 && q.Target == path }); n != 2 {
						t.Errorf("%d attempts:\n%s", n, s.Requests())
					}
					if method == "PUT" {
						wantStored(t, s, path, pattern(size))
					}
				})
			}
		}
	}
}

// What a fresh connection is answered is an answer, also where the first attempt ended
// with a 408, and so is what comes to a body so large that it must have been read.
func TestR12TimeoutOfASlowRequest(t *testing.T) {
	t.Parallel()
	for _, how := range timedOut {
		for _, reused := range []bool{false, true} {
			t.Run(fmt.Sprint(how.name, ", reused ", reused), func(t *testing.T) {
				r := newRig(t, 2)
				want := 1
				if reused {
					r.warm(stub.Behaviour{})
					want = 2
				}
				r.stores[0].Behave(how.b)
				wantStatus(t, r.put("/b/k", ""), 200)
				r.wantRecords("/b/k", "answered 408", 0)
				if n := requestsFor(r.stores[0], "/b/k", any1); n != want {
					t.Errorf("%d attempts, want %d", n, want)
				}
			})
		}
	}
	t.Run("after the ring has wrapped", func(t *testing.T) {
		r := newTightRig(t, 2, withRing(64<<10))
		r.warm(stub.Behaviour{})
		r.stores[0].BehaveNext(stub.Behaviour{During: stub.AnswerAndFin, After: 1 << 20, Status: 408})
		wantStatus(t, r.put("/b/k", pattern(8<<20)), 200)
		list := r.settled()
		if len(list) != 1 || list[0].Status != 408 || list[0].Error != "answered 408" {
			t.Errorf("recorded %+v", list)
		}
		if n := requestsFor(r.stores[0], "/b/k", any1); n != 1 {
			t.Errorf("%d attempts", n)
		}
	})
}
