package stub

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// waitWithin bounds Wait. It is generous, since a wait that fails is a bug.
const waitWithin = time.Minute

// Request is what the Server has seen of one request so far.
type Request struct {
	Conn, Nth int // the connection's number, and the request's on it, from 1

	Method, Target, Proto string // as in the request line
	RawHead               []byte // exactly as received, including the blank line
	Headers               Headers

	Framing   Framing
	Length    int64  // the Content-Length, or -1
	BodyBytes int64  // read so far, without chunk framing
	SHA256    string // of the body, in hex, once it has ended
	Body      []byte // once it has ended, if it is at most BodyLimit
	Trailers  Headers

	Complete bool  // the head was well formed and the whole body arrived
	Aborted  bool  // the peer closed or reset the connection before that
	Gone     bool  // the peer did so while the response was held back or being written
	Err      error // why the request is not complete

	Stage        Stage
	Status       int  // of the response, once it has begun; 0 with Raw
	Answered     bool // the whole response was sent
	Began, Ended time.Time
}

// Stage is how far a request has come.
type Stage int

// The stages in order; a request can be held before and after its body.
const (
	StageBody   Stage = iota // the body is being read
	StageHeld                // hanging, or waiting for a gate
	StageAnswer              // the response is being computed or written
	StageDone                // the Server has finished with it
)

func (g Stage) String() string {
	return [...]string{"body", "held", "answer", "done"}[g]
}

// String describes the request in one line.
func (r *Request) String() string {
	s := fmt.Sprintf("%d/%d %s %s: %s, body %d", r.Conn, r.Nth, r.Method, r.Target, r.Stage, r.BodyBytes)
	for _, w := range []struct {
		is   bool
		word string
	}{{r.Complete, "complete"}, {r.Aborted, "aborted"}, {r.Gone, "gone"}, {r.Answered, "answered"}} {
		if w.is {
			s += ", " + w.word
		}
	}
	if r.Status != 0 {
		s += fmt.Sprintf(", status %d", r.Status)
	}
	if r.Err != nil {
		s += ", " + r.Err.Error()
	}
	return s
}

// Requests are in the order in which their heads arrived.
type Requests []*Request

// Count returns how many satisfy f.
func (rs Requests) Count(f func(*Request) bool) int {
	n := 0
	for _, r := range rs {
		if f(r) {
			n++
		}
	}
	return n
}

// Done counts those that the Server has finished with.
func (rs Requests) Done() int {
	return rs.Count(func(r *Request) bool { return r.Stage == StageDone })
}

// Held counts those that hang or wait for a gate.
func (rs Requests) Held() int {
	return rs.Count(func(r *Request) bool { return r.Stage == StageHeld })
}

// Complete counts those that arrived completely.
func (rs Requests) Complete() int {
	return rs.Count(func(r *Request) bool { return r.Complete })
}

// String describes the requests, one per line.
func (rs Requests) String() string {
	var b strings.Builder
	for _, r := range rs {
		fmt.Fprintf(&b, "  %s\n", r)
	}
	return b.String()
}

// Counts cover the Server's whole life, including forgotten requests.
type Counts struct {
	Conns     int // accepted
	OpenConns int // open now
	Requests  int
	Complete  int // arrived completely
	Aborted   int // ended early by the peer
	Answered  int // answered completely
}

// Counts returns the current counts.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.counts
	n.OpenConns = len(s.conns)
	return n
}

// Requests returns a copy of each request seen, finished or not.
func (s *Server) Requests() Requests {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requestsLocked()
}

func (s *Server) requestsLocked() Requests {
	log := s.log
	if keep := s.opts.keepRequests; keep >= 0 && len(log) > keep {
		log = log[len(log)-keep:]
	}
	copies := make([]Request, len(log))
	rs := make(Requests, len(log))
	for i, r := range log {
		copies[i] = *r
		rs[i] = &copies[i]
	}
	return rs
}

// Wait waits until cond holds for the requests seen, and returns them. It checks again at every
// change of a request, a connection or the store. It fails the test if that takes too long.
func (s *Server) Wait(t testing.TB, cond func(Requests) bool) Requests {
	t.Helper()
	late := false
	alarm := time.AfterFunc(waitWithin, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		late = true
		s.changed.Broadcast()
	})
	defer alarm.Stop()
	for {
		s.mu.Lock()
		seen, rs, over := s.version, s.requestsLocked(), late
		s.mu.Unlock()
		// Without the lock: the condition may ask for counts and objects too.
		if cond(rs) {
			return rs
		}
		if over {
			t.Fatalf("waited %s in vain at stub %s, which saw %+v\n%s", waitWithin, s.addr, s.Counts(), rs)
		}
		s.mu.Lock()
		for s.version == seen && !late {
			s.changed.Wait()
		}
		s.mu.Unlock()
	}
}

// WaitDone waits until n requests are done.
func (s *Server) WaitDone(t testing.TB, n int) Requests {
	t.Helper()
	return s.Wait(t, func(rs Requests) bool { return rs.Done() >= n })
}

// rememberLocked records a request.
func (s *Server) rememberLocked(r *Request) {
	s.counts.Requests++
	keep := s.opts.keepRequests
	if keep == 0 {
		return
	}
	if keep > 0 && len(s.log) >= 2*keep {
		s.log = slices.Delete(s.log, 0, len(s.log)-keep)
	}
	s.log = append(s.log, r)
}
