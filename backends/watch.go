package backends

import "net"

// A kept-alive connection over plain TCP is watched, where its backend has a Watcher that
// can, from its first request to its end: for the answer to the next one,
// which so costs no goroutine that waits for it, and for the peer's end while it is idle.
//
// A poller tells of edges: that something has come, once. What came unasked, or before
// somebody awaited it, makes the connection unwatched, and whoever uses it next looks.

// watchState says what is to be done when something comes.
type watchState = uint32

const (
	unwatched watchState = iota // nothing: whoever has the connection, or acquires it, looks himself
	waiting                     // nothing has come since the connection was last given back, or looked at
	awaited                     // somebody awaits it
	running                     // in use without awaiting anything: something has come, and is being read
	stirred                     // in use, and something has come since that began
)

// Await makes f run as soon as there is something to read, or reading fails or times
// out. It is false where it does not; f is left to the caller then. Only a connection that
// was Reused can be awaited. After a true, what f begins alone may read or give the
// connection back.
//
// f must not wait for anything, least of all for a connection: the goroutine that runs it
// is the one that would have to tell. It may find nothing to read, where that has been told
// late of an answer before.
func (c *Conn) Await(f func()) bool {
	c.onReadable = f
	if !c.watch.CompareAndSwap(waiting, awaited) {
		return false
	}
	// Aborts and deadlines look for awaited after they have said so.
	if c.aborted.Load() || c.polled.lapsed() {
		return !c.watch.CompareAndSwap(awaited, running)
	}
	return true
}

// toPool gives the connection to the pool, watched where that is possible.
func (c *Conn) toPool() {
	if !c.watch.CompareAndSwap(running, waiting) {
		c.watch.CompareAndSwap(stirred, unwatched)
	}
	c.backend.pool.release(c)
}

// fromPool notes that an idle connection is in use again. It is false where the
// peer has ended it, or sent something unasked. What a poller has seen is not enough to
// tell: under load it is late (R32).
func (c *Conn) fromPool() bool {
	if c.poller != nil && c.watch.Load() != waiting {
		c.watch.Store(waiting) // first: what comes after the look is seen then
	}
	return c.Alive()
}

// startWatching begins to watch a new connection, which is in use, and returns what it is
// to use in the place of nc, its socket.
func (c *Conn) startWatching(nc net.Conn) net.Conn {
	c.watch.Store(running)
	if c.poller, nc = c.backend.watcher.watch(c, nc); c.poller == nil {
		c.watch.Store(unwatched)
	}
	return nc
}

// stopWatching ends that; nobody uses the connection any more.
func (c *Conn) stopWatching() {
	if c.poller != nil {
		c.poller.forget(c)
	}
}

// stir is called when something has come.
func (c *Conn) stir() {
	for {
		switch c.watch.Load() {
		case awaited:
			if c.runAwaited() {
				return
			}
		case waiting:
			if c.watch.CompareAndSwap(waiting, unwatched) {
				return
			}
		case running:
			if c.watch.CompareAndSwap(running, stirred) {
				return
			}
		default:
			return
		}
	}
}

// runAwaited runs what is awaited, if something is.
func (c *Conn) runAwaited() bool {
	if !c.watch.CompareAndSwap(awaited, running) {
		return false
	}
	c.onReadable()
	return true
}
