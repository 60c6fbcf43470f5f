package netio

import (
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/nonblock"
)

// poller is a goroutine that waits for many connections at once, on an epoll instance
// that lies in the runtime's own one (epoll(7)). Answers come in bursts: it takes one
// after the other without waking a goroutine for each, and with all it takes at hand in
// the processor's caches (bench/NOTES.md).
type poller struct {
	file *os.File
	raw  syscall.RawConn

	mu    sync.Mutex
	conns map[int32]*polled // by file descriptor

	// Of its goroutine.
	events [64]unix.EpollEvent
	ready  []*Socket
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or the runtime does not take it
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{file: os.NewFile(uintptr(fd), "epoll"), conns: map[int32]*polled{}}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		_ = p.file.Close()
		return nil, err
	}
	return p, nil
}

func (p *poller) close() { _ = p.file.Close() }

// watch begins to watch s, which is in use and is to be opened on what it returns, in the
// place of its new socket nc. With an error nc is as it was.
func (p *poller) watch(s *Socket, nc net.Conn) (*polled, error) {
	c, err := newPolled(nc, p, s)
	if err != nil {
		return nil, err
	}
	c.in.lapsed = s.runAwaited
	s.watch.polled = c
	s.watch.state.Store(running)
	p.mu.Lock()
	p.conns[int32(c.fd)] = c
	p.mu.Unlock()
	err = nonblock.Control(p.raw, func(epoll int) error {
		event := unix.EpollEvent{Events: comesIn | unix.EPOLLOUT | unix.EPOLLET, Fd: int32(c.fd)}
		return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, c.fd, &event)
	})
	if err != nil {
		s.watch.state.Store(unwatched)
		s.watch.polled = nil
		_ = c.Close()
		return nil, err
	}
	_ = nc.Close() // the socket goes on
	return c, nil
}

// Of the events that can be asked for and those that are always told of (epoll_ctl(2)),
// what somebody who reads has to look at, and what somebody who writes.
const (
	comesIn  = unix.EPOLLIN | unix.EPOLLRDHUP
	forRead  = comesIn | unix.EPOLLHUP | unix.EPOLLERR
	forWrite = unix.EPOLLOUT | unix.EPOLLHUP | unix.EPOLLERR
)

// forget is called before a connection is closed, which takes it off the epoll instance.
// An event of before may still find a later one with the same descriptor: that looks, and
// finds nothing.
func (p *poller) forget(c *polled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if fd := int32(c.fd); p.conns[fd] == c {
		delete(p.conns, fd)
	}
}

func (p *poller) run() {
	n := 0
	wait := func(fd uintptr) bool {
		n, _ = nonblock.EpollWait(int(fd), p.events[:])
		return n > 0
	}
	for {
		if p.raw.Read(wait) != nil { // it was closed
			return
		}
		p.mu.Lock()
		for i := range p.events[:n] {
			c := p.conns[p.events[i].Fd]
			if c == nil {
				continue
			}
			if p.events[i].Events&forWrite != 0 {
				c.out.signal()
			}
			if p.events[i].Events&forRead != 0 {
				c.in.signal()
				p.ready = append(p.ready, c.socket)
			}
		}
		p.mu.Unlock()
		for _, s := range p.ready {
			if next := s.stir(); next != nil {
				go next()
			}
		}
		clear(p.ready)
		p.ready = p.ready[:0]
	}
}
