//go:build linux || darwin

package netio

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/nonblock"
)

// Piece is what one call moves: bytes, or, with a Size, that many by way of a pipe. Without
// a pipe, what is received is thrown away.
type Piece struct {
	Bytes []byte
	Pipe  int
	Size  int
	// More is going to follow what is sent: what does not fill a packet waits for it, or
	// until the peer has acknowledged what came before.
	More bool
}

// Socket reaches the socket under a TCP connection. The zero value is none, until Open.
type Socket struct {
	// BeforeReceive and BeforeSend, if not nil, run each time right before a Receive or Send
	// has to wait, on its goroutine. They are where it is given its deadline.
	BeforeReceive, BeforeSend func()

	nc      net.Conn
	raw     syscall.RawConn
	in, out half

	peek    func(fd uintptr)
	peeked  [1]byte
	nPeeked int
	peekErr error

	outq  func(fd uintptr)
	queue atomic.Int64

	resets   bool // see ResetOnClose
	lingerFn func(fd uintptr)

	watch watch
}

// half is one direction. Its functions are made once a connection, because a closure a call
// would be an allocation a call.
type half struct {
	sends   bool
	stopped atomic.Bool
	wait    func(fd uintptr) bool
	now     func(fd uintptr)

	// Of the call under way.
	piece      Piece
	beforeWait func()
	tried      bool
	n          int
	err        error
}

// Open makes it the socket under nc, and reports whether there is one.
func (s *Socket) Open(nc net.Conn) bool {
	raw := nonblock.Socket(nc)
	if raw == nil {
		return false
	}
	s.nc, s.raw = nc, raw
	s.in.init(false)
	s.out.init(true)
	s.peek = func(fd uintptr) { s.nPeeked, s.peekErr = nonblock.Peek(int(fd), &s.peeked) }
	s.outq = func(fd uintptr) { s.queue.Store(int64(sendQueue(int(fd)))) }
	s.lingerFn = s.setLinger
	if s.in.stopped.Load() {
		_ = nc.SetReadDeadline(past)
	}
	if s.out.stopped.Load() {
		_ = nc.SetWriteDeadline(past)
	}
	return true
}

// NetConn is the connection that the socket is under.
func (s *Socket) NetConn() net.Conn { return s.nc }

// IsOpen reports whether Open has found a socket.
func (s *Socket) IsOpen() bool { return s.raw != nil }

func (h *half) init(sends bool) {
	h.sends = sends
	h.wait = h.try
	h.now = func(fd uintptr) { h.try(fd) }
}

func (h *half) try(fd uintptr) bool {
	h.tried = true
	for {
		h.n, h.err = h.move(int(fd))
		switch h.err {
		case unix.EINTR:
		case unix.EAGAIN:
			if h.beforeWait != nil {
				h.beforeWait()
			}
			return false
		default:
			return true
		}
	}
}

func (h *half) move(fd int) (int, error) {
	p := &h.piece
	switch {
	case h.sends && p.Size > 0:
		return fromPipe(p.Pipe, fd, p.Size, p.More)
	case h.sends && p.More:
		return nonblock.SendMore(fd, p.Bytes)
	case h.sends:
		return nonblock.Send(fd, p.Bytes)
	case p.Pipe != 0:
		return toPipe(fd, p.Pipe, p.Size)
	case p.Size > 0:
		return skip(fd, p.Size)
	}
	return nonblock.Receive(fd, p.Bytes)
}

// Receive receives some of p, or waits until something comes, as net.Conn's Read does.
func (s *Socket) Receive(p Piece) (int, error) {
	s.in.begin(p, s.BeforeReceive)
	return s.in.end("read", s.raw.Read(s.in.wait))
}

// ReceiveNow is Receive that does not wait: 0 and no error is nothing.
func (s *Socket) ReceiveNow(p []byte) (int, error) {
	s.in.begin(Piece{Bytes: p}, nil)
	return s.in.end("read", s.raw.Control(s.in.now)) // spares the poller
}

// Send sends some of p, or waits until the socket takes some.
func (s *Socket) Send(p Piece) (int, error) {
	s.out.begin(p, s.BeforeSend)
	return s.out.end("write", s.raw.Write(s.out.wait))
}

// SendNow is Send that does not wait: 0 and no error is that nothing was taken.
func (s *Socket) SendNow(p Piece) (int, error) {
	s.out.begin(p, nil)
	return s.out.end("write", s.raw.Control(s.out.now)) // spares the poller
}

// ReceiveTried and SendTried report whether the last Receive or Send has asked the socket
// at all: it has not where the deadline of an earlier wait was over.
func (s *Socket) ReceiveTried() bool { return s.in.tried }

// SendTried: see ReceiveTried.
func (s *Socket) SendTried() bool { return s.out.tried }

func (h *half) begin(p Piece, beforeWait func()) {
	h.piece, h.beforeWait = p, beforeWait
	h.tried, h.n, h.err = false, 0, nil
}

