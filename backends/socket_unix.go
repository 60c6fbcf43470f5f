//go:build linux || darwin

package backends

import (
	"errors"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

var errNoSplice = errors.New("cannot splice to this connection")

// rawSocket reaches the socket under a plain TCP connection, for calls that must
// not wait. The zero value stands for "no such socket" (TLS). Its functions are
// made once a connection, because a closure a call would be an allocation a
// call. tryWrite and splicePipe belong to the writing goroutine, quiet to whoever holds the
// idle connection, unsent to the reading goroutine.
type rawSocket struct {
	conn syscall.RawConn

	write    func(fd uintptr) bool
	toWrite  []byte
	written  int
	writeErr error

	splice    func(fd uintptr) bool
	pipe      int
	toSplice  int
	spliced   int
	spliceErr error

	peek      func(fd uintptr) bool
	peekQuiet bool
	peeked    [1]byte

	outq  func(fd uintptr)
	queue int
}

func (s *rawSocket) open(nc net.Conn) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	s.conn = raw
	s.write = func(fd uintptr) bool {
		for {
			s.written, s.writeErr = unix.Write(int(fd), s.toWrite)
			if s.writeErr != unix.EINTR {
				return true
			}
		}
	}
	s.peek = func(fd uintptr) bool {
		_, _, err := unix.Recvfrom(int(fd), s.peeked[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		// Nothing there is the only good answer: 0 bytes is the peer's FIN, and
		// a byte is one that nobody asked for.
		s.peekQuiet = err == unix.EAGAIN || err == unix.EWOULDBLOCK
		return true
	}
	s.splice = func(fd uintptr) bool {
		for {
			s.spliced, s.spliceErr = spliceFrom(s.pipe, int(fd), s.toSplice)
			switch s.spliceErr {
			case unix.EINTR:
			case unix.EAGAIN:
				return false
			default:
				return true
			}
		}
	}
	s.outq = func(fd uintptr) { s.queue = sendQueue(int(fd)) }
}

func (s *rawSocket) tryWrite(p []byte) (int, error) {
	if s.conn == nil {
		return 0, nil
	}
	s.toWrite, s.written, s.writeErr = p, 0, nil
	err := s.conn.Write(s.write)
	s.toWrite = nil
	if s.writeErr == unix.EAGAIN {
		return 0, nil
	}
	if err == nil {
		err = s.writeErr
	}
	return max(s.written, 0), err
}

func (s *rawSocket) splicePipe(pipe, n int) (int, error) {
	if s.conn == nil {
		return 0, errNoSplice
	}
	s.pipe, s.toSplice, s.spliced, s.spliceErr = pipe, n, 0, nil
	if err := s.conn.Write(s.splice); err != nil {
		return 0, err
	}
	if s.spliceErr == nil && s.spliced == 0 {
		return 0, io.ErrUnexpectedEOF // the pipe had less than it should
	}
	return max(s.spliced, 0), s.spliceErr
}

func (s *rawSocket) quiet() bool {
	if s.conn == nil {
		return true
	}
	s.peekQuiet = false
	err := s.conn.Read(s.peek)
	return err == nil && s.peekQuiet
}

func (s *rawSocket) unsent() int {
	if s.conn == nil {
		return -1
	}
	s.queue = -1
	if err := s.conn.Control(s.outq); err != nil {
		return -1
	}
	return s.queue
}
