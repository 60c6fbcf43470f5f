package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// earlyAnswers are the ways of answering before the body's end.
var earlyAnswers = []struct {
	name   string
	during stub.During
}{
	{"close", stub.AnswerAndClose},
	{"FIN", stub.AnswerAndFin},
	{"stop", stub.AnswerAndStop},
	{"drain", stub.AnswerAndDrain},
}

// newTightRig has storages with small receive buffers, so that one that stops
// reading is felt at once, and which are as fast as they can be otherwise.
func newTightRig(t testing.TB, n int, setups ...setup) *rig {
	t.Helper()
	var stores []*stub.Server
	for range n {
		stores = append(stores, stub.New(t, stub.ReceiveBuffer(16<<10), stub.NoHash()))
	}
	return newRigOn(t, stores, setups...)
}

// A leg that was rejected early leaves the ring; the others go on at full speed.
func TestR9RejectionLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	for _, early := range earlyAnswers {
		for _, after := range []int64{0, 100, 300 << 10} {
			for _, chunked := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s after %d, chunked %v", early.name, after, chunked), func(t *testing.T) {
					r := newTightRig(t, 2, withRing(64<<10))
					r.stores[0].Behave(stub.Behaviour{During: early.during, After: after})
					body := pattern(6 << 20)
					raw := putRequest("/b/k", body)
					if chunked {
						raw = chunkedRequest("PUT", "/b/k", body, 50_000)
					}
					c := r.dial()
					wantStatus(t, c.Do(raw), 200)
					r.wantRecords("/b/k", "answered 403", 0)
					if d := r.records.list()[0]; d.Status != 403 {
						t.Errorf("record %+v", d)
					}
					wantStored(t, r.stores[1], "/b/k", body)
					wantAbsent(t, r.stores[0], "/b/k")
					if n := r.failures(); n[0]+n[1] > 0 {
						t.Errorf("failures %v for an answer", n)
					}
					// The client's connection is still good.
					r.stores[0].Behave(stub.Behaviour{})
					wantStatus(t, c.Do(putRequest("/b/next", "x")), 200)
					r.wantRecords("/b/next", "")
				})
			}
		}
	}
}

// All have rejected: the client has its answer without sending the rest, and
// its connection ends without a reset (R7).
func TestR9AllRejectBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for _, early := range earlyAnswers {
		for _, chunked := range []bool{false, true} {
			for _, sent := range []int{10, 5000, 300 << 10} {
				t.Run(fmt.Sprintf("%s, chunked %v, %d sent", early.name, chunked, sent), func(t *testing.T) {
					r := newTightRig(t, 2)
					for i, s := range r.stores {
						s.Behave(stub.Behaviour{During: early.during, Headers: stub.H("X-From", fmt.Sprint(i))})
					}
					raw := putRequest("/b/k", pattern(2<<20))
					if chunked {
						raw = chunkedRequest("PUT", "/b/k", pattern(2<<20), 1000)
					}
					c := r.dial()
					c.Send(raw[:strings.Index(raw, "\r\n\r\n")+4+sent])
					a := c.Answer()
					wantStatus(t, a, 403)
					if !a.Headers.Has("X-From") || !strings.EqualFold(a.Headers.Get("Connection"), "close") {
						t.Errorf("answer %s", a.RawHead)
					}
					closedCleanly(t, c)
					r.wantRecords("/b/k", "")
				})
			}
		}
	}
}

// A client that sends on, whatever comes, gets the answer all the same (R7).
func TestR9AnswerReachesAClientThatSendsOn(t *testing.T) {
	t.Parallel()
	for _, early := range earlyAnswers {
		t.Run(early.name, func(t *testing.T) {
			r := newTightRig(t, 2)
			for _, s := range r.stores {
				s.Behave(stub.Behaviour{During: early.during, After: 1000})
			}
			c := r.dial()
			go func() {
				// It may fail once the proxy has heard enough.
				_, _ = c.Write([]byte(putRequest("/b/k", pattern(3<<20))))
			}()
			wantStatus(t, c.Answer(), 403)
			r.wantRecords("/b/k", "")
		})
	}
}

// What follows an unread body is never taken for a request (R7).
func TestR7UnreadBodyIsNoRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.stores[0].Behave(stub.Behaviour{During: stub.AnswerAndClose})
	smuggled := putRequest("/b/smuggled", "x")
	c := r.dial()
	c.Send(fmt.Sprintf("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: %d\r\n\r\n%s", 1<<20, pattern(100<<10)))
	if a, err := c.ReadAnswer(); err != nil || a.Status != 403 {
		t.Fatalf("%+v, %v", a, err)
	}
	_, _ = c.Write([]byte(strings.Repeat(smuggled, 20)))
	c.CloseWrite()
	closedCleanly(t, c)
	r.stop(rigStop)
	if rs := r.stores[0].Requests(); len(rs) != 1 {
		t.Errorf("requests:\n%s", rs)
	}
}

