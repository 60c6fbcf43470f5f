package engine

import (
	"math"
	"time"
)

// Where as many requests are handled as can be, an upload whose client says nothing keeps another
// client's request out (R23). So the one that has been silent for longest is ended in favour of the
// newcomer. While there is room for all, nobody is ended for a pause of less than bodyTimeout.

// spared is clientConn.silent of a connection whose upload is ended for another request. Of one on
// which no body is waited for it is 0; else it is the time since when, on the engine's clock, plus 1.
const spared = -1

const (
	// silentGrace is how long an upload must have been silent before it can be ended.
	silentGrace = 5 * time.Second

	// silentPause is how long to wait at least, after no upload was found that could be ended, before
	// all of them are looked at again.
	silentPause = 50 * time.Millisecond
)

// beginSilence and endSilence bracket the wait for more of a body, which may take several attempts
// to receive it.
func (c *clientConn) beginSilence(now time.Time) {
	if c.silent.Load() == 0 && !c.spared {
		c.silent.Store(c.engineTime(now) + 1)
	}
}

func (c *clientConn) endSilence() {
	since := c.silent.Load()
	if since == spared || since != 0 && !c.silent.CompareAndSwap(since, 0) {
		c.spared = true
	}
}

// cede is called once the request is not handled any more, and once the connection has gone.
func (c *clientConn) cede() {
	if c.silent.Load() == spared && c.silent.CompareAndSwap(spared, 0) {
		c.door.e.ending.Add(-1)
	}
}

// spareSilent ends the upload that has been silent for longest, and reports whether there was one.
// What it holds is given back soon after.
func (e *Engine) spareSilent() bool {
	l := e.door()
	return l != nil && l.spareSilent()
}

func (l *listener) spareSilent() bool {
	now, grace := l.e.now(), int64(l.e.o.silentGrace)
	if now < l.noneSilent.Load() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var c *clientConn
	since := int64(math.MaxInt64)
	for _, other := range l.conns {
		if s := other.silent.Load(); s > 0 && s < since {
			c, since = other, s
		}
	}
	if since > now-grace {
		l.noneSilent.Store(max(min(since, now)+grace, now+int64(silentPause)))
		return false
	}
	if c.sock.HasInput() || !c.silent.CompareAndSwap(since, spared) {
		return false // it goes on right now
	}
	l.e.ending.Add(1)
	l.cut(cutBody)
	c.interrupt()
	return true
}

// isFull reports whether one more request than that many is too many. The uploads that were ended
// for others do not count.
func (e *Engine) isFull(requests int64, o *generation) bool {
	return requests > int64(o.MaxConcurrentRequests)+e.ending.Load() && !e.spareSilent()
}
