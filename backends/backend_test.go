package backends

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/akubra/akubra/internal/netio"
	"github.com/akubra/akubra/internal/testkit"
)

// TestMain looks for goroutines that outlive the tests. fasthttp's pool has one of its own per
// backend, which ends by itself.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"))
}

// peer is the other end: a listener whose connections are in the test's hands.
type peer struct {
	t  testing.TB
	ln net.Listener
	b  *Backend
}

func newPeer(t testing.TB) *peer { return newPeerOn(t, "127.0.0.1:0") }

func newPeerOn(t testing.TB, addr string) *peer {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	testkit.MustDo(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	return &peer{t: t, ln: ln, b: newBackend(t, "http://"+ln.Addr().String(), nil)}
}

func newBackend(t testing.TB, rawURL string, tlsConfig *tls.Config) *Backend {
	t.Helper()
	u, err := url.Parse(rawURL)
	testkit.MustDo(t, err)
	w := netio.NewWatcher()
	w.Start()
	t.Cleanup(w.Close)
	b, err := New(Options{URL: u, DialTimeout: time.Minute, IdleTimeout: time.Minute, ReadBuffer: 4 << 10, TLS: tlsConfig, Watcher: w})
	testkit.MustDo(t, err)
	t.Cleanup(b.Close)
	return b
}

func acquire(t testing.TB, b *Backend, fresh bool) *Conn {
	t.Helper()
	c, err := b.Acquire(fresh)
	testkit.MustDo(t, err)
	return c
}

// connect returns both ends of a new connection.
func (p *peer) connect() (*Conn, *net.TCPConn) {
	p.t.Helper()
	c := acquire(p.t, p.b, true)
	testkit.MustDo(p.t, c.Connect())
	return c, p.accept()
}

func (p *peer) accept() *net.TCPConn {
	p.t.Helper()
	nc, err := p.ln.Accept()
	testkit.MustDo(p.t, err)
	p.t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(time.Minute)) // no test hangs forever
	return nc.(*net.TCPConn)
}

// exchange sends a word each way, which proves that the connection works.
func exchange(t testing.TB, c *Conn, other net.Conn) {
	t.Helper()
	ask(t, c, other)
	hear(t, c)
}

