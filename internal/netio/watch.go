//go:build linux || darwin

package netio

import "sync/atomic"

// A socket that a Watcher has opened is watched, where that can be, to its end: for what
// comes next, which so costs no goroutine that waits for it, and for the peer's end while
// it is idle.
//
// A poller tells of edges: that something has come, once. What came unasked, or before
// somebody awaited it, makes the socket unwatched, and whoever uses it next looks.

// watch is what a socket knows of being watched.
type watch struct {
	state      atomic.Uint32
	onReadable func() (next func()) // of whoever awaits, then of who runs it
	polled     *polled              // nil where it is not watched
}

// The states say what is to be done when something comes.
const (
	unwatched uint32 = iota // nothing: whoever has the socket, or takes it up, looks himself
	waiting                 // nothing has come since the socket was last put down, or looked at
	awaited                 // somebody awaits it
	running                 // in use without awaiting anything: something has come, and is being read
	stirred                 // in use, and something has come since that began
)

// Await has f run as soon as there is something to receive, or receiving fails or times
// out. It is false where it does not; f is left to the caller then. Only a socket that was
// taken up can be awaited. After a true, what f begins alone may receive, or put it down.
//
// f runs on a poller's goroutine, which is the one that would have to tell of whatever it
// waited for: so it waits for nothing. What may have to wait f returns as next, or nil, and
// that runs on a goroutine of its own. f may find nothing to receive, where that has been
// told late of an answer before.
func (s *Socket) Await(f func() (next func())) bool {
	w := &s.watch
	w.onReadable = f
	if !w.state.CompareAndSwap(waiting, awaited) {
		return false
	}
	// Stop and deadlines look for awaited after they have said so.
	if s.in.stopped.Load() || w.polled.lapsed() {
		return !w.state.CompareAndSwap(awaited, running)
	}
	return true
}

// PutDown notes that the socket is idle: what comes is nobody's.
func (s *Socket) PutDown() {
	if !s.watch.state.CompareAndSwap(running, waiting) {
		s.watch.state.CompareAndSwap(stirred, unwatched)
	}
}

// TakeUp notes that an idle socket is in use again. What a poller has seen is not enough
// to tell that nothing has come: under load it is late. So the caller has to look, and what
// comes after that is seen (R32).
func (s *Socket) TakeUp() {
	if s.watch.polled != nil && s.watch.state.Load() != waiting {
		s.watch.state.Store(waiting)
	}
}

// stir is called when something has come.
func (s *Socket) stir() (next func()) {
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
			if s.watch.state.CompareAndSwap(running, stirred) {
				return nil
			}
		default:
			return nil
		}
	}
}

// takeAwaited gives what is awaited to who runs it, if something is.
func (s *Socket) takeAwaited() func() (next func()) {
	if !s.watch.state.CompareAndSwap(awaited, running) {
		return nil
	}
	return s.watch.onReadable
}

// runAwaited is for a goroutine that may wait.
func (s *Socket) runAwaited() {
	if f := s.takeAwaited(); f != nil {
		if next := f(); next != nil {
			next()
		}
	}
}
