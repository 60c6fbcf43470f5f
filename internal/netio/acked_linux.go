package netio

import (
	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/nonblock"
)

// Acknowledged returns how many bytes the peer has acknowledged so far. more reports whether others
// are still to be acknowledged, and again whether they were not even after being sent again twice
// (tcp(7), TCP_INFO). Under TLS the bytes are those of the records. Any goroutine may call it. If the
// socket is not open, or the system does not say, the result is zero.
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