// end says what try has come to, in the words of net.Conn.
func (h *half) end(op string, err error) (int, error) {
	size := h.piece.Size
	h.piece = Piece{}
	switch {
	case err != nil:
		return 0, plainError(op, err)
	case h.err == unix.EAGAIN:
		return 0, nil
	case h.err != nil:
		return 0, socketError(op, h.err)
	case h.n == 0 && !h.sends:
		return 0, io.EOF
	case h.n == 0 && size > 0:
		return 0, io.ErrUnexpectedEOF // the pipe had less than it should
	}
	return h.n, nil
}

// plainError takes back that it is a raw connection that failed.
func plainError(op string, err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		e.Op = op
	}
	return err
}

// socketError gives an error of the system the words of package net.
func socketError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(op, err)}
}

// ErrUnasked is what Look finds where the peer has said something.
var ErrUnasked = errors.New("it has sent something that it was not asked for")

// Look returns nil if the peer has sent nothing that was not received yet, its end neither.
// Only who holds the connection may call it, while nobody receives.
func (s *Socket) Look() error {
	err := s.raw.Control(s.peek) // spares the poller
	switch {
	case err != nil:
		return plainError("read", err)
	case s.peekErr == unix.EAGAIN:
		return nil
	case s.peekErr != nil:
		return socketError("read", s.peekErr)
	case s.nPeeked == 0:
		return io.EOF
	}
	return ErrUnasked
}

// HasInput reports whether bytes have come that were not received yet. Any goroutine may call it.
func (s *Socket) HasInput() bool {
	var b [1]byte
	var n int
	err := nonblock.Control(s.raw, func(fd int) (err error) {
		for err = error(unix.EINTR); err == unix.EINTR; {
			n, err = nonblock.Peek(fd, &b)
		}
		return err
	})
	return n > 0 && err == nil
}

// Unsent is the number of bytes that the peer has not acknowledged yet, or -1 where the
// system does not tell.
func (s *Socket) Unsent() int {
	if s.raw == nil || s.raw.Control(s.outq) != nil {
		return -1
	}
	return int(s.queue.Load())
}

// past is a deadline that is over: it ends what is waiting at once, and unlike
// Close its error cannot be taken for the peer's.
var past = time.Unix(1, 0)

// Stop makes a call under way that waits, and each later one that would have to, fail with
// a timeout, in both directions. That cannot be undone, and holds for a socket that is opened
// afterwards, too; only the caller sees to it that nobody opens it at the same time.
func (s *Socket) Stop() {
	s.StopReceiving()
	s.StopSending()
}

// StopReceiving is Stop for one direction.
func (s *Socket) StopReceiving() {
	s.in.stopped.Store(true)
	if s.nc != nil {
		_ = s.nc.SetReadDeadline(past)
		if s.watch.state.Load() == awaited {
			go s.runAwaited() // the caller may have locks
		}
	}
}

// StopSending is Stop for the other one.
func (s *Socket) StopSending() {
	s.out.stopped.Store(true)
	if s.nc != nil {
		_ = s.nc.SetWriteDeadline(past)
	}
}

// ReceivingStopped and SendingStopped report whether Stop was called.
func (s *Socket) ReceivingStopped() bool { return s.in.stopped.Load() }

// SendingStopped: see ReceivingStopped.
func (s *Socket) SendingStopped() bool { return s.out.stopped.Load() }

// SetReadDeadline is net.Conn's, but that it does not undo a Stop, whichever comes first.
func (s *Socket) SetReadDeadline(t time.Time) {
	_ = s.nc.SetReadDeadline(t)
	if s.in.stopped.Load() {
		_ = s.nc.SetReadDeadline(past)
	}
}

// SetWriteDeadline: see SetReadDeadline.
func (s *Socket) SetWriteDeadline(t time.Time) {
	_ = s.nc.SetWriteDeadline(t)
	if s.out.stopped.Load() {
		_ = s.nc.SetWriteDeadline(past)
	}
}

// ResetOnClose makes closing a reset (R31), also the one that the system does when the
// process dies, or takes that back: with a linger time of 0 the system does that for every
// close (socket(7), SO_LINGER). Where nothing changes it costs no system call.
func (s *Socket) ResetOnClose(on bool) {
	if s.resets == on || s.raw == nil {
		return
	}
	s.resets = on
	_ = s.raw.Control(s.lingerFn)
}

// setLinger cannot fail for a socket that is open.
func (s *Socket) setLinger(fd uintptr) {
	linger := unix.Linger{}
	if s.resets {
		linger.Onoff = 1
	}
	_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &linger)
}

// IsTimeout reports whether err is a deadline that has passed.
func IsTimeout(err error) bool {
	if err == nil {
		return false
	}
	ne, ok := errors.AsType[net.Error](err) // unlike errors.As, without an allocation
	return ok && ne.Timeout()
}
