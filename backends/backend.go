// Package backends is the way to the storages: for each of them a pool of
// connections (fasthttp's HostClient), its dialling, timeouts and TLS, and the
// probe that reports whether a demoted backend is back.
//
// Only the pool of HostClient is used, never its Do: that one rewrites targets,
// hides early answers and repeats requests by itself. The engine writes and
// reads on the connections.
//
// Ownership: a Backend owns its idle connections; a Conn belongs to whoever
// acquired it until Release or Discard. Methods of a Backend may be called from
// any goroutine.
package backends

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/internal/congestion"
	"github.com/akubra/akubra/internal/netio"
)

// maxConns is no limit of its own: the limiter bounds busy connections (R13).
const maxConns = 1 << 20

// Options describe one backend.
type Options struct {
	URL         *url.URL      // http or https, with host and an optional port
	DialTimeout time.Duration // bounds a dial and the TLS handshake (R11)
	// IdleTimeout is how long an idle connection is kept.
	IdleTimeout time.Duration
	// ReadBuffer bounds the head of an answer, in bytes.
	ReadBuffer int
	// TLS is for https; ServerName is filled in. May be nil.
	TLS *tls.Config
	// CongestionControl of the connections: congestion.Auto, congestion.System, or the
	// name of an algorithm that the system has (Linux). Empty is congestion.System.
	CongestionControl string
	// Watcher waits for what comes on connections; other backends may have it, too. May be
	// nil: then none of them can be awaited.
	Watcher *netio.Watcher
}

// Backend is one S3 storage.
type Backend struct {
	name        string
	url         string
	addr        string
	dialTimeout time.Duration
	tls         *tls.Config
	congestion  *congestion.Control
	watcher     *netio.Watcher
	client      *fasthttp.HostClient
	pool        connPool
}

// New makes a backend; nothing is dialled yet.
func New(o Options) (*Backend, error) {
	if o.URL == nil || o.URL.Host == "" {
		return nil, fmt.Errorf("cannot use backend %q: it has no host", o.URL)
	}
	b := &Backend{
		name: o.URL.Host, url: o.URL.Scheme + "://" + o.URL.Host, addr: o.URL.Host, dialTimeout: o.DialTimeout,
		congestion: congestion.New(o.CongestionControl), watcher: o.Watcher,
	}
	if err := b.congestion.Check(); err != nil {
		return nil, fmt.Errorf("cannot use backend %q: %w", o.URL, err)
	}
	port := "80"
	switch o.URL.Scheme {
	case "http":
	case "https":
		port = "443"
		b.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		if o.TLS != nil {
			b.tls = o.TLS.Clone()
		}
		if b.tls.ServerName == "" {
			b.tls.ServerName = o.URL.Hostname()
		}
	default:
		return nil, fmt.Errorf("cannot use backend %q: the scheme is neither http nor https", o.URL)
	}
	if o.URL.Port() == "" {
		b.addr = net.JoinHostPort(o.URL.Hostname(), port)
	}
	b.client = &fasthttp.HostClient{
		Addr:                b.addr,
		Dial:                func(string) (net.Conn, error) { return &Conn{backend: b}, nil },
		MaxConns:            maxConns,
		MaxIdleConnDuration: o.IdleTimeout,
		ReadBufferSize:      o.ReadBuffer,
		// The most recently used connection is the least likely to be stale,
		// and unused ones can go.
		ConnPoolStrategy: fasthttp.LIFO,
	}
	b.pool = newPool(b.client.AcquireConn, b.client.ReleaseConn, b.client.CloseConn)
	return b, nil
}

// Name is the host and port of the backend's URL, as given.
func (b *Backend) Name() string { return b.name }

// URL is the backend's scheme, host and port.
func (b *Backend) URL() string { return b.url }

// Plain reports whether connections are TCP without TLS.
func (b *Backend) Plain() bool { return b.tls == nil }

// Acquire takes an idle connection, the most recently used one that is Alive, or makes
// a new one, which is not connected yet: it never waits. With fresh it is always a new
// one; idle ones that it comes by are closed, since the storage has just been
// seen to close them (R12).
func (b *Backend) Acquire(fresh bool) (*Conn, error) {
	for {
		c, err := b.pool.acquire()
		if err != nil {
			return nil, fmt.Errorf("cannot get a connection to backend %q: %w", b.name, err)
		}
		if !c.reused || c.takeUp() && !fresh {
			return c, nil
		}
		c.Discard()
	}
}

// Close closes the idle connections. Connections in use stay as they are.
func (b *Backend) Close() { b.client.CloseIdleConnections() }

// connPool hides the connection type of HostClient, which is not exported.
type connPool interface {
	acquire() (*Conn, error)
	release(c *Conn)
	discard(c *Conn)
}

// pool holds the three functions of a HostClient; H is inferred from them.
type pool[H interface{ Conn() net.Conn }] struct {
	acquireConn func(time.Duration, bool) (H, error)
	releaseConn func(H)
	closeConn   func(H)
}

func newPool[H interface{ Conn() net.Conn }](acquire func(time.Duration, bool) (H, error), release, discard func(H)) connPool {
	return &pool[H]{acquireConn: acquire, releaseConn: release, closeConn: discard}
}

func (p *pool[H]) acquire() (*Conn, error) {
	h, err := p.acquireConn(0, false)
	if err != nil {
		return nil, err
	}
	c := h.Conn().(*Conn) //nolint:forcetypeassert // Dial makes nothing else
	c.handle = h
	return c, nil
}

func (p *pool[H]) release(c *Conn) { p.releaseConn(c.handle.(H)) } //nolint:forcetypeassert // set in acquire

func (p *pool[H]) discard(c *Conn) { p.closeConn(c.handle.(H)) } //nolint:forcetypeassert // set in acquire
