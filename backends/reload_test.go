package backends

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// TestR22NewTrust: a backend that is given another TLS configuration shakes hands with it from then
// on, and uses no connection again that was made with the old one, idle or not; what is under way on
// one goes on.
func TestR22NewTrust(t *testing.T) {
	t.Parallel()
	roots, certificate := authority(t)
	p := newPeer(t)
	b := newBackend(t, "https://"+p.ln.Addr().String(), &tls.Config{RootCAs: roots})
	others := make(chan *tls.Conn, 8)
	go func() {
		defer close(others)
		for {
			nc, err := p.ln.Accept()
			if err != nil {
				return
			}
			server := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{certificate}})
			_ = server.SetDeadline(time.Now().Add(20 * time.Second))
			_ = server.Handshake()
			others <- server
		}
	}()
	connect := func() (*Conn, *tls.Conn) {
		t.Helper()
		c := acquire(t, b, true)
		testkit.MustDo(t, c.Connect())
		return c, testkit.Receive(t, "the far end", others)
	}
	idle, _ := connect()
	busy, far := connect()
	kept, _ := connect()
	idle.Release()

	b.SetTLS(&tls.Config{RootCAs: x509.NewCertPool()}) // trusts nobody
	exchange(t, busy, far)
	busy.Release()
	c := acquire(t, b, false)
	if c == idle || c == busy {
		t.Fatal("a connection that was made with the old trust is used again")
	}
	if err := c.Connect(); err == nil {
		t.Fatal("a certificate is taken that nobody is trusted to have signed")
	}
	c.Discard()

	b.SetTLS(&tls.Config{RootCAs: roots})
	kept.Release() // made with another configuration, though with the same content
	c = acquire(t, b, false)
	if c == kept {
		t.Fatal("a connection that was made with an older trust is used again")
	}
	testkit.MustDo(t, c.Connect())
	c.Release()
	if again := acquire(t, b, false); again != c {
		t.Error("a connection that was made with the current trust is not used again")
	}
}

// TestR22PlainBackendsStayPlain: TLS settings are for backends with TLS.
func TestR22PlainBackendsStayPlain(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	c, _ := p.connect()
	p.b.SetTLS(&tls.Config{RootCAs: x509.NewCertPool()})
	c.Release()
	if !p.b.Plain() || acquire(t, p.b, false) != c {
		t.Error("a plain backend has lost its connection")
	}
}
