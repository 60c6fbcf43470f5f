package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
)

// leaving is a way in which a client leaves.
var leaving = []struct {
	name  string
	leave func(*stub.Client)
}{
	{"FIN", (*stub.Client).Close},
	{"RST", (*stub.Client).Reset},
	{"half-close", (*stub.Client).CloseWrite},
}

// wantUntouched checks, after the engine has stopped, that an aborted request
// has left nothing: no object, no record, no blame (R6).
func (r *rig) wantUntouched() {
	r.t.Helper()
	for i, s := range r.stores {
		s.Wait(r.t, func(rs stub.Requests) bool { return rs.Done() == len(rs) && s.Counts().OpenConns == 0 })
		if rs := s.Requests(); rs.Complete() > 0 {
			r.t.Errorf("storage %d took a short request for a whole one:\n%s", i, rs)
		}
		if o := s.Objects(); len(o) > 0 {
			r.t.Errorf("storage %d has stored %d objects", i, len(o))
		}
	}
	if d := r.records.list(); len(d) > 0 {
		r.t.Errorf("recorded %+v", d)
	}
	r.wantNoBlame()
}

func (r *rig) wantNoBlame() {
	r.t.Helper()
	for _, s := range r.limiter.Status(r.e.now()) {
		if s.Failures > 0 || s.State != "active" {
			r.t.Errorf("backend blamed: %+v", s)
		}
	}
	for _, outcome := range []string{OutcomeFailed, OutcomeStalled} {
		if n := r.metrics.count(outcome); n > 0 {
			r.t.Errorf("%d legs %s", n, outcome)
		}
	}
}

// wantNothingLeft makes the client of a PUT to path leave, and checks that it leaves
// nothing behind, in the pipes neither: next is an upload of body and arrives whole.
func (r *rig) wantNothingLeft(c *stub.Client, reset bool, path, next, body string) {
	r.t.Helper()
	if reset {
		c.Reset()
	} else {
		c.Close()
	}
	r.wantNoRecords()
	r.wantNoBlame()
	wantStatus(r.t, r.put(next, body), 200)
	r.wantRecords(next, "")
	for _, s := range r.stores {
		wantAbsent(r.t, s, path)
		wantStored(r.t, s, next, body)
	}
}

// TestR6ClientLeaves at every stage of a request, in every way.
func TestR6ClientLeaves(t *testing.T) {
	t.Parallel()
	small, large := putRequest("/b/k", pattern(4<<10)), putRequest("/b/k", pattern(3<<20))
	post := strings.Replace(small, "PUT", "POST", 1)
	chunks := chunkedRequest("PUT", "/b/k", pattern(400_000), 0x1000) // chunks of 4 KiB, frames of 8 bytes
	body := strings.Index(chunks, "\r\n\r\n") + 4
	chunk := func(n int) int { return body + n*(4096+8) }
	trailer := chunkedRequest("PUT", "/b/k", pattern(100), 50, "X-Amz-Checksum-Crc32: AAAAAA==")
	for _, tt := range []struct {
		name, sent string
		reaches    bool // the storages see something of it
	}{
		{"in the request line", small[:8], false},
		{"in the head", small[:strings.Index(small, "\r\n\r\n")+2], false},
		// The server wants a byte of the body before it asks the engine.
		{"after the head", small[:strings.Index(small, "\r\n\r\n")+4], false},
		{"after the head of a large one", large[:strings.Index(large, "\r\n\r\n")+4], false},
		{"in the first byte of a large one", large[:strings.Index(large, "\r\n\r\n")+5], true},
		{"in a small body", small[:2000], true},
		{"in a small POST", post[:2000], true},
		{"a byte before the end", small[:len(small)-1], true},
		{"in a large body", large[:1<<20], true},
		{"before the ring has wrapped", large[:100<<10], true},
		{"a byte before the end of a large one", large[:len(large)-1], true},
		{"before the first chunk", chunks[:body], true},
		{"at a chunk boundary", chunks[:chunk(1)], true},
		{"at a far chunk boundary", chunks[:chunk(97)], true},
		{"in a chunk", chunks[:chunk(3)+1000], true},
		{"in a chunk's size", chunks[:chunk(3)+2], true},
		{"behind a chunk's size", chunks[:chunk(3)+6], true},
		{"before a chunk's line end", chunks[:chunk(4)-2], true},
		{"before the last chunk", chunks[:len(chunks)-5], true},
		{"in the last chunk", chunks[:len(chunks)-4], true},
		{"behind the last chunk", chunks[:len(chunks)-2], true},
		{"a byte before the chunks' end", chunks[:len(chunks)-1], true},
		{"before the trailer", trailer[:strings.Index(trailer, "0\r\nX-Amz")+3], true},
		{"in the trailer", trailer[:len(trailer)-8], true},
		{"behind the trailer", trailer[:len(trailer)-2], true},
	} {
		for _, how := range leaving {
			for _, seen := range []bool{true, false} { // by the storages, before the client leaves
				if seen && !tt.reaches {
					continue
				}
				t.Run(fmt.Sprintf("%s, %s, seen %v", tt.name, how.name, seen), func(t *testing.T) {
					t.Parallel()
					r := newRig(t, 3)
					c := r.dial()
					c.Send(tt.sent)
					for _, s := range r.stores {
						if seen {
							s.Wait(t, func(rs stub.Requests) bool { return len(rs) == 1 })
						}
					}
					how.leave(c)
					if how.name == "half-close" && tt.reaches {
						a, err := c.ReadAnswer()
						if err != nil {
							t.Fatalf("no answer to a short body: %v", err)
						}
						wantXMLError(t, a, 400)
						closedCleanly(t, c)
					}
					c.Close()
					r.stop(rigStop)
					r.wantUntouched()
				})
			}
		}
	}
}