// A 200 that does not wait for the body is no sign that it was stored.
func TestR9EarlySuccessThatDidNotTakeTheBody(t *testing.T) {
	t.Parallel()
	for _, during := range []stub.During{stub.AnswerAndClose, stub.AnswerAndFin} {
		if during == stub.AnswerAndFin {
			continue // it reads the rest after all, and so took it
		}
		for _, n := range []int{1, 2} {
			t.Run(fmt.Sprintf("%d of 2", n), func(t *testing.T) {
				r := newTightRig(t, 2)
				for _, s := range r.stores[:n] {
					s.Behave(stub.Behaviour{During: during, After: 1000, Status: 200})
				}
				body := pattern(8 << 20)
				c := r.dial()
				go func() { _, _ = c.Write([]byte(putRequest("/b/k", body))) }()
				a := c.Answer()
				if n == 2 {
					wantXMLError(t, a, 503)
					r.wantRecords("/b/k", "")
					return
				}
				wantStatus(t, a, 200)
				r.wantRecords("/b/k", "answered 200 before it had the whole body", 0)
				wantStored(t, r.stores[1], "/b/k", body)
			})
		}
	}
}

const expecting = "PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"

// continued sends a head and waits for 100 Continue.
func continued(t *testing.T, c *stub.Client, head string) {
	t.Helper()
	c.Send(head)
	if a, err := c.ReadHeadTo("PUT"); err != nil || a.Status != 100 {
		t.Fatalf("not asked for the body: %+v, %v", a, err)
	}
}

// TestR9ExpectContinue: the client is asked for the body once a storage wants it.
func TestR9ExpectContinue(t *testing.T) {
	t.Parallel()
	silent := stub.Behaviour{Continue: stub.ContinueNever}
	for _, tt := range []struct {
		name   string
		b      [2]stub.Behaviour
		failed []int
		why    string
	}{
		{"both ask", [2]stub.Behaviour{}, nil, ""},
		{"one asks", [2]stub.Behaviour{silent, {}}, nil, ""},
		{"none asks", [2]stub.Behaviour{silent, silent}, nil, ""},
		{"one rejects, one asks", [2]stub.Behaviour{{During: stub.AnswerAndDrain}, {}}, []int{0}, "answered 403"},
		{"one rejects and closes, one asks", [2]stub.Behaviour{{During: stub.AnswerAndClose}, {}}, []int{0}, "answered 403"},
		{"one rejects, one is silent", [2]stub.Behaviour{{During: stub.AnswerAndFin}, silent}, []int{0}, "answered 403"},
		{"one resets, one asks", [2]stub.Behaviour{{During: stub.ResetThere}, {}}, []int{0}, ""},
		{"one asks and then rejects", [2]stub.Behaviour{{Status: 503}, {}}, []int{0}, "answered 503"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, 2)
			for i, s := range r.stores {
				s.Behave(tt.b[i])
			}
			c := r.dial()
			continued(t, c, expecting)
			c.Send("hello")
			a, err := c.ReadAnswer() // another 100 would be among its Interim
			testkit.MustDo(t, err)
			wantStatus(t, a, 200)
			if len(a.Interim) > 0 {
				t.Errorf("asked again")
			}
			r.wantRecords("/b/k", tt.why, tt.failed...)
			wantStored(t, r.stores[1], "/b/k", "hello")
			for _, s := range r.stores {
				s.Behave(stub.Behaviour{})
			}
			// The connection lives on, with and without another Expect.
			continued(t, c, strings.Replace(expecting, "/b/k", "/b/l", 1))
			c.Send("hello")
			if a, err := c.ReadAnswer(); err != nil || a.Status != 200 {
				t.Fatalf("%+v, %v", a, err)
			}
			wantStatus(t, c.Do(putRequest("/b/m", "x")), 200)
			r.wantRecords("/b/l", "")
			r.wantRecords("/b/m", "")
		})
	}
}

