package engine

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// A short answer is the backend's to the byte (R5).
func TestR5ShortAnswersAreUnchanged(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 All is well\r\nserver: X\r\nx-amz-B: 1\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nX-Amz-b:2\r\n" +
		"Content-Type:  text/x \r\nETag: \"e\"\r\ncontent-length: 2\r\nSet-Cookie: a\r\nX-Empty:\r\n\r\n"
	for _, method := range []string{"PUT", "GET", "DELETE"} {
		r := newRig(t, 1)
		r.stores[0].BehaveNext(stub.Behaviour{Raw: []byte(head + "ok")})
		a := r.dial().Do(method + " /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 0\r\n\r\n")
		if string(a.RawHead) != head || string(a.Body) != "ok" {
			t.Errorf("%s: %q %q", method, a.RawHead, a.Body)
		}
	}
}

// What the proxy answers by itself has no body where it answers HEAD (R4).
func TestR4NoBackendForHead(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	for _, s := range r.stores {
		s.Behave(stub.Behaviour{During: stub.ResetThere, Cut: stub.CutReset, CutAt: stub.NoAnswer})
	}
	c := r.dial()
	c.Send(requestFor("HEAD", "/b/k"), requestFor("HEAD", "/b/k"))
	for range 2 { // the connection is kept, and nothing is between the two
		a, err := c.ReadAnswerTo("HEAD")
		testkit.MustDo(t, err)
		wantStatus(t, a, 503)
		if a.Length <= 0 || a.Headers.Get("X-Amz-Request-Id") == "" {
			t.Errorf("%q", a.RawHead)
		}
	}
}

// Requests that come before the answer to the one before them wait for it (R3).
func TestR3PipelinedRequestsAreServedInOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.WriteAck = AckAll })
	gate := make(chan struct{})
	for _, s := range r.stores {
		s.BehaveNext(stub.Behaviour{Gate: gate})
	}
	c := r.dial()
	c.Send(putRequest("/b/k", "one"), putRequest("/b/k", "two"), requestFor("GET", "/b/k"), "no request\r\n\r\n")
	for _, s := range r.stores {
		s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	}
	if n := r.e.InFlight(); n != 1 {
		t.Errorf("%d requests are in flight", n)
	}
	close(gate)
	for i, want := range []struct {
		status int
		body   string
	}{{200, ""}, {200, ""}, {200, "two"}, {400, ""}} {
		a, err := c.ReadAnswer()
		if err != nil {
			t.Fatal(i, err)
		}
		wantStatus(t, a, want.status)
		if want.body != "" && string(a.Body) != want.body {
			t.Errorf("answer %d is %q", i, a.Body)
		}
	}
	closedCleanly(t, c)
	r.wantRecords("/b/k", "")
}

// A client that has said all it has to say gets its answer all the same; one that has
// gone does no harm (R6).
func TestR6ClientsThatLeaveBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(*stub.Client){
		"half": (*stub.Client).CloseWrite, "wholly": (*stub.Client).Close, "rudely": (*stub.Client).Reset,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2)
			gate := make(chan struct{})
			for _, s := range r.stores {
				s.Behave(stub.Behaviour{Gate: gate})
			}
			c := r.dial()
			c.Send(putRequest("/b/k", "body"))
			for _, s := range r.stores {
				s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
			}
			leave(c)
			if name == "half" {
				until(t, "the end of the server's goroutine", func() bool { return r.e.server.GetOpenConnectionsCount() == 0 })
			}
			close(gate)
			if name == "half" {
				wantStatus(t, c.Answer(), 200)
				closedCleanly(t, c)
			}
			r.wantRecords("/b/k", "")
			r.wantAllStored("/b/k", "body")
		})
	}
}

// An answer to a write that is still coming when it is picked is sent as it comes (R5).
func TestR5LongAnswersToWrites(t *testing.T) {
	t.Parallel()
	const date = "Thu, 01 Jan 1970 00:00:00 GMT"
	long := strings.Repeat("<Error/>", 50_000)
	for _, tt := range []struct {
		name string
		b    stub.Behaviour
	}{
		{"with a length", stub.Behaviour{Status: 403, Body: []byte(long)}},
		{"in chunks", stub.Behaviour{Status: 403, Body: []byte(long), Chunked: true}},
		{"until the end", stub.Behaviour{Status: 403, Body: []byte(long), NoLength: true}},
		{"a short one in chunks", stub.Behaviour{Status: 403, Body: []byte(long[:100]), Chunked: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, 2)
			tt.b.Headers = stub.H("Date", date, "x-lower", "1")
			for _, s := range r.stores {
				s.Behave(tt.b)
			}
			c := r.dial()
			for range 3 { // on one connection
				a := c.Do(putRequest("/b/k", "body"))
				wantStatus(t, a, 403)
				if string(a.Body) != string(tt.b.Body) {
					t.Fatalf("%d bytes of %d", len(a.Body), len(tt.b.Body))
				}
				if a.Headers.Get("Date") != date || a.Headers.Get("x-lower") != "1" || a.Headers.Has("Connection") {
					t.Fatalf("%q", a.RawHead)
				}
			}
			tt.b.Cut, tt.b.CutAt = stub.CutClose, int64(len(tt.b.Body))/2
			if tt.b.NoLength {
				return // nobody can tell
			}
			for _, s := range r.stores {
				s.Behave(tt.b)
			}
			c.Send(putRequest("/b/k", "body"))
			if a, err := c.ReadAnswer(); err == nil {
				t.Errorf("half of the answer passes for all of it: %d, %d bytes", a.Status, len(a.Body))
			}
		})
	}
}