// ask makes the other end answer what it was sent.
func ask(t testing.TB, c *Conn, other net.Conn) {
	t.Helper()
	c.ReadTimeout(time.Minute)
	buf := make([]byte, 4)
	if _, err := c.Send([]byte("ping"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(other, buf); err != nil || string(buf) != "ping" {
		t.Fatalf("%q, %v", buf, err)
	}
	if _, err := other.Write([]byte("pong")); err != nil {
		t.Fatal(err)
	}
}

// hear reads the answer.
func hear(t testing.TB, c *Conn) {
	t.Helper()
	buf := make([]byte, 4)
	if _, err := io.ReadFull(c.Reader(), buf); err != nil || string(buf) != "pong" {
		t.Fatalf("%q, %v", buf, err)
	}
}

// wantClosed checks that the connection's other end was closed.
func wantClosed(t testing.TB, other net.Conn) {
	t.Helper()
	if n, err := other.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("not closed: %d, %v", n, err)
	}
}

func TestNewChecksItsURL(t *testing.T) {
	for _, raw := range []string{"ftp://host", "host:80", "//host", "http://", ""} {
		u, err := url.Parse(raw)
		testkit.MustDo(t, err)
		if _, err := New(Options{URL: u}); err == nil || !strings.Contains(err.Error(), "cannot use backend") {
			t.Errorf("%q: %v", raw, err)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("no URL at all was taken")
	}
}

func TestNames(t *testing.T) {
	tests := []struct{ raw, name, url, addr string }{
		{"http://s3.test", "s3.test", "http://s3.test", "s3.test:80"},
		{"https://s3.test", "s3.test", "https://s3.test", "s3.test:443"},
		{"http://s3.test:9000/", "s3.test:9000", "http://s3.test:9000", "s3.test:9000"},
		{"http://[::1]", "[::1]", "http://[::1]", "[::1]:80"},
		{"https://[::1]:9000", "[::1]:9000", "https://[::1]:9000", "[::1]:9000"},
	}
	for _, tt := range tests {
		b := newBackend(t, tt.raw, nil)
		if b.Name() != tt.name || b.URL() != tt.url || b.addr != tt.addr {
			t.Errorf("%s: name %q, URL %q, address %q", tt.raw, b.Name(), b.URL(), b.addr)
		}
	}
}

func TestConnectionIsUsedAgain(t *testing.T) {
	p := newPeer(t)
	c, other := p.connect()
	if c.Reused() {
		t.Fatal("a new connection says it was used before")
	}
	exchange(t, c, other)
	c.Release()
	for range 3 {
		again := acquire(t, p.b, false)
		if again != c || !again.Reused() || !again.Alive() {
			t.Fatalf("another connection, or not a usable one: %v %v", again.Reused(), again.Alive())
		}
		testkit.MustDo(t, again.Connect())
		exchange(t, again, other)
		again.Release()
	}
	p.b.Close()
	wantClosed(t, other)
}

func TestAcquireTakesTheLastUsed(t *testing.T) {
	p := newPeer(t)
	first, _ := p.connect()
	second, _ := p.connect()
	first.Release()
	second.Release()
	if c := acquire(t, p.b, false); c != second {
		t.Fatal("not the one that was used last")
	} else {
		c.Discard()
	}
}

// R12: a fresh connection was never used before, however many idle ones there are.
func TestR12FreshIsFresh(t *testing.T) {
	p := newPeer(t)
	var idle []*Conn
	var others []*net.TCPConn
	for range 5 {
		c, other := p.connect()
		idle, others = append(idle, c), append(others, other)
	}
	for _, c := range idle {
		c.Release()
	}
	c := acquire(t, p.b, true)
	if c.Reused() {
		t.Fatal("it was used before")
	}
	testkit.MustDo(t, c.Connect())
	exchange(t, c, p.accept())
	c.Discard()
	for _, other := range others {
		wantClosed(t, other) // as Acquire's comment says
	}
}

func TestAliveSeesWhatThePeerDid(t *testing.T) {
	tests := []struct {
		name string
		do   func(other *net.TCPConn)
	}{
		{"FIN", func(other *net.TCPConn) { _ = other.CloseWrite() }},
		{"closed", func(other *net.TCPConn) { _ = other.Close() }},
		{"RST", func(other *net.TCPConn) { _ = other.SetLinger(0); _ = other.Close() }},
		{"stray bytes", func(other *net.TCPConn) { _, _ = other.Write([]byte("HTTP/1.1 408 Request Timeout\r\n\r\n")) }},
		{"a byte and FIN", func(other *net.TCPConn) { _, _ = other.Write([]byte("x")); _ = other.CloseWrite() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer(t)
			c, other := p.connect()
			exchange(t, c, other)
			c.Release()
			c = acquire(t, p.b, false)
			if !c.Reused() || !c.Alive() || !c.Alive() {
				t.Fatal("not alive before")
			}
			tt.do(other)
			testkit.Eventually(t, "it is seen", func() bool { return !c.Alive() })
			c.Discard()
		})
	}
}

// An expired deadline from the last use must not affect the next one.
func TestOldDeadlinesDoNotMatter(t *testing.T) {
	p := newPeer(t)
	c, other := p.connect()
	exchange(t, c, other)
	c.ReadTimeout(time.Nanosecond)
	_, err := c.Read(make([]byte, 1))
	wantTimeout(t, err)
	total := fillUp(t, c)
	for err = nil; err == nil; { // the peer's system may take a little more
		var n int
		n, err = c.Send([]byte("x"), 10*time.Millisecond)
		total += int64(n)
	}
	wantTimeout(t, err)
	if _, err := io.CopyN(io.Discard, other, total); err != nil {
		t.Fatal(err)
	}
	c.Release()
	c = acquire(t, p.b, false)
	if !c.Reused() || !c.Alive() {
		t.Fatal("taken for dead")
	}
	testkit.MustDo(t, c.Connect())
	if n, err := c.TryWrite([]byte("hi")); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	buf := make([]byte, 2)
	if _, err := io.ReadFull(other, buf); err != nil || string(buf) != "hi" {
		t.Fatal(err)
	}
	exchange(t, c, other)
	c.Release()
}

func TestReleaseClosesWhatCannotBeUsedAgain(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, c *Conn, other *net.TCPConn)
	}{
		{"stray bytes in the buffer", func(t *testing.T, c *Conn, other *net.TCPConn) {
			_, _ = other.Write([]byte("stray"))
			if _, err := c.Reader().Peek(5); err != nil {
				t.Fatal(err)
			}
		}},
		{"aborted", func(_ *testing.T, c *Conn, _ *net.TCPConn) { c.Abort() }},
		{"its writing aborted", func(_ *testing.T, c *Conn, _ *net.TCPConn) { c.AbortWrite() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer(t)
			c, other := p.connect()
			exchange(t, c, other)
			tt.do(t, c, other)
			c.Release()
			wantClosed(t, other)
			next := acquire(t, p.b, false)
			if next == c || next.Reused() {
				t.Fatal("it was kept")
			}
			next.Discard()
		})
	}
}

