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

// polled is a TCP connection that a poller of ours watches, and the runtime's does
// not: that would be told of each answer, too, and has nobody who waits for it
// (bench/NOTES.md). It is read and written by way of its SyscallConn alone; one goroutine
// may wait for either direction. Deadlines and Close may come from any.
type polled struct {
	net.Conn // closed: it has the addresses
	poller   *poller
	socket   *Socket         // that it is under
	fd       int             // the poller knows it by that
	file     *os.File        // keeps fd open while it is in use
	raw      syscall.RawConn // file's
	in, out  direction
}

// newPolled makes one of nc, which the caller closes, or goes on with.
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
		// What is in non-blocking mode NewFile gives to the runtime's poller.
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

// polledRaw is the connection as syscall.RawConn has it. Errors are those of package
// net.
type polledRaw struct{ c *polled }

func (r polledRaw) Control(f func(fd uintptr)) error {
	if r.c.raw.Control(f) != nil {
		return &net.OpError{Op: "raw-control", Net: "tcp", Err: net.ErrClosed}
	}
	return nil
}

func (r polledRaw) Read(f func(fd uintptr) bool) error  { return r.try(&r.c.in, f) }
func (r polledRaw) Write(f func(fd uintptr) bool) error { return r.try(&r.c.out, f) }

// try runs f until it is true, and waits for d in between.
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

// direction is one of a polled's two: who waits for it, and until when.
type direction struct {
	state atomic.Uint32 // still, moved or waited
	wake  chan struct{} // gets one for each time that state was waited

	// Of whoever tries.
	f    func(fd uintptr) bool
	once func(fd uintptr) // runs f; made beforehand, or it would be an allocation each time
	done bool

	over   atomic.Bool // the deadline has passed
	lapsed func()      // runs when it does; may be nil
	mu     sync.Mutex  // guards the following
	until  time.Time   // the deadline, or zero
	timer  *time.Timer // runs lapse
}

const (
	still  uint32 = iota // nothing has happened since somebody began to try
	moved                // something has: to try again is worth it
	waited               // somebody waits for that
)

func (d *direction) init() {
	d.wake = make(chan struct{}, 1)
	d.once = func(fd uintptr) { d.done = d.f(fd) }
}

// signal says that something has happened.
func (d *direction) signal() {
	// Looking is cheaper, and enough: who begins later finds what has happened.
	if d.state.Load() != moved && d.state.Swap(moved) == waited {
		d.wake <- struct{}{}
	}
}

// begin is before each try: what happens from now on ends wait.
func (d *direction) begin() { d.state.Store(still) }

// wait returns when something has happened since begin.
func (d *direction) wait() {
	if d.state.CompareAndSwap(still, waited) {
		<-d.wake
	}
}

// setDeadline is as net.Conn has it.
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

// lapse runs when the deadline may be over.
func (d *direction) lapse() {
	d.mu.Lock()
	over := !d.until.IsZero() && time.Until(d.until) <= 0
	if over {
		d.over.Store(true)
	}
	d.mu.Unlock()
	if !over {
		return // it was taken back, or moved, and lapse runs again then
	}
	d.signal()
	if d.lapsed != nil {
		d.lapsed()
	}
}

// end is after the file was closed: who waits finds that.
func (d *direction) end() {
	d.setDeadline(time.Time{})
	d.signal()
}
