//go:build linux || darwin

package backends

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/nonblock"
)

var errNoSplice = errors.New("cannot splice to this connection")

// outgoing is what is to be sent: bytes, or size bytes that are in a pipe, and
// whether more is about to follow those.
type outgoing struct {
	bytes []byte
	pipe  int
	size  int
	more  bool
}

// rawSocket reaches the socket under a plain TCP connection, for calls that must
// not wait, or that say when they have to. The zero value stands for "no such
// socket" (TLS). Its functions are made once a connection, because a closure a call
// would be an allocation a call. send belongs to the writing goroutine, receive and
// unsent to it or the reading one, look to whoever holds the connection while neither runs.
type rawSocket struct {
	conn syscall.RawConn

	write    func(fd uintptr) bool
	writeNow func(fd uintptr)
	toWrite  outgoing
	wait     bool
	written  int
	writeErr error

	read    func(fd uintptr) bool
	readNow func(fd uintptr)
	toRead  []byte
	toSkip  int
	nRead   int
	readErr error

	peek    func(fd uintptr)
	peeked  [1]byte
	nPeeked int
	peekErr error

	outq  func(fd uintptr)
	queue atomic.Int64
}

func (s *rawSocket) open(nc net.Conn) {
	if s.conn = nonblock.Socket(nc); s.conn == nil {
		return
	}
	s.write, s.read, s.peek = s.writeOnce, s.readOnce, s.peekOnce
	s.writeNow = func(fd uintptr) { s.writeOnce(fd) }
	s.readNow = func(fd uintptr) { s.readOnce(fd) }
	s.outq = func(fd uintptr) { s.queue.Store(int64(sendQueue(int(fd)))) }
}

// send sends some of o. With wait it waits for room, until the write deadline;
// else 0 and no error mean that there is none.
func (s *rawSocket) send(o outgoing, wait bool) (int, error) {
	s.toWrite, s.wait, s.written, s.writeErr = o, wait, 0, nil
	var err error
	if wait {
		err = s.conn.Write(s.write)
	} else {
		err = s.conn.Control(s.writeNow) // spares the poller
	}
	s.toWrite = outgoing{}
	if err != nil {
		return 0, plainError("write", err)
	}
	switch {
	case s.writeErr == unix.EAGAIN:
		return 0, nil
	case s.writeErr != nil:
		return 0, socketError("write", s.writeErr)
	case s.written == 0 && o.size > 0:
		return 0, io.ErrUnexpectedEOF // the pipe had less than it should
	}
	return s.written, nil
}

func (s *rawSocket) writeOnce(fd uintptr) bool {
	for {
		if s.toWrite.size > 0 {
			s.written, s.writeErr = splice(s.toWrite.pipe, int(fd), s.toWrite.size, s.toWrite.more)
		} else {
			s.written, s.writeErr = nonblock.Send(int(fd), s.toWrite.bytes)
		}
		switch s.writeErr {
		case unix.EINTR:
		case unix.EAGAIN:
			return !s.wait
		default:
			return true
		}
	}
}

// receive reads as net.Conn does.
func (s *rawSocket) receive(p []byte) (int, error) {
	s.toRead = p
	defer func() { s.toRead = nil }()
	return s.input()
}

// receiveNow is receive that does not wait: 0 and no error is nothing.
func (s *rawSocket) receiveNow(p []byte) (int, error) {
	s.toRead = p
	err := s.conn.Control(s.readNow) // spares the poller
	s.toRead = nil
	if err == nil && s.readErr == unix.EAGAIN {
		return 0, nil
	}
	return s.received(err)
}

// skip reads up to n bytes and throws them away.
func (s *rawSocket) skip(n int64) (int, error) {
	s.toSkip = int(min(n, 1<<30))
	defer func() { s.toSkip = 0 }()
	return s.input()
}

func (s *rawSocket) input() (int, error) { return s.received(s.conn.Read(s.read)) }

// received tells what readOnce has come to, in the words of net.Conn.
func (s *rawSocket) received(err error) (int, error) {
	switch {
	case err != nil:
		return 0, plainError("read", err)
	case s.readErr != nil:
		return 0, socketError("read", s.readErr)
	case s.nRead == 0:
		return 0, io.EOF
	}
	return s.nRead, nil
}

func (s *rawSocket) readOnce(fd uintptr) bool {
	for {
		if s.toSkip > 0 {
			s.nRead, s.readErr = skip(int(fd), s.toSkip)
		} else {
			s.nRead, s.readErr = nonblock.Receive(int(fd), s.toRead)
		}
		switch s.readErr {
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			return true
		}
	}
}

// look returns nil if the peer has sent nothing, its end neither.
func (s *rawSocket) look() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Control(s.peek) // spares the poller
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
	return errUnasked
}

func (s *rawSocket) peekOnce(fd uintptr) { s.nPeeked, s.peekErr = nonblock.Peek(int(fd), &s.peeked) }

func (s *rawSocket) unsent() int {
	if s.conn == nil {
		return -1
	}
	if err := s.conn.Control(s.outq); err != nil {
		return -1
	}
	return int(s.queue.Load())
}
