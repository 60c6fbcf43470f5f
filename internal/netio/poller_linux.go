package netio

import (
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/nonblock"
)

// poller is a goroutine that waits for many connections at once, using an epoll instance nested in
// the runtime's own (epoll(7)). Responses come in bursts: the poller takes one after the other
// without waking a goroutine for each, and with warm processor caches (bench/NOTES.md).
type poller struct {
	file *os.File
	raw  syscall.RawConn

	mu    sync.Mutex
	conns map[int32]*polled // by file descriptor

	// Fields of its goroutine.
	events [64]unix.EpollEvent
	ready  []*Socket
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // otherwise the runtime does not accept it
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

// watch starts watching s, which is in use; the caller then opens s on the returned connection
// instead of nc. After an error nc is unchanged.
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
	_ = nc.Close() // the duplicate keeps the socket open
	return c, nil
}

// Of the events that can be requested and those that are always reported (epoll_ctl(2)): the ones
// that matter to a reader and the ones that matter to a writer.
const (
	comesIn  = unix.EPOLLIN | unix.EPOLLRDHUP
	forRead  = comesIn | unix.EPOLLHUP | unix.EPOLLERR
	forWrite = unix.EPOLLOUT | unix.EPOLLHUP | unix.EPOLLERR
)

// forget is called before a connection is closed, which removes it from the epoll instance. An
// older event may still reach a later connection with the same descriptor; that one checks and
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
		if p.raw.Read(wait) != nil { // closed
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
			if next := s.onInput(); next != nil {
				go next()
			}
		}
		clear(p.ready)
		p.ready = p.ready[:0]
	}
}
