package backends

import (
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/nonblock"
)

// roundTrip is the round trip measured by the system on a connection; 0 if it is not known.
func roundTrip(nc net.Conn) (d time.Duration) {
	raw := nonblock.Socket(nc)
	if raw == nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			d = time.Duration(info.Rtt) * time.Microsecond
		}
	})
	return d
}
