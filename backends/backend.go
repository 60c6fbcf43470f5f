// Package backends connects to the backends. Each one has a pool of connections (fasthttp's
// HostClient), its own dialing, timeouts and TLS, and a probe that finds out whether it is back
// after a demotion.
//
// Only HostClient's pool is used, never its Do, which rewrites targets, hides early responses and
// retries requests on its own. The engine itself writes and reads on the connections.
//
// Ownership: a Backend owns its idle connections. A Conn belongs to whoever acquired it until
// Release, Discard or Reset. Any goroutine may call a Backend's methods.
package backends

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/internal/congestion"
	"github.com/akubra/akubra/internal/netio"
)

// maxConns is high enough never to matter: the limiter bounds busy connections (R13).
const maxConns = 1 << 20

// Options describes one backend.
type Options struct {
	URL         *url.URL      // http or https, with host and an optional port
	DialTimeout time.Duration // bounds a dial and the TLS handshake (R11)
	// UserTimeout is how long the peer's system may acknowledge nothing of what was sent before the
	// connection fails (Linux, TCP_USER_TIMEOUT); 0 is the system's default. It must be no less than
	// the patience that Send is given: the same bounds a peer that takes nothing (R11).
	UserTimeout time.Duration
	// IdleTimeout is how long an idle connection is kept.
	IdleTimeout time.Duration
	// ReadBuffer bounds the head of a response, in bytes.
	ReadBuffer int
	// TLS is used for https; an empty ServerName is filled in. May be nil.
	TLS *tls.Config
	// CongestionControl is congestion.Auto, congestion.System, or the name of an algorithm that the
	// system has (Linux). Empty means congestion.System.
	CongestionControl string
	// Watcher waits for data on connections; backends may share one. If it is nil, Await always
	// fails.
	Watcher *netio.Watcher
	// StrayTime is how long each request goes out on a new connection after the backend has sent
	// bytes that nobody asked for (R32); 0 is ten minutes, less than that is no time.
	StrayTime time.Duration
	// Stray is called when the backend begins to send bytes that nobody asked for. It must not
	// wait. May be nil.
	Stray func()
}

// Backend is one S3 backend: its address and its pool of connections.
type Backend struct {
	name        string
	url         string
	addr        string
	host        string // of addr
	secure      bool   // over TLS
	dialTimeout atomic.Int64
	userTimeout atomic.Int64
	tls         atomic.Pointer[tls.Config] // nil without TLS
	certificate atomic.Int64               // when the one that it has shown last expires, in Unix time; 0 is not known
	congestion  *congestion.Control
	watcher     *netio.Watcher
	client      *fasthttp.HostClient
	pool        connPool
	strays      strays
}

// New makes a backend without dialing it.
func New(o Options) (*Backend, error) {
	if o.URL == nil || o.URL.Host == "" {
		return nil, fmt.Errorf("cannot use backend %q: it has no host", o.URL)
	}
	b := &Backend{
		name: o.URL.Host, url: o.URL.Scheme + "://" + o.URL.Host, addr: o.URL.Host, host: o.URL.Hostname(),
		congestion: congestion.New(o.CongestionControl), watcher: o.Watcher, strays: strays{over: cmp.Or(o.StrayTime, strayTime), told: o.Stray},
	}
	if err := b.congestion.Check(); err != nil {
		return nil, fmt.Errorf("cannot use backend %q: %w", o.URL, err)
	}
	b.SetDialTimeout(o.DialTimeout)
	b.SetUserTimeout(o.UserTimeout)
	port := "80"
	switch o.URL.Scheme {
	case "http":
	case "https":
		port, b.secure = "443", true
		b.tls.Store(b.withName(o.TLS))
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
		// The most recently used connection is the least likely to be stale, and unused ones can
		// expire.
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
func (b *Backend) Plain() bool { return !b.secure }

// SetTLS has new connections use c, which may be nil, as Options.TLS. Connections made before are
// not used for another request: what they have agreed on may not be trusted any more. It does
// nothing for a backend without TLS.
func (b *Backend) SetTLS(c *tls.Config) {
	if b.Plain() {
		return
	}
	b.tls.Store(b.withName(c))
	b.client.CloseIdleConnections()
}

// CertificateUntil is when the certificate expires that the backend has shown last; zero is not known.
func (b *Backend) CertificateUntil() time.Time {
	if until := b.certificate.Load(); until != 0 {
		return time.Unix(until, 0).UTC()
	}
	return time.Time{}
}

// withName is a copy of c for this backend.
func (b *Backend) withName(c *tls.Config) *tls.Config {
	if c == nil {
		c = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	c = c.Clone()
	if c.ServerName == "" {
		c.ServerName = b.host
	}
	return c
}

// SetDialTimeout bounds the dials and handshakes that begin from now on.
func (b *Backend) SetDialTimeout(d time.Duration) { b.dialTimeout.Store(int64(d)) }

// SetUserTimeout is Options.UserTimeout for connections from now on.
func (b *Backend) SetUserTimeout(d time.Duration) { b.userTimeout.Store(int64(d)) }

// Acquire takes the most recently used idle connection that is Alive, or makes a new one that is
// not connected yet; it never waits. With fresh it always makes a new one and closes any idle ones
// it comes across, because the backend has just been seen closing them (R12).
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

// Close closes the idle connections. Connections in use are left alone.
func (b *Backend) Close() { b.client.CloseIdleConnections() }

// connPool hides HostClient's connection type, which is not exported.
type connPool interface {
	acquire() (*Conn, error)
	release(c *Conn)
	discard(c *Conn)
}

// pool holds three functions of a HostClient, from which H is inferred.
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
