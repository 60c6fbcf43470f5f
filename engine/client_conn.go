package engine

import (
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/akubra/akubra/internal/netio"
)

// What the server is waiting for on a client's connection; it determines for how long.
const (
	waitRequest int32 = iota // for the first byte of a request: idleTimeout
	waitHead                 // for the rest of its head: headTimeout in all
	waitBody                 // for more of its body: bodyTimeout between two reads
)

// Bounds on clients that hold connections without saying anything (R23).
const (
	firstTimeout = 10 * time.Second // for the first byte of a connection
	idleTimeout  = 75 * time.Second // or an eighth less
	headTimeout  = 30 * time.Second
	bodyTimeout  = 60 * time.Second
	sendTimeout  = 60 * time.Second // the client takes nothing of its answer

	// lazyWait is how long to wait for a small body before starting the legs without it: sent in
	// one piece it needs only one write per backend.
	lazyWait = 2 * time.Millisecond

	// firstBytes is how much of a request is read at first: enough to bring a small object along,
	// and little enough that most of a larger one bypasses the server's buffer. After a request
	// whose body could go through pipes it is pageBytes, because the next one may be alike: a
	// page, since a message of 64 KiB just fits into one of the system's packets, which hold 17
	// pages, if nothing displaces them (bench/NOTES.md).
	firstBytes = 8 << 10
	pageBytes  = 4 << 10

	// How long to discard what a client still sends so that it gets its answer (R7): as long as
	// something arrives, up to a bound. At shutdown the bound is the first of the two.
	lingerPause = 2 * time.Second
	lingerTime  = 20 * time.Second
	lingerBytes = 1 << 30
)

// clientConn is a client's TCP connection as the server uses it. It reads and
// writes the socket itself, so that it knows when a call would have to wait, and
// only then sets a deadline: a request that arrives in one piece costs none.
//
// The server's goroutine reads and writes; interrupt and hurry may come from any.
type clientConn struct {
	net.Conn
	sock  netio.Socket
	plain bool // no TLS on top of it

	wait int32 // one of the wait* values; of the server's goroutine
	// beforeWait is called once, by the reading goroutine, when a read of the body has waited for
	// lazyWait.
	beforeWait func()
	linger     bool // unread bytes may be on their way: see Close
	large      bool // the last request's body was of minGathered bytes or more
	eof        bool // the client has closed its side

	// spliceTo, unless 0, is the pipe that reads move their bytes to; they return only the number.
	// spliced says that the last read did so. beforeSplice is called once, before the first such
	// read; it may take spliceTo back.
	spliceTo     int
	spliced      bool
	beforeSplice func()

	// goesOn says that what is being written is not the end of an answer, and long enough for its
	// last part to be held back until a packet is full (minHeld).
	goesOn bool

	// dropNext says that the server's next write is not sent, because another answer was or will
	// be sent (answer_pass.go). pending is the state of an answer that will be sent
	// (client_pending.go).
	dropNext bool
	pending  pendingAnswer

	serving *request    // what the server's goroutine is the handler of, for its panic
	o       *generation // of the request that was begun last

	headBegun bool
	idleUntil time.Time // the read deadline, if it was set while waiting for a request

	closed sync.Once

	door      *listener // that it came by
	forsaken  *request  // its body did not come, see pending; of the server's goroutine
	answers   bool      // forsaken has an answer for the client
	place     int       // among the listener's connections, or -1; under its lock
	quietness atomic.Int64
	fresh     bool         // nothing has come yet
	silent    atomic.Int64 // since when a body has been waited for, see client_silent.go
	spared    bool         // another request has its place; of the server's goroutine
	pace      pace         // of the body that is being read
	sendPace  pace         // of the answer that is being sent; of who sends it
}

