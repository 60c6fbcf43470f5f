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
	"time"

	"github.com/akubra/akubra/internal/netio"
	"github.com/akubra/akubra/internal/nonblock"
)

// Conn is a connection to a backend. One goroutine may write while another one reads; Abort may be
// called from any goroutine. Exactly one call of Release, Discard or Reset ends its use.
type Conn struct {
	backend *Backend
	handle  any // HostClient's own connection, which wraps this one

	net.Conn  // nil until Connect
	sock      netio.Socket
	tls       *tlsSocket  // between the socket and TLS; else nil
	agreed    *tls.Config // that the handshake was made with; nil without TLS
	resetting bool        // Reset is closing the connection

	reader    *bufio.Reader
	unread    []byte // what the reader gets first, followed by unreadErr
	unreadErr error
	outdated  bool // see congestion.Control.Dialled
	// readUntil is the read deadline in nanoseconds since epoch; 0 means none.
	readUntil atomic.Int64
	reused    bool

	mu     sync.Mutex // guards cancel, and sock against an Abort during dialing
	cancel context.CancelFunc
}

var errAborted = errors.New("aborted")

// Connect dials and does the TLS handshake within the backend's dial timeout. It does nothing if
// the connection is already connected. It fails if the peer has already closed the new connection
// or sent something on it (R32). The error names the backend.
func (c *Conn) Connect() error {
	if c.Conn != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.backend.dialTimeout.Load()))
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

// keepAlive keeps flows through middleboxes that forget those on which nothing moves, and finds out idle
// connections whose link was cut.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}

func (c *Conn) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Control: c.backend.congestion.Dial, KeepAliveConfig: keepAlive}
	nc, err := d.DialContext(ctx, "tcp", c.backend.addr)
	if err != nil {
		return nil, err
	}
	netio.SetUserTimeout(nc, time.Duration(c.backend.userTimeout.Load()))
	c.outdated = c.backend.congestion.Dialled(nonblock.Socket(nc))
	watcher := c.backend.watcher
	c.agreed = c.backend.tls.Load()
	if c.agreed != nil {
		watcher = nil
	}
	c.mu.Lock()
	watcher.Open(&c.sock, nc)
	c.mu.Unlock()
	nc = c.sock.NetConn()
	if c.agreed == nil {
		if err := c.sock.Look(); err != nil {
			_ = nc.Close()
			return nil, err
		}
		return nc, nil
	}
	c.mu.Lock()
	c.tls = &tlsSocket{Conn: nc, sock: &c.sock}
	c.mu.Unlock()
	tc := tls.Client(c.tls, c.agreed)
	err = tc.HandshakeContext(ctx)
	if err == nil {
		c.backend.certificate.Store(tc.ConnectionState().PeerCertificates[0].NotAfter.Unix())
		err = c.tls.lookAtNew(ctx, tc)
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return tc, nil
}

// Reused reports whether a request was sent on this connection before.
func (c *Conn) Reused() bool { return c.reused }

// takeUp marks an idle connection as in use again. It returns false if the peer has closed it or
// sent something unasked, on others neither (strays), or if TLS would be agreed on in another way
// now.
func (c *Conn) takeUp() bool {
	c.sock.TakeUp()
	return c.isTrusted() && !c.backend.strays.recent() && c.Alive()
}

// isTrusted reports whether the connection was made with the backend's current TLS configuration.
func (c *Conn) isTrusted() bool { return c.tls == nil || c.agreed == c.backend.tls.Load() }

// Alive reports whether the peer has neither closed the connection nor sent anything unasked (R32).
// Nobody may read or write during the call.
func (c *Conn) Alive() bool { return c.look() == nil }

// Await is netio.Socket.Await for a connection that is Reused. It works only on plain connections
// whose backend has a Watcher.
func (c *Conn) Await(f func() (next func())) bool { return c.sock.Await(f) }

// Abort makes a Connect, Read or Write in progress, and every later one, fail at once. The only
// thing left to do with the connection is to discard it.
func (c *Conn) Abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sock.Stop()
	if c.cancel != nil {
		c.cancel()
	}
}

func (c *Conn) aborted() bool { return c.sock.ReceivingStopped() }

// AbortWrite makes a Write in progress, and every later one, fail at once.
func (c *Conn) AbortWrite() { c.sock.StopSending() }

// Release returns the connection to the backend's pool. It closes the connection instead if it was
// aborted, if bytes that nobody asked for are buffered, or if since it was dialed the backend has
// turned out to need another congestion control, was given another TLS configuration, or has sent
// bytes unasked.
func (c *Conn) Release() {
	if c.outdated && c.backend.congestion.Near() || !c.isTrusted() || c.aborted() || c.sock.SendingStopped() {
		c.Discard()
		return
	}
	if c.hasUnread() || c.backend.strays.recent() {
		_ = c.look() // which is remembered
		c.Reset()    // nothing is on it any more, and closing many would use up the ports
		return
	}
	c.dropReader()
	c.reused = true
	c.sock.PutDown()
	c.backend.pool.release(c)
}

// Discard closes the connection in the ordinary way. If part of a message is on it, only Reset may
// close it.
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

// Close is for HostClient only, which also closes connections that were never connected.
func (c *Conn) Close() error {
	if c.Conn == nil {
		return nil
	}
	if c.resetting {
		return c.sock.NetConn().Close() // below TLS: no close_notify
	}
	c.Guard(false)
	return c.Conn.Close()
}

// A backend must never take the end of a connection for the end of a body: some backends store what
// has arrived so far as a whole object. So a connection that is abandoned with part of a message on
// it is reset, never closed in the ordinary way (R31).

// Guard makes the system reset the connection if this process dies; Guard(false) undoes that. It is
// needed for a message that takes more than one write. The writer calls it before the first write.
// On a guarded connection it costs no system call.
func (c *Conn) Guard(on bool) { c.sock.ResetOnClose(on) }

// Reset closes the connection with a TCP reset: unacknowledged data is dropped and the backend's
// next read fails. Over TLS no close_notify precedes it.
func (c *Conn) Reset() {
	c.Guard(true)
	c.resetting = true
	c.Discard()
}
