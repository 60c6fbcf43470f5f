package engine

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/backends"
	"github.com/akubra/akubra/internal/netio"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// strayConn is one connection of a strayServer.
type strayConn struct {
	nc       net.Conn // as requests come, over TLS perhaps
	tcp      *strayTCP
	answered bool // for the server's answer
}

// strayTCP can hold back what is written until flush sends it in one piece.
type strayTCP struct {
	*net.TCPConn
	held      bool
	holdAfter int // so many writes, unless 0
	queue     []byte
}

func (c *strayTCP) Write(p []byte) (int, error) {
	if c.holdAfter > 0 && !c.held {
		c.holdAfter--
		c.held = c.holdAfter == 0
		return c.TCPConn.Write(p)
	}
	if c.held {
		c.queue = append(c.queue, p...)
		return len(p), nil
	}
	return c.TCPConn.Write(p)
}

func (c *strayTCP) hold() { c.held = true }

func (c *strayTCP) flush() {
	c.held = false
	_, _ = c.TCPConn.Write(c.queue)
	c.queue = nil
}

// write writes each piece by itself, and so as a TLS record of its own; all of them go
// out at once.
func (c *strayConn) write(pieces ...string) {
	c.tcp.hold()
	for _, p := range pieces {
		_, _ = io.WriteString(c.nc, p)
	}
	c.tcp.flush()
}

// strayServer is a backend that answers each request with the request's X-Id, and sends
// more than it should.
type strayServer struct {
	ln        net.Listener
	tls       *tls.Config
	holdAfter int                                             // of strayTCP
	strayTime time.Duration                                   // see backends.Options
	greet     func(c *strayConn)                              // of a new connection; may be nil
	answer    func(c *strayConn, q *http.Request, own string) // own is its X-Id
	conns     atomic.Int64
	answers   atomic.Int64
	mu        sync.Mutex
	open      map[net.Conn]bool
	done      sync.WaitGroup
}

func newStrayServer(t testing.TB, config *tls.Config) *strayServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.MustDo(t, err)
	s := &strayServer{ln: ln, tls: config, open: map[net.Conn]bool{}, strayTime: -1} // each connection is looked at
	return s
}

