package backends

// A kept-alive connection over plain TCP has a goroutine that waits for what comes
// next on it, from the moment when the connection becomes idle: for the answer to
// the next request, which then costs neither a new goroutine nor a read that finds
// nothing, or for the peer's end.
//
// The wait forgets what came before it (internal/poll.FD.RawRead resets the poller,
// which reports edges). A goroutine that waits before the connection is acquired need
// not look first, which would be the read that is to be spared: no answer can have
// come. Of what came between the last answer and the wait, the peer's end say, only
// Alive and a write tell then. One that is late, because the connection was acquired
// meanwhile, looks. A Read that is no Await's waits until the goroutine's wait is over.

// watchState says what the goroutine is about.
type watchState = uint32

const (
	unwatched watchState = iota // there is none; in an idle connection: something came, or its deadline passed
	pooled                      // it is about to wait, and the connection is idle
	taken                       // the connection was acquired before it waited
	waiting                     // it waits
	awaited                     // it waits and has something to run then
	running                     // it runs that
)

// Await makes f run on a goroutine of the connection's own as soon as there is
// something to read, or reading fails or times out. It is false where the
// connection has none; f is left to the caller then. Only one that was Reused has
// any. After a true, f's run alone may read or give the connection back.
func (c *Conn) Await(f func()) bool {
	c.onReadable = f
	return c.watch.CompareAndSwap(taken, awaited) || c.watch.CompareAndSwap(waiting, awaited)
}

// toPool gives the connection to the pool, watched where that is possible.
func (c *Conn) toPool() {
	for c.raw.conn != nil {
		s := c.watch.Load()
		if s == waiting {
			break
		}
		if c.watch.CompareAndSwap(s, pooled) {
			if s == unwatched {
				go c.watchFn()
			}
			break
		}
	}
	c.backend.pool.release(c)
}

// fromPool notes that an idle connection is in use again. It is false where the
// peer has ended it, or sent something unasked.
func (c *Conn) fromPool() bool {
	c.watch.CompareAndSwap(pooled, taken)
	return c.watch.Load() != unwatched || c.raw.quiet()
}

// watchIdle is the goroutine. It ends when the connection is not given back after
// what it ran, and when something comes that nobody has asked it to run for:
// whoever uses the connection reads it, or the next one to acquire it looks.
func (c *Conn) watchIdle() {
	for {
		c.parked = false
		_ = c.raw.conn.Read(c.parkFn) // whoever reads meets the error himself
		for !c.watch.CompareAndSwap(awaited, running) {
			if s := c.watch.Load(); s != awaited && c.watch.CompareAndSwap(s, unwatched) {
				return
			}
		}
		c.onReadable()
		if c.watch.CompareAndSwap(running, unwatched) {
			return
		}
	}
}

// park is called before the goroutine waits, and again afterwards. What comes
// from the first call on ends the wait.
func (c *Conn) park(fd uintptr) bool {
	if c.parked {
		return true
	}
	c.parked = true
	if c.watch.CompareAndSwap(pooled, waiting) {
		return false
	}
	c.watch.CompareAndSwap(taken, waiting)
	return !quiet(fd, &c.seen) // the answer may have come already
}
