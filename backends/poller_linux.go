package backends

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/nonblock"
)

// poller is a goroutine that waits for many connections at once, on an epoll instance
// that lies in the runtime's own one (epoll(7)). Answers come in bursts: it takes one
// after the other without waking a goroutine for each, and with all it takes at hand in
// the processor's caches (bench/NOTES.md). There are as many as threads that run Go code.
type poller struct {
	file *os.File
	raw  syscall.RawConn

	mu    sync.Mutex
	conns map[int32]*Conn // by file descriptor

	// Of its goroutine.
	events [64]unix.EpollEvent
	ready  []*Conn
}

// pollers are the process's. A system that has no more of them leaves connections
// unwatched.
var pollers struct {
	once sync.Once
	list []*poller
	next atomic.Uint32
}

func startPollers() {
	for range runtime.GOMAXPROCS(0) {
		p, err := newPoller()
		if err != nil {
			return
		}
		pollers.list = append(pollers.list, p)
		go p.run()
	}
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
	p := &poller{file: os.NewFile(uintptr(fd), "epoll"), conns: map[int32]*Conn{}}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		_ = p.file.Close()
		return nil, err
	}
	return p, nil
}

// watchWith makes one of the pollers watch c, and returns that, or nil.
func watchWith(c *Conn) (p *poller) {
	pollers.once.Do(startPollers)
	if len(pollers.list) == 0 {
		return nil
	}
	p = pollers.list[int(pollers.next.Add(1))%len(pollers.list)]
	var err error
	cerr := c.raw.conn.Control(func(fd uintptr) { err = p.add(int32(fd), c) })
	if errors.Join(cerr, err) != nil {
		return nil
	}
	return p
}

func (p *poller) add(fd int32, c *Conn) error {
	c.pollFD = fd
	p.mu.Lock()
	p.conns[fd] = c
	p.mu.Unlock()
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET, Fd: fd}
	var err error
	cerr := p.raw.Control(func(epoll uintptr) { err = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, int(fd), &event) })
	if err = errors.Join(cerr, err); err != nil {
		p.forget(c)
	}
	return err
}

// forget is called before a connection is closed, which takes it off the epoll instance.
// An event of before may still find a later one with the same descriptor: that looks, and
// finds nothing.
func (p *poller) forget(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns[c.pollFD] == c {
		delete(p.conns, c.pollFD)
	}
}

func (p *poller) run() {
	n := 0
	wait := func(fd uintptr) bool {
		n, _ = nonblock.EpollWait(int(fd), p.events[:])
		return n > 0
	}
	for {
		if err := p.raw.Read(wait); err != nil {
			panic(fmt.Sprintf("backends: cannot wait for connections: %v", err)) // nobody closes it
		}
		p.mu.Lock()
		for i := range p.events[:n] {
			if c := p.conns[p.events[i].Fd]; c != nil {
				p.ready = append(p.ready, c)
			}
		}
		p.mu.Unlock()
		for _, c := range p.ready {
			c.stir()
		}
		clear(p.ready)
		p.ready = p.ready[:0]
	}
}