// A large body is asked for as a small one is, by length or in chunks.
func TestR9ExpectContinueLarge(t *testing.T) {
	t.Parallel()
	for _, chunked := range []bool{false, true} {
		t.Run(fmt.Sprint(chunked), func(t *testing.T) {
			r := newRig(t, 3)
			body := pattern(3 << 20)
			raw := putRequest("/b/k", body)
			if chunked {
				raw = chunkedRequest("PUT", "/b/k", body, 70_000)
			}
			raw = strings.Replace(raw, "Host:", "Expect: 100-continue\r\nHost:", 1)
			head := strings.Index(raw, "\r\n\r\n") + 4
			c := r.dial()
			continued(t, c, raw[:head])
			c.Send(raw[head:])
			if a, err := c.ReadAnswer(); err != nil || a.Status != 200 {
				t.Fatalf("%+v, %v", a, err)
			}
			r.wantRecords("/b/k", "")
			r.wantAllStored("/b/k", body)
		})
	}
}

// A client that is rejected by all never has to send its body.
func TestR9ExpectRejectedByAll(t *testing.T) {
	t.Parallel()
	for _, early := range earlyAnswers {
		for _, large := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, large %v", early.name, large), func(t *testing.T) {
				r := newRig(t, 2, waitingToContinue(patience)) // not asked, however busy the machine is
				document := r.rejectEarly(early.during, large)
				a := r.dial().Do(strings.Replace(expecting, " 5\r\n", " 5000000\r\n", 1))
				wantStatus(t, a, 412)
				if len(a.Interim) > 0 || a.Headers.Get("X-Why") != "because" || large && string(a.Body) != string(document) {
					t.Errorf("answer %s with %d bytes, interim %v", a.RawHead, len(a.Body), a.Interim)
				}
				r.wantRecords("/b/k", "")
			})
		}
	}
}

func waitingToContinue(wait time.Duration) setup {
	return func(o *Options, _ *limiter.Options) { o.continueWait = wait }
}

// rejectEarly has all storages reject what comes by its head.
func (r *rig) rejectEarly(during stub.During, large bool) (document []byte) {
	if large {
		document = []byte(pattern(100 << 10))
	}
	for _, s := range r.stores {
		s.Behave(stub.Behaviour{During: during, Status: 412, Body: document, Headers: stub.H("X-Why", "because")})
	}
	return document
}

// One that was asked for it, since no backend had said anything for a while, gets the
// rejection, too, before it has sent a byte.
func TestR9ExpectRejectedLate(t *testing.T) {
	t.Parallel()
	for _, early := range earlyAnswers {
		for _, large := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, large %v", early.name, large), func(t *testing.T) {
				t.Parallel()
				for range 5 {
					r := newRig(t, 2, waitingToContinue(time.Nanosecond))
					document := r.rejectEarly(early.during, large)
					a := r.dial().Do(strings.Replace(expecting, " 5\r\n", " 5000000\r\n", 1))
					wantStatus(t, a, 412)
					if a.Headers.Get("X-Why") != "because" || large && string(a.Body) != string(document) {
						t.Errorf("answer %s with %d bytes", a.RawHead, len(a.Body))
					}
					r.wantRecords("/b/k", "")
				}
			})
		}
	}
}

// Without any storage the client is told so, not asked.
func TestR9ExpectWithoutStorages(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	for _, s := range r.stores {
		s.Down()
	}
	c := r.dial()
	a := c.Do(expecting)
	wantXMLError(t, a, 503)
	if len(a.Interim) > 0 {
		t.Errorf("asked for the body")
	}
	closedCleanly(t, c)
}

// A client need not wait to be asked.
func TestR9ExpectWithTheBodyAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	c := r.dial()
	for i := range 3 {
		path := fmt.Sprint("/b/", i)
		wantStatus(t, c.Do(strings.Replace(expecting, "/b/k", path, 1), "hello"), 200)
		r.wantRecords(path, "")
		r.wantAllStored(path, "hello")
	}
}

// HTTP/1.0 knows no 100 Continue (RFC 9110 §10.1.1).
func TestR9ExpectInHTTP10(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	c := r.dial()
	a := c.Do(strings.Replace(expecting, "HTTP/1.1", "HTTP/1.0", 1), "hello")
	wantStatus(t, a, 200)
	if len(a.Interim) > 0 {
		t.Errorf("an interim answer for HTTP/1.0")
	}
	closedCleanly(t, c)
	r.wantRecords("/b/k", "")
	wantStored(t, r.stores[1], "/b/k", "hello")
}

// There is nothing to ask for where the body is empty.
func TestR9ExpectWithoutABody(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	a := r.dial().Do(strings.Replace(expecting, " 5\r\n", " 0\r\n", 1))
	wantStatus(t, a, 200)
	r.wantRecords("/b/k", "")
	wantStored(t, r.stores[0], "/b/k", "")
}

