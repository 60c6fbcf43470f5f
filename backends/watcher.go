package backends

import (
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

// watch makes one of the pollers watch c, and returns that, or nil. w may be nil.
func (w *Watcher) watch(c *Conn) *poller {
	if w == nil || len(w.pollers) == 0 {
		return nil
	}
	p := w.pollers[int(w.next.Add(1))%len(w.pollers)]
	if p.watch(c) != nil {
		return nil
	}
	return p
}
