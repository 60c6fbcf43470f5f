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

	"github.com/akubra/akubra/internal/netio"
	"github.com/akubra/akubra/internal/nonblock"
)

// Conn is a connection to a backend. One goroutine may write while another one
// reads; Abort may come from any goroutine. Release, Discard or Reset, called once,
// end the use of it.
type Conn struct {
	backend *Backend
	handle  any // HostClient's own connection, around this one

	net.Conn  // nil until Connect
	sock      netio.Socket
	tls       *tlsSocket // between the socket and TLS; else nil
	resetting bool       // Close is Reset's

	reader    *bufio.Reader
	unread    []byte // what the reader has to give first, then unreadErr
	unreadErr error
	outdated  bool // see congestion.Control.Dialled
	// readUntil is the read deadline that is set, in nanoseconds since epoch; 0 is none.
	readUntil atomic.Int64
	reused    bool

	mu     sync.Mutex // guards cancel, and sock against Abort while dialling
	cancel context.CancelFunc
}

var errAborted = errors.New("aborted")

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
	if c.aborted() {
		return fmt.Errorf("cannot connect to backend %q: %w", c.backend.name, errAborted)
	}
	nc, err := c.dial(ctx)
	if err != nil {
		if c.aborted() {
			err = errAborted
		}
		return fmt.Errorf("cannot connect to backend %q: %w", c.backend.name, err)
	}
	c.mu.Lock()
	c.cancel = nil
	c.mu.Unlock()
	c.Conn = nc
	return nil
}

func (c *Conn) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Control: c.backend.congestion.Dial}
	nc, err := d.DialContext(ctx, "tcp", c.backend.addr)
	if err != nil {
		return nil, err
	}
	c.outdated = c.backend.congestion.Dialled(nonblock.Socket(nc))
	watcher := c.backend.watcher
	if c.backend.tls != nil {
		watcher = nil
	}
	c.mu.Lock()
	watcher.Open(&c.sock, nc)
	c.mu.Unlock()
	nc = c.sock.NetConn()
	if c.backend.tls == nil {
		if err := c.sock.Look(); err != nil {
			_ = nc.Close()
			return nil, err
		}
		return nc, nil
	}
	c.tls = &tlsSocket{Conn: nc, sock: &c.sock}
	tc := tls.Client(c.tls, c.backend.tls)
	err = tc.HandshakeContext(ctx)
	if err == nil {
		err = c.tls.lookAtNew(ctx, tc)
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
		return c.tls.look(tc, false)
	}
	return c.sock.Look()
}

// Reused reports whether a request was sent on this connection before.
func (c *Conn) Reused() bool { return c.reused }

// takeUp notes that an idle connection is in use again. It is false where the peer has
// ended it, or sent something unasked.
func (c *Conn) takeUp() bool {
	c.sock.TakeUp()
	return c.Alive()
}

// Alive reports whether the peer has neither closed the connection nor sent anything
// unasked (R32). Nobody may read or write meanwhile.
func (c *Conn) Alive() bool { return c.look() == nil }

// Await is netio.Socket's, of a connection that is Reused. Only plain connections can be
// awaited, where the backend has a Watcher that can.
func (c *Conn) Await(f func() (next func())) bool { return c.sock.Await(f) }

// Abort makes a Connect, Read or Write under way, and each later one, fail at
// once. The connection can only be discarded then.
func (c *Conn) Abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sock.Stop()
	if c.cancel != nil {
		c.cancel()
	}
}

func (c *Conn) aborted() bool { return c.sock.ReceivingStopped() }

// AbortWrite makes a Write under way, and each later one, fail at once.
func (c *Conn) AbortWrite() { c.sock.StopSending() }

// Release gives the connection back to the backend's pool. One with bytes that
// nobody asked for, or that was aborted, is closed instead, and so is one that has
// another congestion control than its backend turned out to be good for.
func (c *Conn) Release() {
	if c.outdated && c.backend.congestion.Near() || c.aborted() || c.sock.SendingStopped() || len(c.unread) > 0 || (c.reader != nil && c.reader.Buffered() > 0) {
		c.Discard()
		return
	}
	c.dropReader()
	c.reused = true
	c.sock.PutDown()
	c.backend.pool.release(c)
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
	if c.resetting {
		return c.sock.NetConn().Close() // below TLS: there is no goodbye
	}
	c.Guard(false)
	return c.Conn.Close()
}

// A backend must never take the end of a connection for the end of a body: some
// storages store what has come by then as a whole object. So a connection that is
// given up with part of a message on it is reset, never closed in the ordinary way (R31).

// Guard has the system reset the connection if this process dies, or takes that back.
// It belongs around a message that takes more than one write. Whoever writes calls it,
// before the first write; a connection that is guarded already costs no system call.
func (c *Conn) Guard(on bool) { c.sock.ResetOnClose(on) }

// Reset closes the connection by a reset: what has not been acknowledged yet is dropped,
// and the backend's next read fails, over TLS without a close_notify before.
func (c *Conn) Reset() {
	c.Guard(true)
	c.resetting = true
	c.Discard()
}
