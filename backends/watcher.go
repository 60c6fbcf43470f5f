package backends

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
)

// Watcher waits for what comes on the kept-alive connections of backends, on Linux: see
// Conn.Await. NewWatcher makes it, Start starts its goroutines, as many as threads run Go
// code, Close ends them. It may be closed once no connection is awaited any more.
type Watcher struct {
	pollers []*poller
	next    atomic.Uint32
	done    sync.WaitGroup
}

// NewWatcher makes a Watcher. Where the system has no means for it, or no more of them,
// it watches nothing.
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

// Close ends the goroutines and waits for them.
func (w *Watcher) Close() {
	for _, p := range w.pollers {
		p.close()
	}
	w.done.Wait()
}

// watch makes one of the pollers watch c, whose new socket is nc. It returns that poller
// and what c is to use in nc's place, or nil and nc. w may be nil.
func (w *Watcher) watch(c *Conn, nc net.Conn) (*poller, net.Conn) {
	if w == nil || len(w.pollers) == 0 {
		return nil, nc
	}
	p := w.pollers[int(w.next.Add(1))%len(w.pollers)]
	polled, err := p.watch(c, nc)
	if err != nil {
		return nil, nc
	}
	return p, polled
}