func TestDiscardOfAConnectionThatNeverWas(t *testing.T) {
	p := newPeer(t)
	c := acquire(t, p.b, false)
	c.Discard()
	c = acquire(t, p.b, false)
	if c.Reused() {
		t.Fatal("it was kept")
	}
	c.Discard()
}

func TestTryWriteNeverWaits(t *testing.T) {
	p := newPeer(t)
	c, other := p.connect()
	defer c.Discard()
	total := fillUp(t, c)
	if n, err := c.TryWrite([]byte("x")); n != 0 || err != nil {
		t.Fatalf("a full socket gives %d, %v", n, err)
	}
	if c.Unsent() <= 0 {
		t.Fatalf("%d bytes unsent", c.Unsent())
	}
	if _, err := io.CopyN(io.Discard, other, total); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "everything is acknowledged", func() bool { return c.Unsent() == 0 })
	if n, err := c.TryWrite([]byte("hello")); n != 5 || err != nil {
		t.Fatalf("an empty socket gives %d, %v", n, err)
	}
	_ = other.SetLinger(0)
	_ = other.Close()
	testkit.Eventually(t, "the reset is seen", func() bool { _, err := c.TryWrite([]byte("x")); return err != nil })
}

func TestAbortEndsWhatIsUnderWay(t *testing.T) {
	tests := []struct {
		name  string
		write bool // AbortWrite, not Abort
		do    func(c *Conn) error
	}{
		{"Read", false, func(c *Conn) error {
			_, err := c.Reader().Peek(1)
			return err
		}},
		{"Write", false, writeForever},
		{"Write alone", true, writeForever},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer(t)
			c, other := p.connect()
			c.ReadTimeout(0)
			done := make(chan error, 1)
			go func() { done <- tt.do(c) }()
			if tt.write {
				c.AbortWrite()
			} else {
				c.Abort()
			}
			wantTimeout(t, testkit.Receive(t, "the end of a goroutine", done))
			// An abort is final: a later deadline does not undo it.
			_, err := c.Send([]byte("x"), time.Hour)
			wantTimeout(t, err)
			if _, err := c.TryWrite([]byte("x")); err == nil {
				t.Fatal("TryWrite after an abort")
			}
			c.ReadTimeout(time.Minute)
			if tt.write {
				if _, err := other.Write([]byte("early answer")); err != nil {
					t.Fatal(err)
				}
				if b, err := c.Reader().Peek(5); err != nil || string(b) != "early" {
					t.Fatalf("%q, %v", b, err)
				}
			} else {
				_, err := c.Read(make([]byte, 1))
				wantTimeout(t, err)
			}
			c.Discard()
		})
	}
}

// fillUp sends until the socket takes no more, and returns how much it took.
func fillUp(t testing.TB, c *Conn) (total int64) {
	t.Helper()
	piece := make([]byte, 1<<20)
	for {
		n, err := c.TryWrite(piece)
		testkit.MustDo(t, err)
		if n == 0 {
			return total
		}
		total += int64(n)
	}
}

func writeForever(c *Conn) error {
	piece := make([]byte, 1<<20)
	for {
		if _, err := c.Send(piece, time.Hour); err != nil {
			return err
		}
	}
}

func wantTimeout(t testing.TB, err error) {
	t.Helper()
	var ne net.Error
	if !errors.As(err, &ne) || !ne.Timeout() {
		t.Fatalf("error is %v, which could be taken for the peer's", err)
	}
}

func TestAbortFromManyGoroutines(t *testing.T) {
	p := newPeer(t)
	for range 50 {
		c := acquire(t, p.b, true)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(c.Abort)
		}
		if err := c.Connect(); err == nil {
			c.ReadTimeout(time.Hour)
			wg.Go(func() { _ = writeForever(c) })
			_, err := c.Reader().Peek(1)
			wantTimeout(t, err)
		}
		wg.Wait()
		c.Discard()
	}
}

func TestAbortBeforeConnect(t *testing.T) {
	p := newPeer(t)
	c := acquire(t, p.b, false)
	c.Abort()
	if err := c.Connect(); err == nil || !errors.Is(err, errAborted) || !strings.Contains(err.Error(), p.b.Name()) {
		t.Fatalf("error is %v", err)
	}
	c.Discard()
}

// A peer that accepts and stays silent keeps a TLS handshake waiting.
func TestAbortDuringConnect(t *testing.T) {
	p := newPeer(t)
	b := newBackend(t, "https://"+p.ln.Addr().String(), nil)
	c := acquire(t, b, false)
	done := make(chan error, 1)
	go func() { done <- c.Connect() }()
	p.accept()
	c.Abort()
	if err := testkit.Receive(t, "the end of a goroutine", done); !errors.Is(err, errAborted) {
		t.Fatalf("error is %v", err)
	}
	c.Discard()
}

