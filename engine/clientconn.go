package engine

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/engine/pipes"
	"github.com/akubra/akubra/internal/nonblock"
)

// What the server waits for on a client's connection, which says how long.
const (
	waitRequest int32 = iota // for the first byte of a request: idleTimeout
	waitHead                 // for the rest of its head: headTimeout in all
	waitBody                 // for more of its body: bodyTimeout between two reads
)

// Bounds against clients that hold connections and say nothing (R23).
const (
	firstTimeout = 10 * time.Second // for the first byte of a connection
	idleTimeout  = 75 * time.Second // or an eighth less
	headTimeout  = 30 * time.Second
	bodyTimeout  = 60 * time.Second
	sendTimeout  = 60 * time.Second // the client takes nothing of its answer

	// lazyWait is how long a small body is waited for before its legs start
	// without it: in one piece it costs a write a backend.
	lazyWait = 2 * time.Millisecond

	// firstBytes is how much of a request is read at first: a small object comes
	// along, and of a larger one little goes through the server's buffer. After one
	// whose body could go through pipes it is pageBytes, for the next may be alike:
	// a page, because a message of 64 KiB just so fits into one of the system's
	// packets, which hold 17 pages, if nothing puts them out of line (bench/NOTES.md).
	firstBytes = 8 << 10
	pageBytes  = 4 << 10

	// How long what a client sends is thrown away so that it gets its answer (R7): as
	// long as something comes, up to a bound that is the first one at shutdown.
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
	raw   syscall.RawConn
	plain bool // no TLS on top of it

	wait int32 // one of the wait* values; of the server's goroutine
	// beforeWait is called once, by the reading goroutine, when a read of the
	// body has waited for lazyWait.
	beforeWait  func()
	interrupted atomic.Bool
	hurried     atomic.Bool // see hurry
	linger      bool        // unread bytes may be on their way: see Close
	large       bool        // the last request's body was of minGathered bytes or more
	eof         bool        // the client has closed its side

	// spliceTo, unless 0, is the pipe that reads move their bytes to: they
	// return their number alone. spliced: the last one did. beforeSplice is called
	// once, before the first; it may take spliceTo back.
	spliceTo     int
	spliced      bool
	beforeSplice func()

	// goesOn: what is written is not the end of an answer, and long enough for its own end
	// to be held back until a packet is full (minHeld).
	goesOn bool

	// void: what the server writes next is not sent, since another answer was, or
	// is going to be (answer_pass.go). owed is about one that is going to be
	// (clientconn_owed.go).
	void bool
	owed owedAnswer

	serving *request // what the server's goroutine is the handler of, for its panic

	readFn, writeFn   func(fd uintptr) bool
	writeNowFn        func(fd uintptr)
	readBuf, writeBuf []byte
	readN, writeN     int
	readErr, writeErr error
	// readTried and writeTried: the socket was asked, the deadline was not
	// over before.
	readTried, writeTried bool
	headBegun             bool
	idleUntil             time.Time // the read deadline, if it was set while waiting for a request

	closed sync.Once

	door      *listener // that it came by
	forsaken  *request  // its body did not come, see pending; of the server's goroutine
	place     int       // among the listener's connections, or -1; under its lock
	quietness atomic.Int64
	fresh     bool // nothing has come yet
	pace      pace // of the body that is being read
	sendPace  pace // of the answer that is being sent; of who sends it
}

func newClientConn(nc net.Conn, d *listener) net.Conn {
	raw := nonblock.Socket(nc)
	if raw == nil {
		return nc
	}
	c := &clientConn{Conn: nc, raw: raw, plain: d.tls == nil, door: d, fresh: true}
	c.quietness.Store(int64(idleSince(d.e.now())))
	d.enter(c)
	c.readFn, c.writeFn = c.readOnce, c.writeOnce
	c.writeNowFn = func(fd uintptr) { c.writeN, c.writeErr = tryWrite(int(fd), c.writeBuf, false) }
	return c
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// Read reads what has arrived, or waits as long as the state allows.
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
	err := c.tryRead(p)
	for isTimeout(err) && !c.interrupted.Load() {
		if f := c.beforeWait; c.readTried && f != nil {
			c.beforeWait = nil
			f()
		} else if c.readTried && c.owed.isOut() {
			c.awaitAnswer() // idle from then on
		} else if c.readTried {
			break
		}
		// Or the deadline of an earlier wait has passed meanwhile: while the
		// ring was full, say. Nothing was waited for now.
		c.setReadDeadline(time.Time{})
		err = c.tryRead(p)
	}
	if err != nil {
		c.noteFailedRead(err)
		return 0, err
	}
	if c.readN == 0 {
		c.eof = true
		return 0, io.EOF
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
		c.pace.move(c.readN)
	}
	return c.readN, nil
}