// A rejection that crosses the last bytes of the body leaves a connection that
// is good for the next request, or one that the client is told to give up.
func TestR9RejectionThatCrossesTheEndOfTheBody(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	body := pattern(70 << 10)
	r.stores[0].Behave(stub.Behaviour{During: stub.AnswerAndDrain, After: 69 << 10})
	c := r.dial()
	for range 300 {
		a := c.Do(putRequest("/b/k", body))
		wantStatus(t, a, 403)
		if strings.EqualFold(a.Headers.Get("Connection"), "close") {
			closedCleanly(t, c)
			c = r.dial()
		}
	}
	r.wantRecords("/b/k", "")
}

// TestR9EarlyRedirectionOfARead: a read may have a body, too, and what all answer to it before its end is
// for the client, also where it is neither a success nor an error.
func TestR9EarlyRedirectionOfARead(t *testing.T) {
	t.Parallel()
	for method, status := range map[string]int{"GET": 304, "HEAD": 304, "OPTIONS": 301, "POST": 307} {
		for _, framing := range []string{"Content-Length: 5", "Transfer-Encoding: chunked"} {
			t.Run(method+" "+framing, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 2)
				for _, s := range r.stores {
					s.Behave(stub.Behaviour{During: stub.AnswerAndFin, Status: status})
				}
				target := "/b/k"
				if method == "POST" {
					target += "?select&select-type=2"
				}
				a := r.dial().Do(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: s3.test\r\n%s\r\nExpect: 100-continue\r\n\r\n", method, target, framing))
				wantStatus(t, a, status)
				r.settled()
			})
		}
	}
}

// TestR9OneEarlyRedirectionOfARead: while another backend still takes the body, nothing is decided that would
// leave it waiting for the rest.
func TestR9OneEarlyRedirectionOfARead(t *testing.T) {
	t.Parallel()
	r := newTightRig(t, 2, withRing(64<<10))
	r.stores[0].Behave(stub.Behaviour{During: stub.AnswerAndFin, Status: 304})
	r.stores[1].Behave(stub.Behaviour{Status: 304})
	wantStatus(t, r.dial().Do(chunkedRequest("GET", "/b/k", pattern(1<<20), 50_000)), 304)
	r.settled()
}

// TestR9DoneWithoutTheBody: what S3 knows no body of is done by the head alone at many a backend, which then
// does not take one. Its answer is the client's, and is not owed.
func TestR9DoneWithoutTheBody(t *testing.T) {
	t.Parallel()
	initiated := "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
	for _, request := range []struct {
		line, fields, answer string
		status               int
	}{
		{"DELETE /b/k", "", "", 204},
		{"DELETE /b/k?tagging", "", "", 204},
		{"DELETE /b/k?uploadId=u", "", "", 204},
		{"POST /b/k?uploads", "", initiated, 200},
		{"GET /b/k", "", pattern(5000), 200},
		{"GET /b?list-type=2", "", "<ListBucketResult/>", 200},
		{"HEAD /b/k", "", "", 200},
		{"OPTIONS /b/k", "", "", 200},
		{"PUT /b/k", "\r\nx-amz-copy-source: /b/source", "<CopyObjectResult/>", 200},
		{"PUT /b/k?partNumber=1&uploadId=u", "\r\nx-amz-copy-source: /b/source", "<CopyPartResult/>", 200},
	} {
		for _, during := range []stub.During{stub.AnswerAndClose, stub.AnswerAndStop} {
			for _, chunked := range []bool{false, true} {
				for _, n := range []int{1, 2} { // how many do not take it
					t.Run(fmt.Sprintf("%s, %d, chunked %v, %d of 2", request.line, during, chunked, n), func(t *testing.T) {
						t.Parallel()
						r := newTightRig(t, 2)
						for i, s := range r.stores {
							b := stub.Behaviour{Status: request.status, Body: []byte(request.answer)}
							if i < n {
								b.During, b.After = during, 1000
							}
							s.Behave(b)
						}
						method, target, _ := strings.Cut(request.line, " ")
						raw := fmt.Sprintf("%s HTTP/1.1\r\nHost: s3.test\r\nContent-Length: %d\r\n\r\n%s", request.line, 2<<20, pattern(2<<20))
						if chunked {
							raw = chunkedRequest(method, target, pattern(2<<20), 50_000)
						}
						raw = strings.Replace(raw, "\r\n", request.fields+"\r\n", 1)
						c := r.dial()
						go func() { _, _ = c.Write([]byte(raw)) }() // it may fail once the proxy has heard enough
						a, err := c.ReadAnswerTo(method)
						if err != nil {
							t.Fatal(err)
						}
						wantStatus(t, a, request.status)
						if request.answer != string(a.Body) {
							t.Errorf("body %.80q", a.Body)
						}
						r.wantRecords("/b/k", "")
					})
				}
			}
		}
	}
}
