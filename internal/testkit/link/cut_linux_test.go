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
	l := newEcho(t, Direction{}, Direction{})
	c := testkit.MustDial(t, l.Addr())
	raw, err := c.SyscallConn()
	testkit.MustDo(t, err)
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
	testkit.MustDial(t, l.Addr())
}
