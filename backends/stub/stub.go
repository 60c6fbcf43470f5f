// Package stub is an S3-like backend for tests that misbehaves on command.
//
// It speaks HTTP/1.1 over raw TCP with its own small parser, so that a test sees exactly the bytes
// that arrived and decides exactly which bytes go back. Unless told otherwise it is a small object
// store: an object arrives completely or is not stored at all. Dial is the other end, a raw HTTP
// client.
//
// A Server owns its listener, one goroutine that accepts and one goroutine per connection; Close,
// which New calls when the test ends, stops and awaits them all. Every method of a Server may be
// called from any goroutine, also from within a Wait condition and, except for Close, from within
// BehaveFunc. Only Wait and WaitDone must be called on the test's own goroutine, since they may end
// the test. What Requests, Object and Objects return is a copy, or never changes.
package stub

import (
	"net"
	"sync"
	"testing"
)

// Server is one stub backend.
type Server struct {
	opts  options
	addr  string
	port  func() // gives the port of addr back, which stays the Server's while it is down
	store *store
	wg    sync.WaitGroup

	mu      sync.Mutex
	changed sync.Cond // on mu; version has grown
	version uint64

	ln     *net.TCPListener // nil while down
	closed bool
	refuse bool
	conns  map[*conn]struct{}
	unhang chan struct{} // closed and replaced by Unhang
	always func(*Request) Behaviour
	next   []Behaviour
	log    []*Request // guarded by mu, including the contents
	counts Counts
}

type options struct {
	keepBodies    bool
	keepRequests  int
	bodyLimit     int64
	hash          bool
	receiveBuffer int
}

// Option changes what a Server records.
type Option func(*options)

// KeepBodies(false) keeps the size and hash of objects but not their bytes; a GET of them is then
// answered with 500. The default is true.
func KeepBodies(keep bool) Option { return func(o *options) { o.keepBodies = keep } }

// KeepRequests keeps only the last n requests; the default is all.
func KeepRequests(n int) Option { return func(o *options) { o.keepRequests = n } }

// BodyLimit is the size of the largest body kept in a Request; the default is
// 1 MiB.
func BodyLimit(n int64) Option { return func(o *options) { o.bodyLimit = n } }

// NoHash saves the time of SHA-256 and MD5: SHA256 stays empty, and an ETag says no more than the
// size.
func NoHash() Option { return func(o *options) { o.hash = false } }

// ReceiveBuffer sets SO_RCVBUF of the listener and so of every connection from its first byte on:
// the sender notices hangs and ReadRate earlier.
func ReceiveBuffer(n int) Option { return func(o *options) { o.receiveBuffer = n } }

// New starts a Server that is closed when the test ends.
func New(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s := &Server{
		opts:   options{keepBodies: true, keepRequests: -1, bodyLimit: 1 << 20, hash: true},
		conns:  make(map[*conn]struct{}),
		unhang: make(chan struct{}),
	}
	for _, o := range opts {
		o(&s.opts)
	}
	s.changed.L = &s.mu
	s.store = newStore(s.opts)
	var err error
	if s.addr, s.port, err = Reserve(); err != nil {
		t.Fatal(err)
	}
	ln, err := s.listen(s.addr)
	if err != nil {
		s.port()
		t.Fatalf("cannot listen: %v", err)
	}
	s.mu.Lock()
	s.acceptLocked(ln)
	s.mu.Unlock()
	t.Cleanup(s.Close)
	return s
}

// Addr is the host and port that the Server listens on; Down and Up do not change it.
func (s *Server) Addr() string { return s.addr }

// URL is Addr as a backend's URL.
func (s *Server) URL() string { return "http://" + s.addr }

// Close ends everything and waits for every goroutine.
func (s *Server) Close() {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.downLocked()
	s.mu.Unlock()
	s.wg.Wait()
	if !again {
		s.port()
	}
}

// Down stops listening and resets every connection: the backend is dead, and dials are refused.
func (s *Server) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.downLocked()
}

// Up listens again, on the same port.
func (s *Server) Up() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln != nil || s.closed {
		return nil
	}
	ln, err := s.listen(s.addr)
	if err == nil {
		s.acceptLocked(ln)
	}
	return err
}

// RefuseAccept(true) resets each new connection as soon as it is accepted; open ones stay.
func (s *Server) RefuseAccept(refuse bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = refuse
}

// Unhang lets everything that hangs at this moment go on. Whatever hangs later hangs anew: wait for
// StageHeld first.
func (s *Server) Unhang() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.unhang)
	s.unhang = make(chan struct{})
}

// CloseIdle silently closes the connections that are between two requests: the peer's next request
// on one of them finds it stale (R12). It returns their number. A connection is idle once its last
// request has reached StageDone.
func (s *Server) CloseIdle() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for c := range s.conns {
		if c.idle {
			c.kill(false)
			n++
		}
	}
	return n
}

// gone removes a connection that has ended.
func (s *Server) gone(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.bumpLocked()
}

// bumpLocked wakes all who wait for a change.
func (s *Server) bumpLocked() {
	s.version++
	s.changed.Broadcast()
}
