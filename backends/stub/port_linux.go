package stub

import "syscall"

// holdPort binds a socket without listening on it. Linux takes it into account when it chooses a
// port for somebody, but lets a listener that names this port share it, since both set
// SO_REUSEADDR, as Go's do.
func holdPort() (port int, release func(), err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, err
	}
	release = func() { _ = syscall.Close(fd) }
	local := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err == nil {
		err = syscall.Bind(fd, local)
	}
	var bound syscall.Sockaddr
	if err == nil {
		bound, err = syscall.Getsockname(fd)
	}
	if err != nil {
		release()
		return 0, nil, err
	}
	return bound.(*syscall.SockaddrInet4).Port, release, nil
}
