package backends

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// unpaced are the algorithms that take BBR's place: Linux's default, and the one that
// every system has and lets everybody use.
var unpaced = [...]string{"cubic", "reno"}

// choose sets a socket's algorithm, if it is to have another one than the system's.
func (g *congestion) choose(fd int) error {
	switch g.name {
	case CongestionSystem:
		return nil
	case CongestionAuto:
		if !g.near.Load() {
			return nil
		}
		if algorithm, ok := algorithmOf(fd); !ok || !g.paces(algorithm) {
			return nil
		}
		for _, name := range unpaced {
			if !g.paces(name) && setAlgorithm(fd, name) == nil {
				return nil
			}
		}
		g.hopeless.Store(true)
		g.near.Store(false)
		return nil
	}
	if err := setAlgorithm(fd, g.name); err != nil {
		return fmt.Errorf("congestion control %q: %w", g.name, err)
	}
	return nil
}

func setAlgorithm(fd int, name string) error {
	return unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
}

func algorithmOf(fd int) (name string, ok bool) {
	name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	return name, err == nil
}

// roundTrip is what the system has measured: of a new connection, the handshake.
func roundTrip(fd int) (d time.Duration, ok bool) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, false
	}
	return time.Duration(info.Rtt) * time.Microsecond, true
}

// check tells why an algorithm cannot be used here, or nil.
func (g *congestion) check() error {
	if g.name == CongestionAuto || g.name == CongestionSystem {
		return nil
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return g.choose(fd)
}
