// Package congestion chooses the congestion control of TCP connections, on Linux.
//
// BBR paces what it sends, by a timer a packet where no queueing discipline does it
// (tcp(7), tc-fq(8)), which costs more CPU than all else of a large request
// (bench/NOTES.md), and gains nothing over a short way. So another algorithm takes its
// place for peers that are near: the way to them was short when they connected.
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

// What a Control may be made with, beside the name of an algorithm.
const (
	// Auto is the system's algorithm, but for near peers another one in the place of BBR.
	Auto = "auto"
	// System is the system's algorithm.
	System = "system"
)

// A storage is near as long as connecting to it takes less than nearTime, and from then
// on until it has taken longer than farTime: a machine that is busy answers late at
// times. A client's connection is near if it took less than nearTime itself.
const (
	nearTime = time.Millisecond
	farTime  = 10 * time.Millisecond
)

// Control chooses for the connections to one peer, or for those that one listener
// accepts. Its methods may be called from any goroutine.
type Control struct {
	// Paces reports whether an algorithm is one to be replaced. A test has its own; it has
	// to set it before the first connection.
	Paces func(algorithm string) bool

	name string
	near atomic.Bool
	// hopeless: there is no other algorithm to be had.
	hopeless atomic.Bool
	// system is the algorithm that sockets have had before another one took its place; nil
	// as long as none has.
	system   atomic.Pointer[string]
	nearTime time.Duration
}

// New makes a Control for Auto, System, or the name of an algorithm. Empty is System.
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

// Dial is a net.Dialer's Control: the algorithm is chosen before the socket connects, for
// once BBR has begun to pace one, another algorithm goes on with it.
func (g *Control) Dial(_, _ string, raw syscall.RawConn) error {
	return g.control(raw, g.near.Load())
}

// Listen listens for TCP. Accepted connections have the algorithm of their listener; for
// the reason that Dial has, they begin as near ones, and those that are not are given back
// the system's.
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

// Dialled looks how near the peer is, over a new connection. It reports whether that one has
// an algorithm that no later one of a peer as near would get.
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