// noteFailedRead counts a connection that ends because its client was waited for in vain.
func (c *clientConn) noteFailedRead(err error) {
	if !isTimeout(err) {
		return
	}
	switch gone := c.quiet() == evicted; {
	case c.wait == waitRequest && c.fresh && gone:
		c.dismiss(errTooManyConnections)
	case c.interrupted.Load():
	case c.wait == waitRequest && c.fresh:
		c.door.cut(cutSilent)
		c.dismiss(errRequestTimeout)
	case c.wait == waitHead:
		c.door.cut(cutHead)
	case c.wait == waitBody:
		c.door.cut(cutBody)
	}
}

func (c *clientConn) tryRead(p []byte) error {
	c.readBuf, c.readTried = p, false
	err := c.raw.Read(c.readFn)
	c.readBuf = nil
	if err == nil {
		err = c.readErr
	}
	return err
}

func (c *clientConn) readOnce(fd uintptr) bool {
	c.readTried = true
	if !c.pace.since.IsZero() {
		c.pace.resume(time.Now())
	}
	if f := c.beforeSplice; c.spliceTo != 0 && f != nil {
		c.beforeSplice = nil
		f()
	}
	for {
		if c.spliced = c.spliceTo != 0; c.spliced {
			c.readN, c.readErr = pipes.FromSocket(int(fd), c.spliceTo, len(c.readBuf))
		} else {
			c.readN, c.readErr = nonblock.Receive(int(fd), c.readBuf)
		}
		switch c.readErr {
		case unix.EINTR:
		case unix.EAGAIN:
			c.readErr = nil
			c.beforeReadWait()
			return false
		default:
			return true
		}
	}
}

// beforeReadWait runs right before the goroutine parks until bytes arrive.
func (c *clientConn) beforeReadWait() {
	switch c.wait {
	case waitRequest:
		now, timeout := time.Now(), idleTimeout
		if c.fresh {
			timeout = c.door.e.o.firstTimeout
		}
		// Moving a deadline costs more than looking whether it has to be moved.
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
	case waitBody:
		now := time.Now()
		until := c.pace.wait(now, bodyTimeout)
		if c.beforeWait != nil {
			until = now.Add(lazyWait)
		}
		c.setReadDeadline(until)
	}
	if c.interrupted.Load() {
		_ = c.Conn.SetReadDeadline(past)
	}
}

// setReadDeadline is for the reading goroutine.
func (c *clientConn) setReadDeadline(t time.Time) {
	c.idleUntil = time.Time{}
	_ = c.Conn.SetReadDeadline(t)
}

// Write is for the server: it sends p, unless that is to go into the void.
func (c *clientConn) Write(p []byte) (int, error) {
	if c.void && c.plain { // over TLS it is tlsConn that looks
		c.void = false
		return len(p), nil
	}
	return c.send(p)
}

// sendNow sends what the socket takes of p at once.
func (c *clientConn) sendNow(p []byte) (int, error) {
	c.writeBuf = p
	err := c.raw.Control(c.writeNowFn)
	c.writeBuf = nil
	if err != nil {
		return 0, err
	}
	return c.writeN, c.writeErr
}

// send sends p; the client has sendTimeout to take some of it.
func (c *clientConn) send(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		err := c.tryWrite(p[sent:])
		if isTimeout(err) && !c.hurried.Load() {
			_ = c.Conn.SetWriteDeadline(time.Time{}) // as in Read
			if !c.writeTried {
				continue
			}
			err = c.sendMore(p[sent:])
		}
		if err != nil {
			return sent, err
		}
		sent += c.writeN
		c.sendPace.move(c.writeN)
	}
	return sent, nil
}

