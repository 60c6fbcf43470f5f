package systemd

import (
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/testkit"
)

// passed is the file of a socket, under a name as systemd gives it.
func passed(t *testing.T, name string, socket interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := socket.File()
	testkit.MustDo(t, err)
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	testkit.MustDo(t, err)
	return os.NewFile(uintptr(fd), name)
}

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.MustDo(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	return ln.(*net.TCPListener)
}

// TestR22SocketsByName: the admin listener's is known by its name.
func TestR22SocketsByName(t *testing.T) {
	admin, clients := listen(t), listen(t)
	s, err := sockets([]*os.File{passed(t, "admin", admin), passed(t, "akubra.socket", clients)})
	testkit.MustDo(t, err)
	defer s.Admin.Close()
	defer s.Clients.Close()
	if s.Admin.Addr().String() != admin.Addr().String() || s.Clients.Addr().String() != clients.Addr().String() {
		t.Errorf("admin has %v, clients %v", s.Admin.Addr(), s.Clients.Addr())
	}
	for _, ln := range []net.Listener{s.Admin, s.Clients} { // each is one to accept from
		nc, err := net.Dial("tcp", ln.Addr().String())
		testkit.MustDo(t, err)
		accepted, err := ln.Accept()
		testkit.MustDo(t, err, accepted.Close(), nc.Close())
	}
}

// TestR22WrongSockets: what cannot be served ends the start, with the reason.
func TestR22WrongSockets(t *testing.T) {
	ln := listen(t)
	nc, err := net.Dial("tcp", ln.Addr().String())
	testkit.MustDo(t, err)
	defer nc.Close()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	testkit.MustDo(t, err)
	defer udp.Close()
	local, err := net.ListenUnix("unix", &net.UnixAddr{Name: t.TempDir() + "/socket", Net: "unix"})
	testkit.MustDo(t, err)
	defer local.Close()
	for want, files := range map[string][]*os.File{
		"it does not listen: its unit must have Accept=no": {passed(t, "connection", nc.(*net.TCPConn))},
		"it is no socket that listens":                     {passed(t, "udp", udp)},
		"it is no TCP socket":                              {passed(t, "admin", local)},
		"there is another one for clients":                 {passed(t, "one", listen(t)), passed(t, "two", listen(t))},
		"there is another one for the admin listener":      {passed(t, "admin", listen(t)), passed(t, "admin", listen(t))},
	} {
		s, err := sockets(files)
		if err == nil || !strings.Contains(err.Error(), want) || s.Clients != nil || s.Admin != nil {
			t.Errorf("%v, %v, want %q", s, err, want)
		}
	}
	if s, err := sockets(nil); err != nil || s.Clients != nil || s.Admin != nil {
		t.Errorf("without any: %v, %v", s, err)
	}
}
