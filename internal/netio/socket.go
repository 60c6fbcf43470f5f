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

// Piece is what one call moves: Bytes or, if Size is set, that many bytes through a pipe. Without a
// pipe, received bytes are discarded.
type Piece struct {
	Bytes []byte
	Pipe  int
	Size  int
	// More says that more will be sent: a partial packet waits for it, or until the peer has
	// acknowledged what came before.
	More bool
}

// Socket gives access to the socket under a TCP connection. The zero value has none until Open.
type Socket struct {
	// BeforeReceive and BeforeSend, if not nil, run on the caller's goroutine each time just before
	// a Receive or Send has to wait. They set its deadline.
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

// half is one direction. Its functions are made once per connection, because a closure per call
// would be an allocation per call.
type half struct {
	sends   bool
	stopped atomic.Bool
	wait    func(fd uintptr) bool
	now     func(fd uintptr)

	// Fields of the call in progress.
	piece      Piece
	beforeWait func()
	tried      bool
	n          int
	err        error
}

// Open makes s the socket under nc and reports whether there is one.
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

// NetConn is the connection on top of the socket.
func (s *Socket) NetConn() net.Conn { return s.nc }

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

// Receive receives some of p, waiting until something arrives, like net.Conn's Read.
func (s *Socket) Receive(p Piece) (int, error) {
	s.in.begin(p, s.BeforeReceive)
	return s.in.end("read", s.raw.Read(s.in.wait))
}

// ReceiveNow is Receive without waiting: it returns 0 and no error if nothing is there.
func (s *Socket) ReceiveNow(p []byte) (int, error) {
	s.in.begin(Piece{Bytes: p}, nil)
	return s.in.end("read", s.raw.Control(s.in.now)) // bypasses the poller
}

// Send sends some of p, waiting until the socket takes some.
func (s *Socket) Send(p Piece) (int, error) {
	s.out.begin(p, s.BeforeSend)
	return s.out.end("write", s.raw.Write(s.out.wait))
}

// SendNow is Send without waiting: it returns 0 and no error if nothing was taken.
func (s *Socket) SendNow(p Piece) (int, error) {
	s.out.begin(p, nil)
	return s.out.end("write", s.raw.Control(s.out.now)) // bypasses the poller
}

// ReceiveTried reports whether the last Receive has asked the socket at all. It has not if the
// deadline of an earlier wait had passed.
func (s *Socket) ReceiveTried() bool { return s.in.tried }

// SendTried is ReceiveTried for Send.
func (s *Socket) SendTried() bool { return s.out.tried }

func (h *half) begin(p Piece, beforeWait func()) {
	h.piece, h.beforeWait = p, beforeWait
	h.tried, h.n, h.err = false, 0, nil
}

// end returns the result of try the way net.Conn does.
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
		return 0, io.ErrUnexpectedEOF // the pipe had fewer bytes than it should have
	}
	return h.n, nil
}

// plainError hides that a raw connection failed.
func plainError(op string, err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		e.Op = op
	}
	return err
}

// socketError wraps a system error the way package net does.
func socketError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(op, err)}
}

// ErrUnasked is Look's error if the peer has sent something.
var ErrUnasked = errors.New("the peer has sent something unasked")

// Look returns nil if there is nothing to receive, not even the end of the stream. Only the
// connection's owner may call it, while nobody receives.
func (s *Socket) Look() error {
	err := s.raw.Control(s.peek) // bypasses the poller
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

// HasInput reports whether there are bytes to receive. Any goroutine may call it.
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

// Unsent is the number of bytes that the peer has not acknowledged yet, or -1 if the system does
// not say.
func (s *Socket) Unsent() int {
	if s.raw == nil || s.raw.Control(s.outq) != nil {
		return -1
	}
	return int(s.queue.Load())
}

// past is a deadline that has passed. It ends a wait at once and, unlike Close, its error cannot be
// taken for the peer's.
var past = time.Unix(1, 0)

// Stop makes a call that is waiting, and every later one that would have to wait, fail with a
// timeout, in both directions. It cannot be undone and holds even for a socket that is opened
// later; the caller must make sure that nobody opens it at the same time.
func (s *Socket) Stop() {
	s.StopReceiving()
	s.StopSending()
}

// StopReceiving is Stop for receiving only.
func (s *Socket) StopReceiving() {
	s.in.stopped.Store(true)
	if s.nc != nil {
		_ = s.nc.SetReadDeadline(past)
		if s.watch.state.Load() == awaited {
			go s.runAwaited() // the caller may hold locks
		}
	}
}

// StopSending is Stop for sending only.
func (s *Socket) StopSending() {
	s.out.stopped.Store(true)
	if s.nc != nil {
		_ = s.nc.SetWriteDeadline(past)
	}
}

// ReceivingStopped reports whether receiving was stopped.
func (s *Socket) ReceivingStopped() bool { return s.in.stopped.Load() }

// SendingStopped reports whether sending was stopped.
func (s *Socket) SendingStopped() bool { return s.out.stopped.Load() }

// SetReadDeadline is net.Conn's, except that it never undoes a Stop, in whichever order they come.
func (s *Socket) SetReadDeadline(t time.Time) {
	_ = s.nc.SetReadDeadline(t)
	if s.in.stopped.Load() {
		_ = s.nc.SetReadDeadline(past)
	}
}

// SetWriteDeadline is net.Conn's, except that it never undoes a Stop.
func (s *Socket) SetWriteDeadline(t time.Time) {
	_ = s.nc.SetWriteDeadline(t)
	if s.out.stopped.Load() {
		_ = s.nc.SetWriteDeadline(past)
	}
}

// ResetOnClose makes every close a reset (R31), even the one by the system when the process dies;
// ResetOnClose(false) undoes that. A linger time of 0 does it (socket(7), SO_LINGER). If nothing
// changes it costs no system call.
func (s *Socket) ResetOnClose(on bool) {
	if s.resets == on || s.raw == nil {
		return
	}
	s.resets = on
	_ = s.raw.Control(s.lingerFn)
}

// setLinger cannot fail for an open socket.
func (s *Socket) setLinger(fd uintptr) {
	linger := unix.Linger{}
	if s.resets {
		linger.Onoff = 1
	}
	_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &linger)
}

// IsTimeout reports whether err means that a deadline has passed.
func IsTimeout(err error) bool {
	if err == nil {
		return false
	}
	ne, ok := errors.AsType[net.Error](err) // unlike errors.As, does not allocate
	return ok && ne.Timeout()
}
