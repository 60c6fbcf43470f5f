package engine

import (
	"context"
	"errors"
	"net"
	"time"
)

// startListening records what Shutdown has to close: the server knows a listener only some time
// after its Serve was called. It reports whether there is anything left to serve.
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

// Drain makes each answer the last one on its connection while requests are still taken: clients
// that have to go elsewhere do so, and no connection is in use when Shutdown closes it (R22).
func (e *Engine) Drain() { e.stopping.Store(true) }

// seeOff waits until the clients have gone, each after one more answer, which announces the end of
// its connection. A client that has been idle for drainGrace is not about to send a request and
// does not delay it; closing any other connection might break a request. Drain has been called,
// and no new clients arrive.
func (e *Engine) seeOff(ctx context.Context) {
	l := e.door()
	if l == nil {
		return
	}
	select {
	case <-l.ended: // who was accepted at the last moment is in the list
	case <-ctx.Done():
		return
	}
	for {
		open, later := l.dismissIdle()
		if open == 0 {
			return
		}
		timer := time.NewTimer(later)
		select {
		case <-timer.C:
		case <-l.left:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// dismissIdle closes the connections that have been idle for drainGrace, and those whose head has
// been arriving for headGrace. open is how many there were, later when to look again.
func (l *listener) dismissIdle() (open int, later time.Duration) {
	now, grace := l.e.now(), l.e.o.drainGrace
	idleBefore, slowBefore := idleSince(now-int64(grace)), idleSince(now-int64(l.e.o.headGrace))
	later = grace // who begins to be idle now
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		switch q := c.quiet(); {
		case q <= 0:
		case q.idle() && q > idleBefore:
			later = min(later, time.Duration(q-idleBefore)/2)
		case (q.idle() || q <= slowBefore) && c.tryEvict(q):
			l.leaving.Add(1)
		}
	}
	return len(l.conns), max(later, time.Millisecond)
}

// drainGrace is how long a connection must have been idle to be closed by a shutdown. A client
// that sends one request after another pauses for less.
const drainGrace = time.Second

// Shutdown stops accepting and waits for the requests in flight and their legs until ctx is done.
// What is left then is cut off, and recorded as a divergence if a backend had taken it (R22); in
// that case Shutdown returns ctx's error. It must be called only once.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.stopListening()
	e.Drain()
	e.seeOff(ctx)
	serverErr := e.server.ShutdownWithContext(ctx)
	if errors.Is(serverErr, net.ErrClosed) {
		serverErr = nil // that was stopListening
	}
	// After that time the server still has open connections: whatever they send is refused from
	// here on.
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

// untilIdle returns a channel that is closed when no request is in flight.
func (e *Engine) untilIdle() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	idle := make(chan struct{})
	e.idle = idle
	e.tellIdleLocked()
	return idle
}

func (e *Engine) tellIdleLocked() {
	if e.idle != nil && e.inFlight.Load() == 0 {
		close(e.idle)
		e.idle = nil
	}
}

// leave says that a request is not in flight any more. It is nil if it has not begun.
func (e *Engine) leave(r *request) {
	e.inFlight.Add(-1)
	e.mu.Lock()
	defer e.mu.Unlock()
	if r != nil {
		e.delistLocked(r)
	}
	e.tellIdleLocked()
}

// enlist and delistLocked keep the list of requests in flight that have legs and a ring, so that
// they can be shut down. A request that is enlisted too late to be found there finds the engine
// closing.
func (e *Engine) enlist(r *request) {
	e.mu.Lock()
	r.next = e.active
	if r.next != nil {
		r.next.prev = r
	}
	e.active = r
	e.mu.Unlock()
}

func (e *Engine) delistLocked(r *request) {
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
}

// list takes hold of every request in flight.
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
