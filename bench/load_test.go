package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// newTestBackend is a backend in this process.
func newTestBackend(t *testing.T) *backend {
	t.Helper()
	s, err := newBackend("127.0.0.1:0")
	testkit.MustDo(t, err)
	t.Cleanup(func() {
		s.setFault(newFault(faultNone))
		s.close()
	})
	return s
}

func newTestLoad(t *testing.T, s *backend, c *Case, limit int64) *load {
	t.Helper()
	l := &load{
		dial: dialer(s.addr, nil), source: func(conn int) source { return newStubSource(c, s.addr, conn) },
		conns: c.Conns, rate: c.Rate, fresh: c.NoAlive, timeout: 30 * time.Second, limit: limit,
	}
	t.Cleanup(l.close)
	testkit.MustDo(t, l.open())
	return l
}

// TestStoragesSeeWhatWasSent holds counts, bytes and histogram of both sides
// against each other, by the number of requests.
func TestStoragesSeeWhatWasSent(t *testing.T) {
	for _, c := range []Case{
		{Method: "PUT", Size: 0, Conns: 1},
		{Method: "PUT", Size: 4096, Conns: 4},
		{Method: "PUT", Size: 3<<20 + 17, Conns: 2},
		{Method: "GET", Size: 0, Conns: 1},
		{Method: "GET", Size: 2<<20 + 5, Conns: 3},
		{Method: "HEAD", Size: 1 << 40, Conns: 2},
		{Method: methodMix, Conns: 4},
		{Method: "PUT", Size: 70_000, Conns: 2, NoAlive: true},
		{Method: "PUT", Size: 512, Conns: 3, Rate: 1e6},
	} {
		t.Run(fmt.Sprintf("%s %d %d %v", c.Method, c.Size, c.Conns, c.NoAlive), func(t *testing.T) {
			const requests = 150
			s := newTestBackend(t)
			r := newTestLoad(t, s, &c, requests).run(context.Background(), time.Minute, nil)
			if r.sent.Load() != requests || r.succeeded.Load() != requests {
				t.Fatalf("%d sent, %d succeeded: %v", r.sent.Load(), r.succeeded.Load(), r.errors)
			}
			seen := s.take()
			if seen.requests() != requests {
				t.Fatalf("the backend saw %d of %d requests", seen.requests(), requests)
			}
			testkit.MustDo(t, verify(&c, "direct", r, []*backendCounts{seen}))
			if c.Method == "PUT" && r.moved.Load() != requests*c.Size || c.Method == "GET" && r.moved.Load() != requests*c.Size {
				t.Errorf("%d bytes moved, want %d", r.moved.Load(), requests*c.Size)
			}
			if n, _ := r.inWindow(); n != requests || r.latencyBetween(0, 1).Count() != requests {
				t.Errorf("the window is worth %v requests, %d latencies", n, r.latencyBetween(0, 1).Count())
			}
			if seen := s.take(); seen.requests() != 0 || seen.Bytes != 0 {
				t.Error("taken counts stay")
			}
		})
	}
}

