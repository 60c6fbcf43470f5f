package netio

import (
	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/nonblock"
)

// Acknowledged is how many bytes the peer has acknowledged so far, and whether it has yet to acknowledge
// others (tcp(7), TCP_INFO), and has not even when they were sent again, and again; under TLS they are those of the records. Any goroutine may call it; of a socket
// that is not open, and where the system does not tell, nothing is waited for.
func (s *Socket) Acknowledged() (bytes uint64, more, again bool) {
	if s.raw == nil {
		return 0, false, false
	}
	_ = nonblock.Control(s.raw, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			bytes, more = info.Bytes_acked, info.Unacked > 0 || info.Notsent_bytes > 0
			again = info.Unacked > 0 && info.Retransmits > 1
		}
		return err
	})
	return bytes, more, again
}
