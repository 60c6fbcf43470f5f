package backends

import "golang.org/x/sys/unix"

// sendQueue is the number of bytes in fd's send queue, or -1 (tcp(7), SIOCOUTQ).
func sendQueue(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return -1
	}
	return n
}

// spliceFrom moves up to n bytes from a pipe to a socket (splice(2)).
func spliceFrom(pipe, fd, n int) (int, error) {
	sent, err := unix.Splice(pipe, nil, fd, nil, n, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	return int(sent), err
}
