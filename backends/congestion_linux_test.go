package backends

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/congestion"
	"github.com/akubra/akubra/internal/nonblock"
	"github.com/akubra/akubra/internal/testkit"
)

// algorithm is the congestion control of a connection.
func algorithm(t *testing.T, c *Conn) (name string) {
	t.Helper()
	var err error
	_ = nonblock.Socket(c.sock.NetConn()).Control(func(fd uintptr) {
		name, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	})
	testkit.MustDo(t, err)
	return strings.TrimRight(name, "\x00")
}

func congested(t *testing.T, p *peer, name string) *Backend {
	t.Helper()
	u := &url.URL{Scheme: "http", Host: p.ln.Addr().String()}
	b, err := New(Options{URL: u, DialTimeout: 5 * time.Second, IdleTimeout: time.Minute, ReadBuffer: 4 << 10, CongestionControl: name})
	testkit.MustDo(t, err)
	t.Cleanup(b.Close)
	p.b = b
	return b
}

func TestCongestionControlByName(t *testing.T) {
	p := newPeer(t)
	congested(t, p, "reno") // every Linux has it
	c, other := p.connect()
	exchange(t, c, other)
	if got := algorithm(t, c); got != "reno" {
		t.Errorf("it is %q", got)
	}
	c.Discard()

	_, err := New(Options{URL: &url.URL{Scheme: "http", Host: "127.0.0.1:1"}, CongestionControl: "nonsuch"})
	if err == nil || !strings.Contains(err.Error(), `"nonsuch"`) {
		t.Errorf("an algorithm that is not there: %v", err)
	}
}

// A nearby backend gets an algorithm that does not pace once it is known to be near; connections
// from before are not kept.
func TestCongestionControlOfNearBackends(t *testing.T) {
	p := newPeer(t)
	b := congested(t, p, congestion.Auto)
	system := systemAlgorithm(t, p)
	b.congestion.Paces = func(algorithm string) bool { return algorithm == system }
	for i := 0; ; i++ {
		c, other := p.connect()
		exchange(t, c, other)
		if got := algorithm(t, c); got != system {
			if i == 0 {
				t.Fatalf("the first connection has %q, not %q", got, system)
			}
			c.Release()
			if again := acquire(t, b, false); again != c {
				t.Error("a connection with another algorithm is not kept")
			} else {
				again.Discard()
			}
			break
		}
		near := b.congestion.Near()
		c.Release()
		again := acquire(t, b, false)
		if kept := again == c; kept == near {
			t.Fatalf("kept: %v, near: %v", kept, near)
		}
		again.Discard()
		if i == 100 {
			t.Fatal("no connection on this machine takes less than a millisecond")
		}
	}
}

// If there is no algorithm without pacing, nothing can improve. The first connection to a nearby
// backend finds that out; from then on connections are kept.
func TestCongestionControlWithoutAnother(t *testing.T) {
	p := newPeer(t)
	b := congested(t, p, congestion.Auto)
	system := systemAlgorithm(t, p)
	b.congestion.Paces = func(string) bool { return true }
	for kept, i := 0, 0; kept < 3; i++ {
		if i == 100 {
			t.Fatal("connections are not kept")
		}
		c, other := p.connect()
		exchange(t, c, other)
		if got := algorithm(t, c); got != system {
			t.Errorf("it is %q, not %q", got, system)
		}
		c.Release()
		again := acquire(t, b, false)
		if again == c {
			kept++
		}
		again.Discard()
	}
}

// systemAlgorithm is what a connection has if nobody chooses one for it.
func systemAlgorithm(t *testing.T, p *peer) string {
	t.Helper()
	before := p.b
	congested(t, p, congestion.System)
	c, _ := p.connect()
	defer c.Discard()
	p.b = before
	return algorithm(t, c)
}
