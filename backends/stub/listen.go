package stub

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

func (s *Server) listen(addr string) (*net.TCPListener, error) {
	ln, err := net.Listen("tcp4", addr)
	if err != nil {
		return nil, err
	}
	tcp := ln.(*net.TCPListener)
	if s.opts.receiveBuffer > 0 {
		if err := setReceiveBuffer(tcp, s.opts.receiveBuffer); err != nil {
			tcp.Close()
			return nil, fmt.Errorf("cannot set the receive buffer: %w", err)
		}
	}
	return tcp, nil
}

func setReceiveBuffer(ln *net.TCPListener, n int) error {
	raw, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, n)
	})
	return errors.Join(err, set)
}

func (s *Server) downLocked() {
	if s.ln != nil {
		s.ln.Close()
		s.ln = nil
	}
	for c := range s.conns {
		c.kill(true)
	}
	s.bumpLocked()
}

func (s *Server) acceptLocked(ln *net.TCPListener) {
	s.ln = ln
	s.wg.Go(func() {
		for {
			nc, err := ln.AcceptTCP()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				time.Sleep(5 * time.Millisecond) // for example, out of file descriptors
				continue
			}
			s.welcome(ln, nc)
		}
	})
}

func (s *Server) welcome(ln *net.TCPListener, nc *net.TCPConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln != ln || s.refuse {
		nc.SetLinger(0)
		nc.Close()
		return
	}
	s.counts.Conns++
	c := newConn(s, nc, s.counts.Conns)
	s.conns[c] = struct{}{}
	s.bumpLocked()
	s.wg.Go(c.serve)
}
