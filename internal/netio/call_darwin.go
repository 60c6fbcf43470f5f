package netio

import (
	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/nonblock"
)

// sendQueue is the number of bytes in fd's send queue, or -1 (SO_NWRITE).
func sendQueue(fd int) int {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NWRITE)
	if err != nil {
		return -1
	}
	return n
}

// This system has no splice.
func fromPipe(int, int, int, bool) (int, error) { return 0, unix.ENOTSUP }

func toPipe(int, int, int) (int, error) { return 0, unix.ENOTSUP }

// skip discards up to n received bytes.
func skip(fd, n int) (int, error) {
	var waste [16 << 10]byte
	return nonblock.Read(fd, waste[:min(n, len(waste))])
}
