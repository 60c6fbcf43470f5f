package engine

import (
	"context"
	"errors"
	"net"
)

// startListening remembers what Shutdown has to close: the server knows of a
// listener only from some time after its Serve was called. It reports whether
// there is anything left to serve.
func (e *Engine) startListening(ln *listener) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		_ = ln.Close()
		return false
	}
	e.listener = ln
	return true
}

func (e *Engine) stopListening() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopped = true
	if e.listener != nil {
		_ = e.listener.Close()
	}
}

// Shutdown stops accepting, and waits for the requests in flight and their legs
// until ctx is done. What is left then is cut off, which records it as a
// divergence where a backend had taken it (R22). It returns ctx's error in that
// case. Call it once.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.stopListening()
	e.stopping.Store(true)
	serverErr := e.server.ShutdownWithContext(ctx)
	if errors.Is(serverErr, net.ErrClosed) {
		serverErr = nil // that was stopListening
	}
	// Where its time is over, the server goes on with the connections that are
	// open: what they bring is refused from here on.
	e.closing.Store(true)
	idle := e.untilIdle()
	select {
	case <-idle:
		return serverErr
	case <-ctx.Done():
	}
	for _, r := range e.list() {
		r.shutdown()
		r.release()
	}
	// Everything that could wait has been made to fail.
	<-idle
	return ctx.Err()
}

// untilIdle returns a channel that is closed when no request is under way.
func (e *Engine) untilIdle() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	idle := make(chan struct{})
	if e.active == nil {
		close(idle)
	} else {
		e.idle = idle
	}
	return idle
}

// enlist and delist keep the list of requests under way: those that have their
// legs and their ring, so that they can be shut down. A request that is enlisted
// too late to be found there finds the engine closing.
func (e *Engine) enlist(r *request) {
	e.mu.Lock()
	r.next = e.active
	if r.next != nil {
		r.next.prev = r
	}
	e.active = r
	e.mu.Unlock()
}

func (e *Engine) delist(r *request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case r.prev != nil:
		r.prev.next = r.next
	case r == e.active:
		e.active = r.next
	default:
		return // it never came so far
	}
	if r.next != nil {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil
	if e.idle != nil && e.active == nil {
		close(e.idle)
		e.idle = nil
	}
}

// list takes hold of every request under way.
func (e *Engine) list() []*request {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []*request
	for r := e.active; r != nil; r = r.next {
		if r.tryRetain() {
			all = append(all, r)
		}
	}
	return all
}