// A client that sends on and on, and reads late, gets each answer, in order, and stops
// nobody else.
func TestR3AnswersToALateReader(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	small := func(option int) func(_, _ string, raw syscall.RawConn) error {
		return func(_, _ string, raw syscall.RawConn) (err error) {
			_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 1) })
			return err
		}
	}
	lc := net.ListenConfig{Control: small(unix.SO_SNDBUF)}
	ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	testkit.MustDo(t, err)
	served := make(chan error, 1)
	go func() { served <- r.e.Serve(ln) }()
	d := net.Dialer{Control: small(unix.SO_RCVBUF)}
	nc, err := d.Dial("tcp", ln.Addr().String())
	testkit.MustDo(t, err)
	_ = nc.SetDeadline(time.Now().Add(3 * patience)) // for all of it
	const n = 1000
	sent := make(chan error, 1)
	go func() {
		for i := range n {
			if _, err := io.WriteString(nc, putRequest(fmt.Sprint("/b/", i), fmt.Sprint(i))); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	// It is stuck when an answer is owed that does not go out, while nobody works.
	last := -1
	until(t, "a full socket", func() bool {
		now := len(r.stores[0].Requests())
		stuck := now == last && now > 0 && r.e.InFlight() == 1
		last = now
		return stuck
	})
	wantStatus(t, r.put("/b/other", "body"), 200)
	c := stub.NewClient(t, nc.(*net.TCPConn))
	for i := range n {
		a, err := c.ReadAnswer()
		if err != nil {
			t.Fatal(i, err)
		}
		sum := md5.Sum([]byte(fmt.Sprint(i)))
		if got := strings.Trim(a.Headers.Get("ETag"), `"`); a.Status != 200 || got != hex.EncodeToString(sum[:]) {
			t.Fatalf("answer %d: %d, %s", i, a.Status, got)
		}
	}
	if err := testkit.Receive(t, "the end of sending", sent); err != nil {
		t.Error(err)
	}
	r.stop(rigStop)
	if err := testkit.Receive(t, "the end of Serve", served); err != nil {
		t.Error(err)
	}
}

// Who has an answer does not count as being served any more (R23).
func TestR23AnsweredRequestsDoNotCount(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.MaxConcurrentRequests = 1 })
	c := r.dial()
	for i := range 300 {
		method := []string{"PUT", "HEAD", "GET", "DELETE"}[i%4]
		c.Send(method + " /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 0\r\n\r\n")
		a, err := c.ReadAnswerTo(method)
		testkit.MustDo(t, err)
		if a.Status == 503 {
			t.Fatalf("request %d is one too many", i)
		}
	}
	for i := range 100 {
		for _, s := range r.stores {
			s.Behave(stub.Behaviour{Status: 403, Body: []byte(pattern(100_000)), Chunked: i%2 == 1})
		}
		wantStatus(t, c.Do(putRequest("/b/k", "body")), 403)
	}
}

// A connection is not idle as long as an answer is owed on it.
func TestOwedAnswerOutlastsTheIdleTime(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.MustDo(t, err)
	defer ln.Close()
	other, err := net.Dial("tcp", ln.Addr().String())
	testkit.MustDo(t, err)
	defer other.Close()
	nc, err := ln.Accept()
	testkit.MustDo(t, err)
	c := newClientConn(nc, newListener(nil, &Engine{epoch: time.Now()})).(*clientConn)
	defer c.Close()
	c.leaveAnswer()
	read := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 10))
		read <- err
	}()
	// The time is over: it waits for the answer.
	until(t, "the wait for the answer", func() bool {
		_ = nc.SetReadDeadline(past)
		return c.pending.state.Load()&answerAwaited != 0
	})
	if c.Close() != nil || len(read) > 0 {
		t.Fatal("it is closed before the answer")
	}
	if _, err := c.send([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	c.answerSent(false)
	if err := testkit.Receive(t, "the end of reading", read); err == nil {
		t.Error("it reads after it was closed")
	}
	got, err := io.ReadAll(other)
	if string(got) != "answer" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the second Close: %v", err)
	}
}

// A write that waits for the journal's disk keeps no connection to a backend from its
// next request (R20).
func TestR20NoLegWaitsForTheJournal(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.journal.waits.Store(true)
	// Each backend has a connection that is used again.
	wantStatus(t, r.put("/b/first", "body"), 200)
	r.settled()
	gate, held := make(chan struct{}), make(chan struct{}, 1)
	hold := func(es []Promise) {
		if string(es[0].Key) == "held" {
			held <- struct{}{}
			<-gate
		}
	}
	r.journal.promise.Store(&hold)
	first := make(chan struct{})
	r.stores[0].BehaveNext(stub.Behaviour{Gate: first})
	r.stores[1].Behave(stub.Behaviour{Gate: gate})
	c := r.dial()
	c.Send(putRequest("/b/held", "body"))
	for _, s := range r.stores {
		s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	}
	close(first)
	testkit.Receive(t, "who is held back", held)
	wantStatus(t, r.put("/b/other", "body"), 200)
	if n := r.stores[0].Counts().Conns; n != 1 {
		t.Fatalf("%d connections: nothing was shown", n)
	}
	close(gate)
	wantStatus(t, c.Answer(), 200)
}

// An answer in the place of 100 Continue is the connection's last, and says so, also where
// there is no body that would be left unread (R9).
func TestR9AnswerInsteadOfContinueEndsTheConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	for _, s := range r.stores {
		s.Behave(stub.Behaviour{Continue: stub.ContinueNever})
	}
	c := r.dial()
	a := c.Do("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n")
	wantStatus(t, a, 200)
	if a.Headers.Get("Connection") != "close" {
		t.Errorf("%q", a.RawHead)
	}
	closedCleanly(t, c)
}
