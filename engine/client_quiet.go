package engine

import "time"

// quiet says what a client's connection is doing that it could be closed for (R23): the time since
// when, in nanoseconds on the engine's clock, times two, plus quietHead. It belongs to the
// server's goroutine, except that whoever makes room may change it to evicted; whoever succeeds in
// that has won.
type quiet int64

const (
	busy    quiet = 0 // a request is under way
	evicted quiet = -1

	// quietHead says that a request has begun to arrive, or the rest of one that was refused.
	quietHead quiet = 1
)

// idleSince and slowSince make a quiet from a time.
func idleSince(at int64) quiet { return quiet(at+1) << 1 }
func slowSince(at int64) quiet { return idleSince(at) | quietHead }

func (q quiet) idle() bool { return q > 0 && q&quietHead == 0 }

func (c *clientConn) quiet() quiet { return quiet(c.quietness.Load()) }

// setQuiet records what the connection is doing. It returns false if the connection has been
// evicted.
func (c *clientConn) setQuiet(q quiet) bool {
	old := c.quietness.Load()
	return old == int64(q) || quiet(old) != evicted && c.quietness.CompareAndSwap(old, int64(q))
}

// engineTime is a time on the engine's clock.
func (c *clientConn) engineTime(t time.Time) int64 { return int64(t.Sub(c.door.e.epoch)) }

// tryEvict ends the connection if it is still doing what it did when it was looked at, nothing has
// arrived since, and no answer is under way. It is called from the accepting goroutine and, once
// that has ended, from Shutdown.
func (c *clientConn) tryEvict(q quiet) bool {
	if c.quiet() != q || c.pending.isOut() || c.hasMore() || !c.quietness.CompareAndSwap(int64(q), int64(evicted)) {
		return false
	}
	c.interrupt()
	return true
}

// hasMore reports whether something has arrived that has not been read yet.
func (c *clientConn) hasMore() bool {
	if c.quiet()&quietHead != 0 {
		return false // too slow all the same
	}
	return c.sock.HasInput()
}

// dismiss tells a client why its connection ends, before the server knows of a request. It does so
// only if the client has had no answer yet, or if a request has arrived that lost the race for its
// place.
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