func (s *strayServer) start(t testing.TB) {
	s.done.Go(func() {
		for {
			nc, err := s.ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.open[nc] = true
			s.mu.Unlock()
			s.conns.Add(1)
			s.done.Go(func() { s.serve(nc.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		_ = s.ln.Close()
		s.mu.Lock()
		for nc := range s.open {
			_ = nc.Close()
		}
		s.mu.Unlock()
		testkit.Finish(t, "the backend ends", s.done.Wait)
	})
}

func (s *strayServer) serve(nc *net.TCPConn) {
	c := &strayConn{tcp: &strayTCP{TCPConn: nc, holdAfter: s.holdAfter}}
	c.nc = c.tcp
	defer func() {
		_ = nc.Close()
		s.mu.Lock()
		delete(s.open, nc)
		s.mu.Unlock()
	}()
	if s.tls != nil {
		tc := tls.Server(c.tcp, s.tls)
		if tc.Handshake() != nil {
			return
		}
		c.nc = tc
	}
	if s.greet != nil {
		s.greet(c)
	}
	br := bufio.NewReader(c.nc)
	for {
		q, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, q.Body); err != nil {
			return
		}
		s.answers.Add(1)
		s.answer(c, q, q.Header.Get("X-Id"))
	}
}

// testCertificate is one for 127.0.0.1 that signs itself.
func testCertificate(t testing.TB) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testkit.MustDo(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	testkit.MustDo(t, err)
	parsed, err := x509.ParseCertificate(der)
	testkit.MustDo(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return roots, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// strayRig is an engine in front of strayServers, over TLS or not.
func strayRig(t testing.TB, servers []*strayServer, roots *x509.CertPool, setups ...setup) *rig {
	t.Helper()
	watcher := netio.NewWatcher()
	watcher.Start()
	t.Cleanup(watcher.Close)
	use := func(o *Options, _ *limiter.Options) {
		o.ConnectionTimeout = patience // none of them is waited for in vain
		for i, s := range servers {
			scheme := "http"
			if s.tls != nil {
				scheme = "https"
			}
			b, err := backends.New(backends.Options{
				URL: &url.URL{Scheme: scheme, Host: s.ln.Addr().String()}, DialTimeout: patience, IdleTimeout: time.Minute, ReadBuffer: 16 << 10,
				TLS: &tls.Config{RootCAs: roots, ClientSessionCache: tls.NewLRUClientSessionCache(8)}, Watcher: watcher, StrayTime: s.strayTime,
			})
			testkit.MustDo(t, err)
			t.Cleanup(b.Close)
			o.Backends[i] = testBackend{b}
		}
	}
	return newRig(t, len(servers), append([]setup{use}, setups...)...)
}

// strayAnswer is nobody's.
const strayAnswer = "HTTP/1.1 200 OK\r\nX-Id: stray\r\nETag: \"stray\"\r\nContent-Length: 5\r\n\r\nstray"

func lengthOf(s string) string { return fmt.Sprintf("Content-Length: %d\r\n", len(s)) }

// headOf is the head of an answer, but for its blank line.
func headOf(status, own string) string { return "HTTP/1.1 " + status + "\r\nX-Id: " + own + "\r\n" }

// ownAnswer is a whole answer, as it should be.
func ownAnswer(own string) string { return headOf("200 OK", own) + lengthOf(own) + "\r\n" + own }

// strayClient sends requests that can be told from one another.
type strayClient struct {
	nc net.Conn
	br *bufio.Reader
}

func dialStray(t testing.TB, addr string) *strayClient {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	testkit.MustDo(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(5 * time.Minute))
	return &strayClient{nc, bufio.NewReader(nc)}
}

// do sends a request, a PUT in chunks for the method CHUNKED, and returns the status and
// what is wrong with the answer. A 503 of the proxy's own is not wrong.
func (c *strayClient) do(method, path, own, body string) (status int, wrong string) {
	head := fmt.Sprintf(" %s HTTP/1.1\r\nHost: s3.test\r\nX-Id: %s\r\n", path, own)
	message := fmt.Sprintf("%s%sContent-Length: %d\r\n\r\n%s", method, head, len(body), body)
	if method == "CHUNKED" {
		method = "PUT"
		chunk := ""
		if body != "" {
			chunk = fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
		}
		message = "PUT" + head + "Transfer-Encoding: chunked\r\n\r\n" + chunk + "0\r\n\r\n"
	}
	if _, err := io.WriteString(c.nc, message); err != nil {
		return 0, err.Error()
	}
	a, err := http.ReadResponse(c.br, &http.Request{Method: method})
	if err != nil {
		return 0, err.Error()
	}
	got, err := io.ReadAll(a.Body)
	if err != nil {
		return a.StatusCode, err.Error()
	}
	switch id := a.Header.Get("X-Id"); {
	case a.StatusCode == 503 && id == "":
		return 503, ""
	case id != own:
		return a.StatusCode, fmt.Sprintf("the answer to %s is that to %q: %d", own, id, a.StatusCode)
	case len(got) > 0 && !bytes.HasPrefix(got, []byte(own)):
		return a.StatusCode, fmt.Sprintf("the answer to %s has the body %.100q", own, got)
	}
	return a.StatusCode, ""
}

func overBoth(t *testing.T, run func(t *testing.T, config *tls.Config, roots *x509.CertPool)) {
	roots, certificate := testCertificate(t)
	for _, version := range []uint16{0, tls.VersionTLS12, tls.VersionTLS13} {
		name, config := "plain", (*tls.Config)(nil)
		if version != 0 {
			name, config = tls.VersionName(version), &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: version, MaxVersion: version}
		}
		t.Run(name, func(t *testing.T) { run(t, config, roots) })
	}
}
