package stub

import (
	"bufio"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/akubra/akubra/http1"
)

var (
	errDropped = errors.New("stub: dropped as a stale connection would")
	errNotRead = errors.New("stub: the body was not read to its end")
	errClosed  = errors.New("stub: the connection was closed from here")
)

// conn serves one connection, in a goroutine of its own. Other goroutines may
// only kill it.
type conn struct {
	s    *Server
	id   int
	nth  int
	nc   *net.TCPConn
	in   pacer
	out  pacer
	br   *bufio.Reader
	bw   *bufio.Writer
	body bodyReader
	sink *sink

	req      *Request // written only by this goroutine, under s.mu
	ended    bool     // its body has ended, one way or another
	idle     bool     // between two requests; guarded by s.mu
	dropNext bool

	once sync.Once
	down chan struct{} // closed by kill
}

func newConn(s *Server, nc *net.TCPConn, id int) *conn {
	c := &conn{s: s, id: id, nc: nc, sink: newSink(s.opts.hash), down: make(chan struct{})}
	c.in = pacer{nc: nc, down: c.down}
	c.out = pacer{nc: nc, down: c.down}
	c.br = bufio.NewReader(&c.in)
	c.bw = bufio.NewWriter(&c.out)
	return c
}

// kill closes the connection, with a reset if requested, and ends all waits.
func (c *conn) kill(reset bool) {
	c.once.Do(func() {
		if reset {
			c.nc.SetLinger(0)
		}
		close(c.down) // first, so that Close's error is known to be our own
		c.nc.Close()
	})
}

func (c *conn) killed() bool {
	select {
	case <-c.down:
		return true
	default:
		return false
	}
}

func (c *conn) serve() {
	defer c.s.gone(c)
	defer c.kill(false)
	for c.one() {
	}
}

// one serves one request and reports whether the connection stays open.
func (c *conn) one() (keep bool) {
	raw, err := readHead(c.br)
	if len(raw) == 0 {
		return false
	}
	c.nth++
	r := &Request{Conn: c.id, Nth: c.nth, RawHead: raw, Length: -1, Began: time.Now()}
	headErr := err
	if err == nil {
		err = r.parseRequest()
	}
	if err == nil && c.dropNext {
		err = errDropped
	}
	c.begin(r, http1.Unexpected(err))
	switch {
	case err == nil:
		seen := *r
		b := c.s.choose(&seen)
		keep = c.exchange(&b)
	case errors.Is(err, ErrMalformed):
		c.answer(errorAnswer(400), &Behaviour{Then: SayClose})
	case headErr != nil && !c.killed():
		c.note(func(r *Request) {
			r.Aborted = true
			c.s.counts.Aborted++
		})
	}
	c.finish(keep)
	return keep
}

func (c *conn) begin(r *Request, err error) {
	c.ended = err != nil
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	r.Err = err
	c.req, c.idle = r, false
	c.s.rememberLocked(r)
	c.s.bumpLocked()
}

// finish completes the record of a request, and closes the connection unless it is kept.
func (c *conn) finish(keep bool) {
	if !c.ended {
		c.bodyEnded(errNotRead)
	}
	if !keep {
		c.kill(false) // before it is reported, so that whoever waited finds it closed
	}
	c.in.rate, c.out.rate = 0, 0
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.req.Stage, c.req.Ended = StageDone, time.Now()
	c.idle = keep
	c.s.bumpLocked()
}

// note records what has become of the request.
func (c *conn) note(f func(*Request)) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	f(c.req)
	c.s.bumpLocked()
}
