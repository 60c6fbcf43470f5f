package netio

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/nonblock"
)

// polled is a TCP connection watched by one of our pollers and not by the runtime's, which would
// also be notified of each response although nobody waits there (bench/NOTES.md). It is read and
// written only through its SyscallConn. One goroutine may wait for each direction; any goroutine
// may set deadlines and call Close.
type polled struct {
	net.Conn // closed; kept for its addresses
	poller   *poller
	socket   *Socket         // the socket that wraps it
	fd       int             // the poller's key for it
	file     *os.File        // keeps fd open while it is in use
	raw      syscall.RawConn // file's
	in, out  direction
}

// newPolled makes a polled connection from nc. The caller closes nc, or after an error goes on
// using it.
func newPolled(nc net.Conn, p *poller, s *Socket) (*polled, error) {
	raw := nonblock.Socket(nc)
	if raw == nil {
		return nil, os.ErrInvalid
	}
	c := &polled{Conn: nc, poller: p, socket: s}
	err := nonblock.Control(raw, func(old int) error {
		fd, err := unix.FcntlInt(uintptr(old), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		// A descriptor in non-blocking mode would be given to the runtime's poller by NewFile.
		if err := unix.SetNonblock(fd, false); err != nil {
			_ = unix.Close(fd)
			return os.NewSyscallError("fcntl", err)
		}
		c.fd, c.file = fd, os.NewFile(uintptr(fd), "tcp")
		return os.NewSyscallError("fcntl", unix.SetNonblock(fd, true))
	})
	if err == nil {
		c.raw, err = c.file.SyscallConn()
	}
	if err != nil {
		if c.file != nil {
			_ = c.file.Close()
		}
		return nil, err
	}
	c.in.init()
	c.out.init()
	return c, nil
}

func (c *polled) SyscallConn() (syscall.RawConn, error) { return polledRaw{c}, nil }

func (c *polled) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(t)
	return nil
}

func (c *polled) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(t)
	return nil
}

func (c *polled) SetDeadline(t time.Time) error {
	c.in.setDeadline(t)
	c.out.setDeadline(t)
	return nil
}

// lapsed reports whether the deadline for reading has passed.
func (c *polled) lapsed() bool { return c.in.over.Load() }

func (c *polled) Close() error {
	c.poller.forget(c)
	err := c.file.Close()
	c.in.end()
	c.out.end()
	return err
}

// polledRaw is the connection as a syscall.RawConn. Its errors are those of package net.
type polledRaw struct{ c *polled }

func (r polledRaw) Control(f func(fd uintptr)) error {
	if r.c.raw.Control(f) != nil {
		return &net.OpError{Op: "raw-control", Net: "tcp", Err: net.ErrClosed}
	}
	return nil
}

func (r polledRaw) Read(f func(fd uintptr) bool) error  { return r.try(&r.c.in, f) }
func (r polledRaw) Write(f func(fd uintptr) bool) error { return r.try(&r.c.out, f) }

// try runs f until it returns true, and waits for d in between.
func (r polledRaw) try(d *direction, f func(fd uintptr) bool) error {
	d.f = f
	defer func() { d.f = nil }()
	for {
		d.begin()
		if d.over.Load() {
			return &net.OpError{Op: "raw-try", Net: "tcp", Err: os.ErrDeadlineExceeded}
		}
		if err := r.Control(d.once); err != nil || d.done {
			return err
		}
		d.wait()
	}
}

// direction is one direction of a polled: who waits for it, and until when.
type direction struct {
	state atomic.Uint32 // still, moved or waited
	wake  chan struct{} // receives one value each time that state was waited

	// Fields of the goroutine that tries.
	f    func(fd uintptr) bool
	once func(fd uintptr) // runs f; made once to save an allocation per call
	done bool

	over   atomic.Bool // the deadline has passed
	lapsed func()      // runs when that happens; may be nil
	mu     sync.Mutex  // guards the fields below
	until  time.Time   // the deadline, or zero
	timer  *time.Timer // runs lapse
}

const (
	still  uint32 = iota // nothing has happened since the last begin
	moved                // something has happened: trying again is worthwhile
	waited               // somebody waits for something to happen
)

func (d *direction) init() {
	d.wake = make(chan struct{}, 1)
	d.once = func(fd uintptr) { d.done = d.f(fd) }
}

// signal records that something has happened.
func (d *direction) signal() {
	// A load is cheaper, and enough here: whoever begins later sees what has happened.
	if d.state.Load() != moved && d.state.Swap(moved) == waited {
		d.wake <- struct{}{}
	}
}

// begin comes before each try: whatever happens from now on ends wait.
func (d *direction) begin() { d.state.Store(still) }

// wait returns when something has happened since begin.
func (d *direction) wait() {
	if d.state.CompareAndSwap(still, waited) {
		<-d.wake
	}
}

// setDeadline has the meaning of net.Conn's.
func (d *direction) setDeadline(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.until = t
	if t.IsZero() {
		d.over.Store(false)
		if d.timer != nil {
			d.timer.Stop()
		}
		return
	}
	left := time.Until(t)
	d.over.Store(left <= 0)
	switch {
	case left <= 0:
		d.signal()
	case d.timer == nil:
		d.timer = time.AfterFunc(left, d.lapse)
	default:
		d.timer.Reset(left)
	}
}

// lapse runs when the deadline may have passed.
func (d *direction) lapse() {
	d.mu.Lock()
	over := !d.until.IsZero() && time.Until(d.until) <= 0
	if over {
		d.over.Store(true)
	}
	d.mu.Unlock()
	if !over {
		return // the deadline was cleared or moved; lapse will run again in the latter case
	}
	d.signal()
	if d.lapsed != nil {
		d.lapsed()
	}
}

// end is called after the file was closed, so that a waiter notices.
func (d *direction) end() {
	d.setDeadline(time.Time{})
	d.signal()
}
