package backends

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// ticketConn is the socket below a TLS server. It holds back the handshake's last record, a session
// ticket, until it is told to send it.
type ticketConn struct {
	net.Conn
	records [][]byte
	passed  int
}

// ticketRecord is the number of the record with the first session ticket of a TLS 1.3 handshake.
// ServerHello, ChangeCipherSpec, EncryptedExtensions, Certificate, CertificateVerify and Finished
// come before it.
const ticketRecord = 6

func (c *ticketConn) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		size := 5 + int(rest[3])<<8 + int(rest[4])
		if c.passed == ticketRecord {
			c.records = append(c.records, append([]byte(nil), rest[:size]...))
		} else if _, err := c.Conn.Write(rest[:size]); err != nil {
			return 0, err
		}
		c.passed++
		rest = rest[size:]
	}
	return len(p), nil
}

// tlsPeer connects a Conn to a server that has yet to send a session ticket.
func tlsPeer(t *testing.T) (b *Backend, c *Conn, server *tls.Conn, ticket []byte, tcp net.Conn) {
	t.Helper()
	roots, certificate := authority(t)
	p := newPeer(t)
	b = newBackend(t, "https://"+p.ln.Addr().String(), &tls.Config{RootCAs: roots, ClientSessionCache: tls.NewLRUClientSessionCache(1)})
	c = acquire(t, b, false)
	done := make(chan *ticketConn, 1)
	go func() {
		nc, err := p.ln.Accept()
		if err != nil {
			close(done)
			return
		}
		_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
		tc := &ticketConn{Conn: nc}
		server = tls.Server(tc, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13})
		_ = server.Handshake()
		done <- tc
	}()
	testkit.MustDo(t, c.Connect())
	held := testkit.Receive(t, "the end of a goroutine", done)
	if held == nil || len(held.records) != 1 {
		t.Fatal("the server has no session ticket")
	}
	t.Cleanup(func() { _ = held.Conn.Close() })
	return b, c, server, held.records[0], held.Conn
}

// R32: a session ticket that comes late, even between two requests, is not part of any response,
// but no reason to close the connection either.
func TestR32LateSessionTicket(t *testing.T) {
	b, c, server, ticket, tcp := tlsPeer(t)
	c.Release()
	if _, err := tcp.Write(ticket); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the ticket is there", func() bool { return c.sock.Look() != nil })
	if again := acquire(t, b, false); again != c {
		t.Fatal("a session ticket has cost the connection")
	}
	if c.sock.Look() != nil {
		t.Error("the ticket is still there")
	}
	passOn(server)
	exchange(t, c, server)
	c.Release()
}

// R32: part of a record need not be part of a ticket.
func TestR32LookOverTLS(t *testing.T) {
	for name, tt := range map[string]struct {
		do    func(server *tls.Conn, tcp net.Conn, ticket []byte)
		alive bool
	}{
		"nothing":          {func(*tls.Conn, net.Conn, []byte) {}, true},
		"half a ticket":    {func(_ *tls.Conn, tcp net.Conn, ticket []byte) { _, _ = tcp.Write(ticket[:len(ticket)/2]) }, false},
		"a record's head":  {func(_ *tls.Conn, tcp net.Conn, ticket []byte) { _, _ = tcp.Write(ticket[:3]) }, false},
		"a damaged ticket": {func(_ *tls.Conn, tcp net.Conn, ticket []byte) { ticket[9] ^= 1; _, _ = tcp.Write(ticket) }, false},
		"a ticket and more": {func(s *tls.Conn, tcp net.Conn, ticket []byte) {
			_, _ = tcp.Write(ticket)
			passOn(s)
			_, _ = io.WriteString(s, "x")
		}, false},
		"FIN": {func(_ *tls.Conn, tcp net.Conn, _ []byte) { _ = tcp.(*net.TCPConn).CloseWrite() }, false},
		"RST": {func(_ *tls.Conn, tcp net.Conn, _ []byte) { _ = tcp.(*net.TCPConn).SetLinger(0); _ = tcp.Close() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, c, server, ticket, tcp := tlsPeer(t)
			defer c.Discard()
			if !c.Alive() {
				t.Fatal("not alive before")
			}
			tt.do(server, tcp, ticket)
			if tt.alive {
				if !c.Alive() {
					t.Error("taken for dead")
				}
				return
			}
			testkit.Eventually(t, "it is seen", func() bool { return !c.Alive() })
		})
	}
}

// passOn makes the server's socket send everything from now on.
func passOn(s *tls.Conn) { s.NetConn().(*ticketConn).passed = ticketRecord + 1 }

// R32: data that crypto/tls has decrypted or read ahead is seen as well.
func TestR32LookSeesWhatWasReadAhead(t *testing.T) {
	for _, pieces := range [][]string{{"pongx"}, {"pong", "x"}} {
		_, c, server, ticket, tcp := tlsPeer(t)
		_, _ = tcp.Write(ticket)
		passOn(server)
		for _, p := range pieces {
			if _, err := io.WriteString(server, p); err != nil {
				t.Fatal(err)
			}
		}
		testkit.Eventually(t, "it is there", func() bool { return c.sock.Look() != nil })
		buf := make([]byte, 4)
		if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "pong" {
			t.Fatal(err)
		}
		testkit.Eventually(t, "it is seen", func() bool { return !c.Alive() })
		c.Discard()
	}
}

// R32: on a new connection, look waits for the rest of a record, within the dial timeout.
func TestR32LookAtANewConnection(t *testing.T) {
	for _, whole := range []bool{true, false} {
		_, c, _, ticket, tcp := tlsPeer(t)
		half := len(ticket) / 2
		_, _ = tcp.Write(ticket[:half])
		testkit.Eventually(t, "half of it is there", func() bool { return c.sock.Look() != nil })
		timeout := 20 * time.Second
		if !whole {
			timeout = 50 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		done := make(chan error, 1)
		go func() { done <- c.tls.lookAtNew(ctx, c.Conn.(*tls.Conn)) }()
		if whole {
			_, _ = tcp.Write(ticket[half:])
		}
		if err := testkit.Receive(t, "the end of a goroutine", done); (err == nil) != whole {
			t.Errorf("whole %v: %v", whole, err)
		}
		cancel()
		c.Discard()
	}
}
