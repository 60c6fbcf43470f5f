package link

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/testkit"
)

// Over a link that is cut, or has forgotten a connection, nothing is acknowledged, and nobody can connect.
func TestCutAcknowledgesNothing(t *testing.T) {
	l, err := New(echo(t), Direction{}, Direction{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	lacks := func() (n uint32) {
		err := raw.Control(func(fd uintptr) {
			info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			if err != nil {
				t.Error(err)
				return
			}
			n = info.Unacked
		})
		if err != nil {
			t.Error(err)
		}
		return n
	}
	say := func() {
		if _, err := c.Write([]byte("x")); err != nil {
			t.Error(err)
		}
	}
	say()
	if _, err := c.Read(make([]byte, 1)); err != nil { // the link has it by now
		t.Fatal(err)
	}
	for _, forgetful := range []bool{false, true} {
		say()
		testkit.Eventually(t, "it is acknowledged", func() bool { return lacks() == 0 })
		l.Cut()
		if fresh, err := net.DialTimeout("tcp", l.Addr(), 20*time.Millisecond); err == nil {
			_ = fresh.Close()
			t.Error("somebody could connect")
		}
		say()
		if lacks() != 1 {
			t.Error("it is acknowledged")
		}
		l.Mend(forgetful)
	}
	say()
	if lacks() == 0 {
		t.Error("what was forgotten is acknowledged")
	}
	fresh, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	_ = fresh.Close()
}