// sendMore sends some of p after a wait that was too long: the system calls a socket
// ready for more only when a third of its buffer is free again, which takes a client
// that is slow, but none too slow, longer than that.
func (c *clientConn) sendMore(p []byte) error {
	n, err := 0, error(os.ErrDeadlineExceeded)
	if !c.sendPace.tooSlow() {
		if n, err = c.sendNow(p); n == 0 && err == nil {
			err = os.ErrDeadlineExceeded
		}
	}
	if isTimeout(err) {
		c.door.cut(cutAnswer)
	}
	return err
}

func (c *clientConn) tryWrite(p []byte) error {
	c.writeBuf, c.writeTried = p, false
	err := c.raw.Write(c.writeFn)
	c.writeBuf = nil
	if err == nil {
		err = c.writeErr
	}
	return err
}

func (c *clientConn) writeOnce(fd uintptr) bool {
	c.writeTried = true
	if !c.sendPace.since.IsZero() {
		c.sendPace.resume(time.Now())
	}
	c.writeN, c.writeErr = tryWrite(int(fd), c.writeBuf, c.goesOn)
	if c.writeN > 0 || c.writeErr != nil {
		return true
	}
	_ = c.Conn.SetWriteDeadline(c.sendPace.wait(time.Now(), sendTimeout))
	if c.hurried.Load() {
		_ = c.Conn.SetWriteDeadline(past)
	}
	return false
}

// tryWrite writes what the socket takes at once; 0 without an error is nothing.
func tryWrite(fd int, p []byte, goesOn bool) (int, error) {
	send := nonblock.Send
	if goesOn {
		send = nonblock.SendMore
	}
	for {
		n, err := send(fd, p)
		switch err {
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, nil
		default:
			return n, err
		}
	}
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
	c.pace = paceOf(&c.door.e.o)
}

func (c *clientConn) endBody() { c.beforeWait = nil }

// endRequest: the next bytes are another request's. bodySize is that of the one that
// has ended.
func (c *clientConn) endRequest(bodySize int64) {
	c.large = bodySize >= minGathered
	c.wait = waitRequest
	c.pace = pace{}
	c.sendPace = paceOf(&c.door.e.o)
}

// interrupt makes the read under way, and each later one, fail at once. The
// connection can only be closed then.
func (c *clientConn) interrupt() {
	c.interrupted.Store(true)
	_ = c.Conn.SetReadDeadline(past)
}

// hurry makes a write that waits for the client fail at once, and each later one
// that would have to wait: an answer that fits still goes out (R22).
func (c *clientConn) hurry() {
	c.hurried.Store(true)
	_ = c.Conn.SetWriteDeadline(past)
}

// Close closes the connection. Where the client may still be sending, closing
// at once would reset the connection and destroy the answer on its way: so the
// sending side is closed first, and what arrives is thrown away for a bounded
// time and amount (R7).
//
// Where an answer is owed, it closes once that is paid.
func (c *clientConn) Close() error {
	if c.owed.tryPutOff() {
		return nil
	}
	err := net.ErrClosed
	c.closed.Do(func() {
		if r := c.forsaken; r != nil {
			c.forsaken = nil
			r.forsaken()
		}
		if c.linger && !c.eof {
			c.drain()
		}
		err = c.Conn.Close()
		c.door.leave(c)
	})
	return err
}

// reset closes the connection so that the client cannot take what it has for a
// whole answer.
func (c *clientConn) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.linger = false
	_ = c.Close()
}

func (c *clientConn) drain() {
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok || tcp.CloseWrite() != nil {
		return
	}
	buf := copyBuffers.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer copyBuffers.Put(buf)
	begun := time.Now()
	c.setQuiet(slowSince(c.engineTime(begun)))
	for left := lingerBytes; left > 0; {
		spent := time.Since(begun)
		if spent > lingerTime || spent > lingerPause && c.door.e.stopping.Load() || c.quiet() == evicted {
			return
		}
		_ = tcp.SetReadDeadline(begun.Add(spent + lingerPause))
		n, err := tcp.Read(*buf)
		if err != nil {
			return
		}
		left -= n
	}
}

// isTimeout reports whether err is a deadline that passed.
func isTimeout(err error) bool {
	if err == nil {
		return false
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