// The client has been asked for the body, and goes.
func TestR6ClientLeavesAfterContinue(t *testing.T) {
	t.Parallel()
	const head = "PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
	for _, sent := range []string{"", "x", pattern(99)} {
		for _, how := range leaving {
			t.Run(fmt.Sprintf("%d bytes, %s", len(sent), how.name), func(t *testing.T) {
				r := newRig(t, 3)
				c := r.dial()
				c.Send(head)
				if a, err := c.ReadHeadTo("PUT"); err != nil || a.Status != 100 {
					t.Fatalf("%+v, %v", a, err)
				}
				c.Send(sent)
				how.leave(c)
				if how.name == "half-close" {
					_, _ = c.ReadAnswer()
				}
				c.Close()
				r.stop(rigStop)
				r.wantUntouched()
			})
		}
	}
}

// Before 100 Continue the legs wait for the client as it does for them.
func TestR6ClientLeavesBeforeContinue(t *testing.T) {
	t.Parallel()
	for _, how := range leaving {
		t.Run(how.name, func(t *testing.T) {
			r := newRig(t, 2)
			for _, s := range r.stores {
				s.Behave(stub.Behaviour{Continue: stub.ContinueNever})
			}
			c := r.dial()
			c.Send("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
			r.stores[0].Wait(t, func(rs stub.Requests) bool { return len(rs) == 1 })
			how.leave(c)
			if how.name == "half-close" {
				_, _ = c.ReadAnswer()
			}
			c.Close()
			r.stop(rigStop)
			r.wantUntouched()
		})
	}
}

// A leg that rejected the write early, or failed, makes no record of one that
// the client gave up itself.
func TestR6ClientLeavesWhileOneHasFailed(t *testing.T) {
	t.Parallel()
	for _, b := range []stub.Behaviour{
		{During: stub.AnswerAndClose}, {During: stub.AnswerAndStop}, {During: stub.ResetThere, After: 1000},
		{During: stub.AnswerAndDrain, Status: 200},
	} {
		t.Run(fmt.Sprint(b.During, b.Status), func(t *testing.T) {
			r := newRig(t, 2)
			r.stores[0].Behave(b)
			c := r.dial()
			c.Send(putRequest("/b/k", pattern(1<<20))[:200<<10])
			r.stores[1].Wait(t, func(rs stub.Requests) bool { return len(rs) == 1 })
			r.stores[0].Wait(t, func(rs stub.Requests) bool {
				return rs.Count(func(q *stub.Request) bool { return q.Answered || q.Stage == stub.StageDone }) == 1
			})
			c.Reset()
			if d := r.settled(); len(d) > 0 {
				t.Errorf("recorded %+v", d)
			}
			r.stop(rigStop)
			r.wantAllAbsent("/b/k")
			if n := r.failures(); n[1] > 0 {
				t.Errorf("failures %v", n)
			}
		})
	}
}

// Once the whole body is there, the write does not need its client any more.
func TestR6WholeBodyOutlivesItsClient(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 4 << 10, 1 << 20} {
		for _, chunked := range []bool{false, true} {
			for _, how := range leaving {
				t.Run(fmt.Sprintf("%d, chunked %v, %s", size, chunked, how.name), func(t *testing.T) {
					r := newRig(t, 3)
					gate := make(chan struct{})
					for _, s := range r.stores[:2] {
						s.Behave(stub.Behaviour{Gate: gate})
					}
					r.stores[2].Behave(stub.Behaviour{Gate: gate, Status: 500})
					body := pattern(size)
					raw := putRequest("/b/k", body)
					if chunked {
						raw = chunkedRequest("PUT", "/b/k", body, 5000)
					}
					c := r.dial()
					c.Send(raw)
					for _, s := range r.stores { // with a reset, what is unread would be lost
						s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
					}
					how.leave(c)
					close(gate)
					r.wantRecords("/b/k", "answered 500", 2)
					for _, s := range r.stores[:2] {
						wantStored(t, s, "/b/k", body)
					}
					r.wantNoBlame()
				})
			}
		}
	}
}

// A reader of an answer that leaves in the middle of it takes nobody along.
func TestR6ReaderLeaves(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	for _, s := range r.stores {
		s.Put("/b/k", []byte(pattern(16<<20)))
	}
	for _, how := range leaving[:2] {
		c := r.dial()
		c.Send(requestFor("GET", "/b/k"))
		a, err := c.ReadHeadTo("GET")
		testkit.MustDo(t, err)
		if _, err := c.ReadSome(a, 1000); err != nil {
			t.Fatal(err)
		}
		how.leave(c)
		r.settled()
	}
	r.wantNoBlame()
	wantStatus(t, r.dial().Do(requestFor("HEAD", "/b/k")), 200)
}
