// Package stub is an S3-like storage for tests, one that misbehaves on command.
//
// It speaks HTTP/1.1 over raw TCP with its own small parser, so that a test
// sees exactly the bytes that arrived and says exactly which bytes go back.
// Unless told otherwise it is a little object store: what is put arrives whole
// or is not stored at all. Dial gives the other end, a raw HTTP client.
//
// A Server owns its listener, one goroutine that accepts, and one goroutine a
// connection; Close (New calls it when the test ends) ends and awaits them all.
// Every method of a Server may be called from any goroutine, from within the
// condition of Wait too, and all but Close from within BehaveFunc. Only Wait and
// WaitDone belong to the test's own goroutine, since they may end the test.
// What Requests, Object and Objects give is a copy, or never changes again.
package stub

import (
	"fmt"
	"net"
	"sync"
	"testing"
)

// Server is one stub storage.
type Server struct {
	opts  options
	addr  string
	port  func() // gives the port of addr back, which is the Server's while it is down, too
	store *store
	wg    sync.WaitGroup

	mu      sync.Mutex
	changed sync.Cond // of mu; version has grown
	version uint64

	ln     *net.TCPListener // nil while down
	closed bool
	refuse bool
	conns  map[*conn]struct{}
	unhang chan struct{} // closed and replaced by Unhang
	always func(*Request) Behaviour
	next   []Behaviour
	log    []*Request // guarded by mu, contents too
	counts Counts
}

type options struct {
	keepBodies    bool
	keepRequests  int
	bodyLimit     int64
	hash          bool
	receiveBuffer int
}

// Option changes how a Server keeps its books.
type Option func(*options)

// KeepBodies(false) keeps the size and hash of objects, not their bytes; a GET
// of them is then answered 500. The default is true.
func KeepBodies(keep bool) Option { return func(o *options) { o.keepBodies = keep } }

// KeepRequests keeps only the last n requests; the default is all of them.
func KeepRequests(n int) Option { return func(o *options) { o.keepRequests = n } }

// BodyLimit is the size of the largest body kept in a Request; the default is
// 1 MiB.
func BodyLimit(n int64) Option { return func(o *options) { o.bodyLimit = n } }

// NoHash saves the time of SHA-256 and MD5: SHA256 stays empty, and an ETag
// tells no more than the size.
func NoHash() Option { return func(o *options) { o.hash = false } }

// ReceiveBuffer sets SO_RCVBUF of the listener, and so of every connection from
// its first byte on: hangs and ReadRate are then felt by the sender earlier.
func ReceiveBuffer(n int) Option { return func(o *options) { o.receiveBuffer = n } }

// New starts a Server that is closed when the test ends.
func New(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s, err := Start(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Start is New for programs that are no tests; the caller closes the Server.
func Start(opts ...Option) (*Server, error) {
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
		return nil, err
	}
	ln, err := s.listen(s.addr)
	if err != nil {
		s.port()
		return nil, fmt.Errorf("cannot listen: %w", err)
	}
	s.mu.Lock()
	s.acceptLocked(ln)
	s.mu.Unlock()
	return s, nil
}

// Addr is the host and port the Server listens on, the same over Down and Up.
func (s *Server) Addr() string { return s.addr }

// URL is Addr as a backend's URL.
func (s *Server) URL() string { return "http://" + s.addr }

// Close ends everything and waits for the end of every goroutine.
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

// Down stops listening and resets every connection: the storage is dead, a dial
// is refused.
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

// RefuseAccept(true) resets each new connection as soon as it is accepted;
// those that are open stay.
func (s *Server) RefuseAccept(refuse bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = refuse
}

// Unhang lets everything that hangs at this moment go on. What comes to hang
// later hangs anew: wait for StageHeld first.
func (s *Server) Unhang() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.unhang)
	s.unhang = make(chan struct{})
}

// CloseIdle closes the connections that are between two requests, silently: the
// peer's next request on one of them finds it stale (R12). It returns how many
// there were; each was idle once its last request had come to StageDone.
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

// gone takes a connection that has ended off the books.
func (s *Server) gone(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.bumpLocked()
}

// bumpLocked wakes those who wait for a change.
func (s *Server) bumpLocked() {
	s.version++
	s.changed.Broadcast()
}
