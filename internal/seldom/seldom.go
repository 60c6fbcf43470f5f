// Package seldom keeps a log readable where the same thing may happen a thousand times
// a second: it is said at once, then at most once a minute with a count.
package seldom

import (
	"sync"
	"time"
)

// Every is the time between two lines about one thing.
const Every = time.Minute

// Counter counts one thing that happens. Its zero value is ready; all methods may be
// called from any goroutine.
type Counter struct {
	mu   sync.Mutex
	said time.Time
	n    uint64
}

// Happened counts once more, and reports whether that is to be said now, and how often
// it has happened since it was said last.
func (c *Counter) Happened() (times uint64, say bool) { return c.happenedAt(time.Now()) }

func (c *Counter) happenedAt(now time.Time) (times uint64, say bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	if !c.said.IsZero() && now.Sub(c.said) < Every {
		return 0, false
	}
	times, c.n, c.said = c.n, 0, now
	return times, true
}