func TestVerifyFindsWhatIsWrong(t *testing.T) {
	s := newTestBackend(t)
	c := Case{Method: "PUT", Size: 1000, Conns: 2}
	r := newTestLoad(t, s, &c, 200).run(context.Background(), time.Minute, nil)
	seen := s.take()
	for name, spoil := range map[string]func(c *backendCounts){
		"lost":      func(c *backendCounts) { c.Puts-- },
		"twice":     func(c *backendCounts) { c.Puts++ },
		"cut short": func(c *backendCounts) { c.Bytes-- },
		"deleted":   func(c *backendCounts) { c.Deletes++ },
	} {
		spoilt := *seen
		spoil(&spoilt)
		if err := verify(&c, "akubra", r, []*backendCounts{seen, &spoilt}); err == nil || !strings.Contains(err.Error(), "backend 2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	slower := newRecorder(time.Minute)
	slower.begin()
	for range r.whole.Count() {
		slower.whole.Record(time.Hour)
	}
	if err := verifyLatency(r, &backendCounts{Latency: &slower.whole}); err == nil {
		t.Error("answers that came before the backend gave them are believed")
	}
}

// TestNoCoordinatedOmission: a server that stands still is charged for every
// request that was due meanwhile, not only for the one that waited.
func TestNoCoordinatedOmission(t *testing.T) {
	const still = 200 * time.Millisecond
	s := newTestBackend(t)
	hang := newFault(faultHang)
	s.setFault(hang)
	c := Case{Method: "PUT", Size: 10, Conns: 1, Rate: 1000}
	l := newTestLoad(t, s, &c, 400)
	r := l.run(context.Background(), time.Minute, func(*recorder) {
		time.AfterFunc(still, func() { s.setFault(newFault(faultNone)) })
	})
	if r.whole.Count() != 400 {
		t.Fatalf("%d of 400 requests were answered", r.whole.Count())
	}
	// Of the 200 that were due while it stood still, every second one was due at
	// least half of that time before it went on.
	if p := r.whole.At(.75); p < still/2*98/100 {
		t.Errorf("the 75th percentile is %v, want at least %v", p, still/2)
	}
}

func TestUnsentIsTold(t *testing.T) {
	s := newTestBackend(t)
	s.setFault(newFault(faultHang))
	c := Case{Method: "PUT", Size: 10, Conns: 2, Rate: 1000}
	l := newTestLoad(t, s, &c, 0)
	for _, cl := range l.clients {
		cl.timeout = 500 * time.Millisecond
	}
	r := l.run(context.Background(), 300*time.Millisecond, nil)
	if r.sent.Load() != 2 || r.unsent.Load() != 298 || r.errors["timeout"] != 2 {
		t.Fatalf("%d sent, %d unsent, %v", r.sent.Load(), r.unsent.Load(), r.errors)
	}
}

// TestTrimming: the tail's rates are trimmed, its latencies are not.
func TestTrimming(t *testing.T) {
	r := newRecorder(600 * time.Millisecond)
	r.begin()
	at := func(ms int) time.Time { return r.start.Add(time.Duration(ms) * time.Millisecond) }
	put := &request{method: "PUT", size: 7}
	r.done(put, at(0), at(0), at(100), nil)
	r.done(put, at(100), at(100), at(599), nil)
	r.done(put, at(500), at(500), at(900), nil) // a quarter of it within
	r.done(put, at(0), at(450), at(750), nil)   // half, and sent late
	r.done(put, at(300), at(300), at(310), errors.New("broken"))
	r.done(put, at(540), at(540), at(660), statusError(503)) // half
	succeeded, failed := r.inWindow()
	if succeeded != 2.75 || failed != 1.5 {
		t.Errorf("the window is worth %v and %v failed, want 2.75 and 1.5", succeeded, failed)
	}
	h := r.latencyBetween(0, 1)
	if h.Count() != 4 || h.Max() != 750*time.Millisecond {
		t.Errorf("%d latencies up to %v: slow ones must not be lost", h.Count(), h.Max())
	}
	if r.errors["status 503"] != 1 || r.errors["connection broken"] != 1 || r.stored.Load() != 28 {
		t.Errorf("errors %v, %d bytes", r.errors, r.stored.Load())
	}
	if before := r.latencyBetween(0, faultAt); before.Count() != 3 {
		t.Errorf("%d began in the first third, want 3", before.Count())
	}
	if s := r.series(); len(s.Requests) != recorderSlots || s.Requests[10] != 1 || s.Failed[31] != 1 {
		t.Errorf("the series is %v, failed %v", s.Requests, s.Failed)
	}
}

// TestAnswers reads what servers may say.
func TestAnswers(t *testing.T) {
	get := request{method: "GET", head: []byte("GET / HTTP/1.1\r\n\r\n"), answer: 5}
	for name, c := range map[string]struct {
		said string
		want string
		keep bool
	}{
		"length":        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "", true},
		"chunked":       {"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: x\r\n\r\n", "", true},
		"continue":      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 206 OK\r\nCONTENT-LENGTH:5\r\n\r\nhello", "", true},
		"to the end":    {"HTTP/1.1 200 OK\r\n\r\nhello", "connection closed", false},
		"asked to part": {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", "", false},
		"refused":       {"HTTP/1.1 503 Slow Down\r\nContent-Length: 2\r\n\r\nno", "status 503", true},
		"too short":     {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhell", "wrong length of answer", true},
		"broken off":    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", "connection closed", false},
		"nothing":       {"", "connection closed", false},
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			testkit.MustDo(t, err)
			defer ln.Close()
			go func() {
				nc, err := ln.Accept()
				if err != nil {
					return
				}
				defer nc.Close()
				if _, err := readHead(bufio.NewReader(nc), nil); err == nil {
					_, _ = nc.Write([]byte(c.said))
				}
			}()
			cl := &client{dial: dialer(ln.Addr().String(), nil), timeout: 10 * time.Second, progress: func(int) {}}
			defer cl.close()
			err = cl.do(&get)
			got := ""
			if err != nil {
				got = errorKind(err)
			}
			if got != c.want || cl.nc != nil != c.keep {
				t.Errorf("%q (%v), kept %v; want %q, %v", got, err, cl.nc != nil, c.want, c.keep)
			}
		})
	}
	cl := &client{dial: dialer("127.0.0.1:1", nil), timeout: time.Second}
	if err := cl.do(&get); errorKind(err) != "cannot connect" {
		t.Errorf("nobody there: %v", err)
	}
}
