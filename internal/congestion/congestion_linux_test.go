package congestion

import (
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// algorithm is what a connection has.
func algorithm(t *testing.T, nc net.Conn) (name string) {
	t.Helper()
	_ = rawOf(t, nc).Control(func(fd uintptr) { name, _ = algorithmOf(int(fd)) })
	if name == "" {
		t.Fatal("it has no congestion control")
	}
	return name
}

func rawOf(t *testing.T, nc net.Conn) syscall.RawConn {
	t.Helper()
	raw, err := nc.(syscall.Conn).SyscallConn()
	testkit.MustDo(t, err)
	return raw
}

// accept listens with g, and returns both ends of a connection that is dialled with g.
func accept(t *testing.T, g *Control) (dialled, accepted net.Conn) {
	t.Helper()
	ln, err := g.Listen("127.0.0.1:0")
	testkit.MustDo(t, err)
	defer ln.Close()
	dialled, err = (&net.Dialer{Control: g.Dial, Timeout: 5 * time.Second}).Dial("tcp", ln.Addr().String())
	testkit.MustDo(t, err)
	accepted, err = ln.Accept()
	testkit.MustDo(t, err)
	t.Cleanup(func() { _, _ = dialled.Close(), accepted.Close() })
	return dialled, accepted
}

func systemAlgorithm(t *testing.T) string {
	t.Helper()
	dialled, _ := accept(t, New(System))
	return algorithm(t, dialled)
}

// auto takes whatever the system has for BBR.
func auto(system string) *Control {
	g := New(Auto)
	g.Paces = func(algorithm string) bool { return algorithm == system }
	return g
}

// Each of a listener's connections has another algorithm than one that paces, but for
// those from clients that are not near.
func TestAcceptedConnections(t *testing.T) {
	system := systemAlgorithm(t)
	g := auto(system)
	g.nearTime = time.Hour
	if _, near := accept(t, g); algorithm(t, near) == system {
		t.Errorf("a near client's has %q", system)
	}
	g = auto(system)
	g.nearTime = 0
	if _, far := accept(t, g); algorithm(t, far) != system {
		t.Errorf("a far client's has %q, not %q", algorithm(t, far), system)
	}
	g = auto("nonsuch")
	if _, other := accept(t, g); algorithm(t, other) != system {
		t.Errorf("where nothing paces it has %q, not %q", algorithm(t, other), system)
	}
}

func TestNamedAlgorithm(t *testing.T) {
	dialled, accepted := accept(t, New("reno")) // every Linux has it
	if d, a := algorithm(t, dialled), algorithm(t, accepted); d != "reno" || a != "reno" {
		t.Errorf("they have %q and %q", d, a)
	}
	if _, err := New("nonsuch").Listen("127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), `"nonsuch"`) {
		t.Errorf("an algorithm that is not there: %v", err)
	}
}

// Where there is no algorithm that does not pace, all is as it would be anyway.
func TestWithoutAnother(t *testing.T) {
	system := systemAlgorithm(t)
	g := New(Auto)
	g.Paces = func(string) bool { return true }
	g.near.Store(true)
	dialled, accepted := accept(t, g)
	if d, a := algorithm(t, dialled), algorithm(t, accepted); d != system || a != system {
		t.Errorf("they have %q and %q, not %q", d, a, system)
	}
	if g.Dialled(rawOf(t, dialled)) {
		t.Error("the connection is said to be outdated")
	}
}
