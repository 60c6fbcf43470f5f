//go:build linux || darwin

package netio

import "sync/atomic"

// A socket opened by a Watcher is watched to its end where possible: for its next input, so that no
// goroutine has to wait for it, and for the peer's close while it is idle.
//
// A poller reports edges: that something has arrived, once. Input that came unasked, or before
// anybody awaited it, makes the socket unwatched, and whoever uses it next checks.

// watch is a socket's state with its poller.
type watch struct {
	state      atomic.Uint32
	onReadable func() (next func()) // owned by whoever awaits, then by whoever runs it
	polled     *polled              // nil if it is not watched
}

// The states say what to do when something arrives.
const (
	unwatched uint32 = iota // nothing: whoever has the socket, or takes it up, checks
	waiting                 // nothing has arrived since the socket was last put down or checked
	awaited                 // somebody awaits it
	running                 // in use without awaiting anything: input has arrived and is being read
	hasMore                 // in use, and more input has arrived since that began
)

// Await has f run as soon as there is something to receive, or receiving fails or times out. If
// Await returns false it will not run f; that is left to the caller. Only a socket that was taken
// up can be awaited. After true, only code that f starts may receive or put the socket down.
//
// f runs on a poller's goroutine, the very one that would report whatever f waited for, so f must
// not wait. It returns what may have to wait as next, or nil; next runs on a goroutine of its own.
// f may find nothing to receive, if the poller was late to report an earlier response.
func (s *Socket) Await(f func() (next func())) bool {
	w := &s.watch
	w.onReadable = f
	if !w.state.CompareAndSwap(waiting, awaited) {
		return false
	}
	// Stop and deadlines check for awaited after they have taken effect.
	if s.in.stopped.Load() || w.polled.lapsed() {
		return !w.state.CompareAndSwap(awaited, running)
	}
	return true
}

// PutDown marks the socket as idle: input now belongs to nobody.
func (s *Socket) PutDown() {
	if !s.watch.state.CompareAndSwap(running, waiting) {
		s.watch.state.CompareAndSwap(hasMore, unwatched)
	}
}

// TakeUp marks an idle socket as in use again. The poller may be late under load, so its silence
// does not prove that nothing has arrived. The caller therefore has to check; whatever arrives
// after the check is noticed (R32).
func (s *Socket) TakeUp() {
	if s.watch.polled != nil && s.watch.state.Load() != waiting {
		s.watch.state.Store(waiting)
	}
}

// onInput is called when something has arrived.
func (s *Socket) onInput() (next func()) {
	for {
		switch s.watch.state.Load() {
		case awaited:
			if f := s.takeAwaited(); f != nil {
				return f()
			}
		case waiting:
			if s.watch.state.CompareAndSwap(waiting, unwatched) {
				return nil
			}
		case running:
			if s.watch.state.CompareAndSwap(running, hasMore) {
				return nil
			}
		default:
			return nil
		}
	}
}

// takeAwaited returns the awaited function, if any; the caller must run it.
func (s *Socket) takeAwaited() func() (next func()) {
	if !s.watch.state.CompareAndSwap(awaited, running) {
		return nil
	}
	return s.watch.onReadable
}

// runAwaited runs the awaited function on a goroutine that may wait.
func (s *Socket) runAwaited() {
	if f := s.takeAwaited(); f != nil {
		if next := f(); next != nil {
			next()
		}
	}
}
