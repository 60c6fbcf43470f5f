package backends

import (
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// What Options.CongestionControl may be, beside the name of an algorithm.
const (
	// CongestionAuto is the system's algorithm, but for a storage that is near another
	// one in the place of BBR: that paces what it sends, by a timer a packet where no
	// queueing discipline does it (tcp(7), tc-fq(8)), which costs more CPU than all else
	// of a large request (bench/NOTES.md), and gains nothing over so short a way.
	CongestionAuto = "auto"
	// CongestionSystem is the system's algorithm.
	CongestionSystem = "system"
)

// A storage is near as long as connecting to it takes less than nearTime, and from then
// on until it has taken longer than farTime: a machine that is busy answers late at times.
const (
	nearTime = time.Millisecond
	farTime  = 10 * time.Millisecond
)

// congestion chooses the congestion control of a backend's connections.
type congestion struct {
	name string // Options.CongestionControl
	near atomic.Bool
	// hopeless: there is no other algorithm to be had.
	hopeless atomic.Bool
	// paces tells whether an algorithm is one to be replaced; a test has its own.
	paces func(algorithm string) bool
}

func newCongestion(name string) congestion {
	if name == "" {
		name = CongestionSystem
	}
	return congestion{name: name, paces: func(algorithm string) bool { return strings.HasPrefix(algorithm, "bbr") }}
}

// control is net.Dialer's: the algorithm is chosen before the socket connects, for once
// BBR has begun to pace one, another algorithm goes on with it.
func (g *congestion) control(_, _ string, raw syscall.RawConn) error {
	var err error
	if cerr := raw.Control(func(fd uintptr) { err = g.choose(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// measure looks how near the backend is. It tells whether the connection has an
// algorithm that no later one of a backend as near would get.
func (g *congestion) measure(raw syscall.RawConn) (outdated bool) {
	if g.name != CongestionAuto || raw == nil || g.hopeless.Load() {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		if algorithm, ok := algorithmOf(int(fd)); !ok || !g.paces(algorithm) {
			return
		}
		switch rtt, ok := roundTrip(int(fd)); {
		case !ok || g.hopeless.Load():
		case rtt < nearTime:
			g.near.Store(true)
		case rtt > farTime:
			g.near.Store(false)
		}
		outdated = true
	})
	return outdated
}