func TestR11DialTimeoutCoversTheHandshake(t *testing.T) {
	p := newPeer(t)
	b := newBackend(t, "https://"+p.ln.Addr().String(), nil)
	b.SetDialTimeout(50 * time.Millisecond)
	c := acquire(t, b, false)
	begun := time.Now()
	err := c.Connect()
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("cannot connect to backend %q", b.Name())) {
		t.Fatalf("error is %v", err)
	}
	if took := time.Since(begun); took > 30*time.Second { // rather than for as long as the peer is silent
		t.Fatalf("it took %v", took)
	}
	c.Discard()
}

func TestConnectRefused(t *testing.T) {
	p := newPeer(t)
	_ = p.ln.Close()
	c := acquire(t, p.b, false)
	if err := c.Connect(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("cannot connect to backend %q", p.b.Name())) {
		t.Fatalf("error is %v", err)
	}
	c.Discard()
}

func TestIPv6(t *testing.T) {
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Logf("no IPv6 here: %v", err)
		return
	}
	_ = ln.Close()
	p := newPeerOn(t, "[::1]:0")
	c, other := p.connect()
	exchange(t, c, other)
	c.Release()
	c = acquire(t, p.b, false)
	if !c.Reused() || !c.Alive() {
		t.Fatal("not used again")
	}
	c.Discard()
}

// authority makes a certificate authority and a certificate from it for 127.0.0.1.
func authority(t testing.TB) (roots *x509.CertPool, certificate tls.Certificate) {
	t.Helper()
	sign := func(template, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) []byte {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
		testkit.MustDo(t, err)
		return der
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		testkit.MustDo(t, err)
		return key
	}
	caKey, key := newKey(), newKey()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER := sign(ca, ca, &caKey.PublicKey, caKey)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"s3.test"}}
	der := sign(leaf, ca, &key.PublicKey, caKey)
	parsed, err := x509.ParseCertificate(caDER)
	testkit.MustDo(t, err)
	roots = x509.NewCertPool()
	roots.AddCert(parsed)
	return roots, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestTLSBackend(t *testing.T) {
	roots, certificate := authority(t)
	p := newPeer(t)
	serve := func() <-chan net.Conn {
		ready := make(chan net.Conn, 1)
		go func() {
			nc, err := p.ln.Accept()
			if err != nil {
				ready <- nil
				return
			}
			tc := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{certificate}})
			_ = nc.SetDeadline(time.Now().Add(time.Minute))
			_ = tc.Handshake()
			ready <- tc
		}()
		return ready
	}
	address := "https://" + p.ln.Addr().String()
	tests := []struct {
		name   string
		config *tls.Config
		ok     bool
	}{
		{"the right CA", &tls.Config{RootCAs: roots}, true},
		{"another name in the certificate", &tls.Config{RootCAs: roots, ServerName: "s3.test"}, true},
		{"the system's CAs", nil, false},
		{"the wrong name", &tls.Config{RootCAs: roots, ServerName: "other.test"}, false},
		{"not verified", &tls.Config{InsecureSkipVerify: true}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBackend(t, address, tt.config)
			c := acquire(t, b, false)
			server := serve()
			err := c.Connect()
			other := testkit.Receive(t, "the far end", server)
			defer func() { _ = other.Close() }()
			if !tt.ok {
				if err == nil || !strings.Contains(err.Error(), b.Name()) {
					t.Fatalf("error is %v", err)
				}
				c.Discard()
				return
			}
			testkit.MustDo(t, err)
			exchange(t, c, other)
			if n, err := c.TryWrite([]byte("x")); n != 0 || err != nil {
				t.Fatalf("TryWrite gives %d, %v", n, err)
			}
			if c.Unsent() != -1 {
				t.Errorf("Unsent gives %d", c.Unsent())
			}
			c.Release()
			c = acquire(t, b, false)
			if !c.Reused() || !c.Alive() {
				t.Fatal("not used again")
			}
			exchange(t, c, other)
			c.Abort()
			_, err = c.Reader().Peek(1)
			wantTimeout(t, err)
			c.Discard()
		})
	}
}

func TestReadDeadlineDoesNotUndoAnAbortThatRaces(t *testing.T) {
	p := newPeer(t)
	for range 50 {
		c, other := p.connect()
		var wg sync.WaitGroup
		wg.Go(c.Abort)
		c.ReadTimeout(time.Hour)
		_, err := c.Reader().Peek(1)
		wantTimeout(t, err)
		wg.Wait()
		c.Discard()
		_ = other.Close()
	}
}