func newClientConn(nc net.Conn, d *listener) net.Conn {
	c := &clientConn{Conn: nc, plain: d.tls == nil, door: d, fresh: true}
	if !c.sock.Open(nc) {
		return nc
	}
	c.sock.BeforeReceive, c.sock.BeforeSend = c.beforeReceive, c.beforeSend
	c.quietness.Store(int64(idleSince(d.e.now())))
	d.enter(c)
	return c
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// Read returns what has arrived, or waits for as long as the state allows.
func (c *clientConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.plain && c.wait == waitRequest {
		n := firstBytes
		if c.large {
			n = pageBytes
		}
		p = p[:min(len(p), n)]
	}
	n, err := c.receive(p)
	for isTimeout(err) && !c.interrupted() {
		tried := c.sock.ReceiveTried()
		if f := c.beforeWait; tried && f != nil {
			c.beforeWait = nil
			f()
		} else if tried && c.pending.isOut() {
			c.awaitAnswer() // idle from then on
		} else if tried {
			break
		}
		// Or the deadline of an earlier wait has passed since, for example while the ring was
		// full; nothing was being waited for now.
		c.setReadDeadline(time.Time{})
		n, err = c.receive(p)
	}
	c.endSilence()
	if err != nil {
		c.eof = c.eof || err == io.EOF
		c.noteFailedRead(err)
		return 0, err
	}
	switch c.wait {
	case waitRequest:
		c.wait = waitHead
		c.headBegun = false
		c.fresh = false
		if !c.setQuiet(busy) { // its place is another one's already
			c.dismiss(errTooManyConnections)
			return 0, os.ErrDeadlineExceeded
		}
	case waitBody:
		c.pace.move(n)
	}
	return n, nil
}

// noteFailedRead counts a connection that ends because waiting for its client was in vain.
func (c *clientConn) noteFailedRead(err error) {
	if !isTimeout(err) {
		return
	}
	switch gone := c.quiet() == evicted; {
	case c.wait == waitRequest && c.fresh && gone && !c.door.e.stopping.Load():
		c.dismiss(errTooManyConnections)
	case c.interrupted():
	case c.wait == waitRequest && c.fresh:
		c.door.cut(cutSilent)
		c.dismiss(errRequestTimeout)
	case c.wait == waitHead:
		c.door.cut(cutHead)
	case c.wait == waitBody:
		c.door.cut(cutBody)
	}
}

// receive reads into p, or into the pipe that was asked for.
func (c *clientConn) receive(p []byte) (int, error) {
	if f := c.beforeSplice; c.spliceTo != 0 && f != nil {
		c.beforeSplice = nil
		f()
	}
	piece := netio.Piece{Bytes: p}
	if c.spliced = c.spliceTo != 0; c.spliced {
		piece = netio.Piece{Pipe: c.spliceTo, Size: len(p)}
	}
	n, err := c.sock.Receive(piece)
	c.pace.resumeNow()
	return n, err
}

// beforeReceive runs right before the goroutine parks until bytes arrive.
func (c *clientConn) beforeReceive() {
	switch c.wait {
	case waitRequest:
		now, timeout := time.Now(), idleTimeout
		if c.fresh {
			timeout = c.door.e.o.firstTimeout
		}
		// Moving a deadline costs more than checking whether it has to be moved.
		if c.idleUntil.Sub(now) < timeout-timeout/8 {
			until := now.Add(timeout)
			c.setReadDeadline(until)
			c.idleUntil = until
		}
		c.setQuiet(idleSince(c.engineTime(now)))
	case waitHead:
		if !c.headBegun {
			c.headBegun = true
			now := time.Now()
			c.setReadDeadline(now.Add(headTimeout))
			c.setQuiet(slowSince(c.engineTime(now)))
		}
		if c.serving != nil { // it was told to go on
			c.beginSilence(time.Now())
		}
	case waitBody:
		now := time.Now()
		until := c.pace.wait(now, bodyTimeout)
		if c.beforeWait != nil {
			until = now.Add(lazyWait)
		}
		c.setReadDeadline(until)
		c.beginSilence(now)
	}
}

// setReadDeadline is for the reading goroutine.
func (c *clientConn) setReadDeadline(t time.Time) {
	c.idleUntil = time.Time{}
	c.sock.SetReadDeadline(t)
}

// Write is for the server: it sends p, or drops it if dropNext is set.
func (c *clientConn) Write(p []byte) (int, error) {
	if c.dropNext && c.plain { // over TLS it is tlsConn that looks
		c.dropNext = false
		return len(p), nil
	}
	return c.send(p)
}

// sendNow sends what the socket takes of p without waiting.
func (c *clientConn) sendNow(p []byte) (int, error) { return c.sock.SendNow(netio.Piece{Bytes: p}) }

// send sends p; it fails if the client takes none of it for sendTimeout.
func (c *clientConn) send(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		n, err := c.sock.Send(netio.Piece{Bytes: p[sent:], More: c.goesOn})
		switch {
		case !isTimeout(err):
		case c.sock.SendingStopped(): // see hurry; the socket may not have been asked at all
			if n, err = c.sendNow(p[sent:]); n == 0 && err == nil {
				err = os.ErrDeadlineExceeded
			}
		default:
			c.sock.SetWriteDeadline(time.Time{}) // as in Read
			if !c.sock.SendTried() {
				continue
			}
			n, err = c.sendMore(p[sent:])
		}
		if err != nil {
			return sent, err
		}
		c.sendPace.resumeNow()
		c.sendPace.move(n)
		sent += n
	}
	return sent, nil
}

// sendMore sends more of p after a wait that was too long. The system reports a socket as writable
// only once a third of its buffer is free, which takes longer than that with a client that is
// slow, but not too slow.
func (c *clientConn) sendMore(p []byte) (n int, err error) {
	err = os.ErrDeadlineExceeded
	if !c.sendPace.tooSlow() {
		if n, err = c.sendNow(p); n == 0 && err == nil {
			err = os.ErrDeadlineExceeded
		}
	}
	if isTimeout(err) {
		c.door.cut(cutAnswer)
	}
	return n, err
}

// beforeSend runs right before the goroutine parks until the socket takes more.
func (c *clientConn) beforeSend() {
	c.sock.SetWriteDeadline(c.sendPace.wait(time.Now(), sendTimeout))
}

// SetReadDeadline, SetWriteDeadline and SetDeadline do nothing: the deadlines
// are this type's own, set where it waits.
func (c *clientConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing, see SetReadDeadline.
func (c *clientConn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline does nothing, see SetReadDeadline.
func (c *clientConn) SetDeadline(time.Time) error { return nil }

// beginBody and endBody bracket the reading of a request's body. beforeWait may
// be nil.
func (c *clientConn) beginBody(beforeWait func()) {
	c.wait = waitBody
	c.beforeWait = beforeWait
	c.pace = paceOf(&c.o.Options)
}

func (c *clientConn) endBody() { c.beforeWait = nil }

// endRequest says that the next bytes belong to another request. bodySize is that of the request
// that has ended.
func (c *clientConn) endRequest(bodySize int64) {
	c.large = bodySize >= minGathered
	c.wait = waitRequest
	c.pace = pace{}
	c.sendPace = paceOf(&c.o.Options)
}

// isTimeout reports whether err is a deadline that has passed.
func isTimeout(err error) bool { return netio.IsTimeout(err) }
