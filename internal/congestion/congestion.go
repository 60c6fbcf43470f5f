// Package congestion chooses the congestion control of TCP connections on Linux.
//
// BBR paces what it sends, with a timer per packet if no queueing discipline does it (tcp(7),
// tc-fq(8)). That costs more CPU than everything else in a large request (bench/NOTES.md) and gains
// nothing over a short path. So another algorithm replaces it for peers that are near, which means
// that the path to them was short when they connected.
package congestion

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/akubra/akubra/internal/nonblock"
)

// What a Control can be made with, besides the name of an algorithm.
const (
	// Auto is the system's algorithm, but with another one instead of BBR for near peers.
	Auto = "auto"
	// System is the system's algorithm.
	System = "system"
)

// A backend is near once connecting to it takes less than nearTime, until it takes longer than
// farTime: a busy machine sometimes answers late. A client's connection is near if connecting took
// less than nearTime.
const (
	nearTime = time.Millisecond
	farTime  = 10 * time.Millisecond
)

// Control chooses the algorithm for the connections to one peer, or for those that one listener
// accepts. Any goroutine may call its methods.
type Control struct {
	// Paces reports whether an algorithm must be replaced. A test may set its own, before the first
	// connection.
	Paces func(algorithm string) bool

	name string
	near atomic.Bool
	// hopeless is true if no other algorithm is available.
	hopeless atomic.Bool
	// system is the algorithm that sockets had before another one replaced it; nil until that
	// happens.
	system   atomic.Pointer[string]
	nearTime time.Duration
}

// New makes a Control for Auto, System, or the name of an algorithm. Empty means System.
func New(name string) *Control {
	if name == "" {
		name = System
	}
	return &Control{
		name: name, nearTime: nearTime,
		Paces: func(algorithm string) bool { return strings.HasPrefix(algorithm, "bbr") },
	}
}

// Near reports whether the peer was near when it was last measured.
func (g *Control) Near() bool { return g.near.Load() }

// Dial is a net.Dialer's Control. It chooses the algorithm before the socket connects, because once
// BBR has started to pace a socket, a later algorithm keeps doing so.
func (g *Control) Dial(_, _ string, raw syscall.RawConn) error {
	return g.control(raw, g.near.Load())
}

// Listen listens for TCP. Accepted connections inherit the listener's algorithm; for the same
// reason as in Dial they start as near ones, and those that are not get the system's algorithm
// back.
func (g *Control) Listen(addr string) (net.Listener, error) {
	choose := func(_, _ string, raw syscall.RawConn) error { return g.control(raw, true) }
	ln, err := (&net.ListenConfig{Control: choose}).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &listener{Listener: ln, control: g}, nil
}

// Adopt makes ln, on which somebody else has begun to listen, as one of Listen's.
func (g *Control) Adopt(ln net.Listener) (net.Listener, error) {
	if tcp, ok := ln.(syscall.Conn); ok {
		raw, err := tcp.SyscallConn()
		if err != nil {
			return nil, err
		}
		if err := g.control(raw, true); err != nil {
			return nil, err
		}
	}
	return &listener{Listener: ln, control: g}, nil
}

type listener struct {
	net.Listener
	control *Control
}

func (l *listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err == nil {
		l.control.accepted(nc)
	}
	return nc, err
}

func (g *Control) control(raw syscall.RawConn, near bool) error {
	return nonblock.Control(raw, func(fd int) error { return g.choose(fd, near) })
}

// Dialled measures with a new connection how near the peer is. It reports whether that connection
// has another algorithm than a later one would get.
func (g *Control) Dialled(raw syscall.RawConn) (outdated bool) {
	if g.name != Auto || raw == nil || g.hopeless.Load() {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		if algorithm, ok := algorithmOf(int(fd)); !ok || !g.Paces(algorithm) {
			return
		}
		switch rtt, ok := roundTrip(int(fd)); {
		case !ok || g.hopeless.Load():
		case rtt < g.nearTime:
			g.near.Store(true)
		case rtt > farTime:
			g.near.Store(false)
		}
		outdated = true
	})
	return outdated
}
