package netio

import (
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/nonblock"
)

// sendQueue is the number of bytes in fd's send queue, or -1 (tcp(7), SIOCOUTQ).
func sendQueue(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return -1
	}
	return n
}

// fromPipe moves up to n bytes from a pipe to a socket, toPipe the other way.
func fromPipe(pipe, fd, n int, more bool) (int, error) {
	if more {
		return nonblock.SpliceMore(pipe, fd, n)
	}
	return nonblock.Splice(pipe, fd, n)
}

func toPipe(fd, pipe, n int) (int, error) { return nonblock.Splice(fd, pipe, n) }

// skip discards up to n received bytes without having the system copy them (tcp(7), MSG_TRUNC).
func skip(fd, n int) (int, error) { return nonblock.Skip(fd, n) }

// SetUserTimeout makes a TCP connection fail when its peer has acknowledged nothing of what was sent for so
// long (tcp(7), TCP_USER_TIMEOUT). 0 leaves it to the system.
func SetUserTimeout(nc net.Conn, d time.Duration) {
	raw := nonblock.Socket(nc)
	if raw == nil || d <= 0 {
		return
	}
	_ = raw.Control(func(fd uintptr) { // it cannot fail for an open socket
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}
