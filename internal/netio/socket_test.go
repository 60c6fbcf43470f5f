package netio

import (
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/akubra/akubra/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is the other end: a listener whose connections are in the test's hands.
type peer struct {
	t  testing.TB
	ln net.Listener
	w  *Watcher
}

func newPeer(t testing.TB) *peer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.MustDo(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	w := NewWatcher()
	w.Start()
	t.Cleanup(w.Close)
	return &peer{t: t, ln: ln, w: w}
}

func (p *peer) dial() *Socket {
	p.t.Helper()
	nc, err := net.Dial("tcp", p.ln.Addr().String())
	testkit.MustDo(p.t, err)
	s := &Socket{}
	if !p.w.Open(s, nc) {
		p.t.Fatal("it has no socket")
	}
	return s
}

// connect returns both ends of a new connection.
func (p *peer) connect() (*Socket, *net.TCPConn) {
	p.t.Helper()
	s := p.dial()
	nc, err := p.ln.Accept()
	testkit.MustDo(p.t, err)
	p.t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second)) // no test hangs forever
	return s, nc.(*net.TCPConn)
}

// ask makes the other end answer what it was sent; hear receives that.
func ask(t testing.TB, s *Socket, other net.Conn) {
	t.Helper()
	buf := make([]byte, 4)
	if _, err := s.Send(Piece{Bytes: []byte("ping")}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(other, buf); err != nil || string(buf) != "ping" {
		t.Fatalf("%q, %v", buf, err)
	}
	if _, err := other.Write([]byte("pong")); err != nil {
		t.Fatal(err)
	}
}

func hear(t testing.TB, s *Socket) {
	t.Helper()
	if got := receiveAll(t, s, 4); got != "pong" {
		t.Fatalf("%q", got)
	}
}

func receiveAll(t testing.TB, s *Socket, size int) string {
	t.Helper()
	buf := make([]byte, size)
	for n := 0; n < size; {
		more, err := s.Receive(Piece{Bytes: buf[n:]})
		if err != nil {
			t.Error(err)
			break
		}
		n += more
	}
	return string(buf)
}

// fillUp sends until the socket takes no more.
func fillUp(t testing.TB, s *Socket) {
	t.Helper()
	piece := make([]byte, 1<<20)
	for n := 1; n > 0; {
		var err error
		if n, err = s.SendNow(Piece{Bytes: piece}); err != nil {
			t.Fatal(err)
		}
	}
}
