package engine

import "time"

// quiet is what a client's connection does at the moment, as far as it can be dispensed
// with (R23): since when it does so, in nanoseconds on the engine's clock, times two, plus
// quietHead. It is of the server's goroutine, but for evicted, which whoever makes room
// changes it to: that one, and no other, has won then.
type quiet int64

const (
	busy    quiet = 0 // a request is under way
	evicted quiet = -1

	// quietHead: a request has begun to come, or the end of one that was refused.
	quietHead quiet = 1
)

// idleSince and slowSince make a quiet of a time.
func idleSince(at int64) quiet { return quiet(at+1) << 1 }
func slowSince(at int64) quiet { return idleSince(at) | quietHead }

func (q quiet) idle() bool { return q > 0 && q&quietHead == 0 }

func (c *clientConn) quiet() quiet { return quiet(c.quietness.Load()) }

// setQuiet notes what the connection does. It is false where it was evicted meanwhile.
func (c *clientConn) setQuiet(q quiet) bool {
	old := c.quietness.Load()
	return old == int64(q) || quiet(old) != evicted && c.quietness.CompareAndSwap(old, int64(q))
}

// engineTime is a time on the engine's clock.
func (c *clientConn) engineTime(t time.Time) int64 { return int64(t.Sub(c.door.e.epoch)) }

// tryEvict ends the connection if it does still what it did when it was looked at, and
// nothing has come since, nor is an answer under way. It is called from the goroutine
// that accepts, and once that has ended from Shutdown.
func (c *clientConn) tryEvict(q quiet) bool {
	if c.quiet() != q || c.pending.isOut() || c.hasMore() || !c.quietness.CompareAndSwap(int64(q), int64(evicted)) {
		return false
	}
	c.interrupt()
	return true
}

// hasMore reports whether something has come that was not read yet.
func (c *clientConn) hasMore() bool {
	if c.quiet()&quietHead != 0 {
		return false // too slow all the same
	}
	return c.sock.HasInput()
}

// dismiss tells a client why its connection ends, before the server knows of a request:
// only where it has not had an answer already, or else where a request has come that
// has lost the race for its place.
func (c *clientConn) dismiss(problem *s3Error) {
	if !c.plain || c.pending.isOut() {
		return
	}
	answer, size, id := c.door.e.ownAnswer(problem)
	c.linger = true
	if _, err := c.sendNow(answer); err == nil {
		c.door.e.told(c.RemoteAddr(), id, "", "", problem.status, size)
	}
}
