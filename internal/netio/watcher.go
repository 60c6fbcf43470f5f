package netio

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
)

// Watcher waits for input on sockets, on Linux: see Socket.Await. NewWatcher makes it, Start starts
// its goroutines, one per thread that runs Go code, and Close stops them. It may be closed once no
// socket is awaited any more.
type Watcher struct {
	pollers []*poller
	next    atomic.Uint32
	done    sync.WaitGroup
}

// NewWatcher makes a Watcher. If the system cannot support it, it watches nothing.
func NewWatcher() *Watcher {
	w := &Watcher{}
	for range runtime.GOMAXPROCS(0) {
		p, err := newPoller()
		if err != nil {
			break
		}
		w.pollers = append(w.pollers, p)
	}
	return w
}

// Start starts the goroutines.
func (w *Watcher) Start() {
	for _, p := range w.pollers {
		w.done.Go(p.run)
	}
}

// Close stops the goroutines and waits for them.
func (w *Watcher) Close() {
	for _, p := range w.pollers {
		p.close()
	}
	w.done.Wait()
}

// Open is s.Open, and also has s watched where possible, on Linux. The caller must use s.NetConn
// instead of nc from now on. w may be nil.
func (w *Watcher) Open(s *Socket, nc net.Conn) bool {
	if w != nil && len(w.pollers) > 0 {
		p := w.pollers[int(w.next.Add(1))%len(w.pollers)]
		if polled, err := p.watch(s, nc); err == nil {
			nc = polled
		}
	}
	return s.Open(nc)
}
