package congestion

import (
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/nonblock"
)

// unpaced are the algorithms that replace BBR: Linux's default, and the one that every system has
// and lets everybody use.
var unpaced = [...]string{"cubic", "reno"}

// choose sets a socket's algorithm if it should differ from the system's.
func (g *Control) choose(fd int, near bool) error {
	switch g.name {
	case System:
		return nil
	case Auto:
		if !near || g.hopeless.Load() {
			return nil
		}
		algorithm, ok := algorithmOf(fd)
		if !ok || !g.Paces(algorithm) {
			return nil
		}
		for _, name := range unpaced {
			if !g.Paces(name) && setAlgorithm(fd, name) == nil {
				g.system.Store(&algorithm)
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

// accepted gives a client's connection that is not near the algorithm that it would normally have.
func (g *Control) accepted(nc net.Conn) {
	system := g.system.Load()
	if system == nil {
		return
	}
	raw := nonblock.Socket(nc)
	if raw == nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if rtt, ok := roundTrip(int(fd)); !ok || rtt >= g.nearTime {
			_ = setAlgorithm(int(fd), *system) // otherwise it keeps the other one, which works too
		}
	})
}

func setAlgorithm(fd int, name string) error {
	return unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
}

func algorithmOf(fd int) (name string, ok bool) {
	name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	return strings.TrimRight(name, "\x00"), err == nil
}

// roundTrip is the time measured by the system; for a new connection, that of the handshake.
func roundTrip(fd int) (d time.Duration, ok bool) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, false
	}
	return time.Duration(info.Rtt) * time.Microsecond, true
}

// Check returns why an algorithm cannot be used here, or nil.
func (g *Control) Check() error {
	if g.name == Auto || g.name == System {
		return nil
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return g.choose(fd, false)
}
