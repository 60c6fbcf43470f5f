package netio

import (
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
