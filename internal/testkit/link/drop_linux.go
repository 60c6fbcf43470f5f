package link

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// drop has the system throw away what comes for a socket, or take it again: a listener then answers no new
// connection, and nothing that is sent on one is acknowledged.
func drop(c syscall.RawConn, on bool) {
	_ = c.Control(func(fd uintptr) {
		if !on {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
			return
		}
		nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K} // of each packet
		_ = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing})
	})
}
