package service

import (
	"sync"
	"time"
)

// watch calls look regularly. Its goroutine runs from start to close.
type watch struct {
	look     func()
	interval time.Duration
	stop     chan struct{}
	done     sync.WaitGroup
}

func newWatch(look func(), interval time.Duration) *watch {
	return &watch{look: look, interval: interval, stop: make(chan struct{})}
}

func (w *watch) start() {
	w.done.Go(func() {
		tick := time.NewTicker(w.interval)
		defer tick.Stop()
		for {
			select {
			case <-w.stop:
				return
			case <-tick.C:
				w.look()
			}
		}
	})
}

func (w *watch) close() {
	close(w.stop)
	w.done.Wait()
}
