package backends

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/akubra/akubra/internal/nonblock"
)

// Conn is a connection to a backend. One goroutine may write while another one
// reads; Abort may come from any goroutine. Release, Discard or Reset, called once,
// end the use of it.
type Conn struct {
	backend *Backend
	handle  any // HostClient's own connection, around this one

	net.Conn            // nil until Connect
	raw      rawSocket  // for plain TCP
	socket   *tlsSocket // below TLS; else nil
	// The TCP connection below, also under TLS: what ends it there needs no goodbye.
	tcp        net.Conn
	descriptor syscall.RawConn  // tcp's
	lingerFn   func(fd uintptr) // setLinger, made once
	guarded    bool             // its close is a reset (Guard)
	resetting  bool             // Close is Reset's

	reader    *bufio.Reader
	unread    []byte // what the reader has to give first, then unreadErr
	unreadErr error
	outdated  bool // see congestion.Control.Dialled
	// readUntil is the read deadline that is set, in nanoseconds since epoch; 0 is none.
	readUntil atomic.Int64
	reused    bool
	aborted   atomic.Bool
	noWrite   atomic.Bool

	watch      atomic.Uint32 // a watchState
	onReadable func()        // of whoever awaits, then of who runs it
	poller     *poller       // nil where it is not watched
	polled     *polledConn   // what is watched

	mu     sync.Mutex // guards cancel, and Conn against Abort while dialling
	cancel context.CancelFunc
}

// past is a deadline that is over: it ends what is waiting at once, and unlike
// Close its error cannot be taken for the peer's.
var past = time.Unix(1, 0)

var errAborted = errors.New("aborted")

// errUnasked: what it sent is the answer to nothing, and must not become one (R32).
var errUnasked = errors.New("it has sent something that it was not asked for")

// Connect dials and shakes hands, within the backend's dial timeout. A connected
// connection stays as it is. It fails where the peer has ended the connection, or
// spoken on it, already (R32). The error carries the backend's name.
func (c *Conn) Connect() error {
	if c.Conn != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.backend.dialTimeout)
	defer cancel()
	c.mu.Lock()
	c.cancel = cancel
	c.mu.Unlock()
	if c.aborted.Load() {
		return fmt.Errorf("cannot connect to backend %q: %w", c.backend.name, errAborted)
	}
	nc, err := c.dial(ctx)
	if err != nil {
		if c.aborted.Load() {
			err = errAborted
		}
		return fmt.Errorf("cannot connect to backend %q: %w", c.backend.name, err)
	}
	c.mu.Lock()
	c.cancel = nil
	c.Conn = nc
	c.mu.Unlock()
	if c.aborted.Load() {
		_ = nc.SetDeadline(past)
	}
	return nil
}

func (c *Conn) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Control: c.backend.congestion.Dial}
	nc, err := d.DialContext(ctx, "tcp", c.backend.addr)
	if err != nil {
		return nil, err
	}
	c.outdated = c.backend.congestion.Dialled(nonblock.Socket(nc))
	if c.backend.tls == nil {
		nc = c.startWatching(nc)
	}
	c.tcp, c.descriptor, c.lingerFn = nc, nonblock.Socket(nc), c.setLinger
	if c.backend.tls == nil {
		c.raw.open(nc)
		if err := c.raw.look(); err != nil {
			c.stopWatching()
			_ = nc.Close()
			return nil, err
		}
		return nc, nil
	}
	c.socket = newTLSSocket(nc)
	tc := tls.Client(c.socket, c.backend.tls)
	err = tc.HandshakeContext(ctx)
	if err == nil {
		err = c.socket.lookAtNew(ctx, tc)
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return tc, nil
}

// look returns nil if the peer has neither ended the connection nor sent anything that
// was not read (R32). Such bytes that come between this look and the answer cannot be told
// from it: answers of HTTP/1.1 have no names.
func (c *Conn) look() error {
	if tc, ok := c.Conn.(*tls.Conn); ok {
		return c.socket.look(tc, false)
	}
	return c.raw.look()
}

// Reused reports whether a request was sent on this connection before.
func (c *Conn) Reused() bool { return c.reused }

// Alive reports whether the peer has neither closed the connection nor sent anything
// unasked (R32). Nobody may read or write meanwhile.
func (c *Conn) Alive() bool { return c.look() == nil }

// Abort makes a Connect, Read or Write under way, and each later one, fail at
// once. The connection can only be discarded then.
func (c *Conn) Abort() {
	c.aborted.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.cancel()
	}
	if c.Conn != nil {
		_ = c.Conn.SetDeadline(past)
	}
	if c.watch.CompareAndSwap(awaited, running) {
		go c.onReadable() // the caller may have locks
	}
}

// AbortWrite makes a Write under way, and each later one, fail at once.
func (c *Conn) AbortWrite() {
	c.noWrite.Store(true)
	_ = c.Conn.SetWriteDeadline(past)
}

// Release gives the connection back to the backend's pool. One with bytes that
// nobody asked for, or that was aborted, is closed instead, and so is one that has
// another congestion control than its backend turned out to be good for.
func (c *Conn) Release() {
	if c.outdated && c.backend.congestion.Near() || c.aborted.Load() || c.noWrite.Load() || len(c.unread) > 0 || (c.reader != nil && c.reader.Buffered() > 0) {
		c.Discard()
		return
	}
	c.dropReader()
	c.reused = true
	c.toPool()
}

// Discard closes the connection in the ordinary way. Only Reset may end one that has
// part of a message on it.
func (c *Conn) Discard() {
	c.dropReader()
	c.backend.pool.discard(c)
}

func (c *Conn) dropReader() {
	c.unread, c.unreadErr = nil, nil
	if c.reader != nil {
		c.backend.client.ReleaseReader(c.reader)
		c.reader = nil
	}
}

// Close is for HostClient alone, which also closes connections that were never
// connected.
func (c *Conn) Close() error {
	if c.Conn == nil {
		return nil
	}
	c.stopWatching()
	if c.resetting {
		return c.tcp.Close()
	}
	c.Guard(false)
	return c.Conn.Close()
}
