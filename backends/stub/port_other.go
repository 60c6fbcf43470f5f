//go:build !linux

package stub

import "net"

// holdPort cannot hold a port on this system: whoever listens on it would be refused.
func holdPort() (port int, release func(), err error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, nil, err
	}
	return ln.Addr().(*net.TCPAddr).Port, func() {}, ln.Close()
}
