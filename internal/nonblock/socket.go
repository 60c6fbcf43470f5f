package nonblock

import (
	"net"
	"syscall"
)

// Socket returns the socket under a TCP connection, or nil.
func Socket(nc net.Conn) syscall.RawConn {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// Control is raw's Control for a function that can fail; it keeps the file open while f runs.
func Control(raw syscall.RawConn, f func(fd int) error) error {
	var err error
	if cerr := raw.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}
