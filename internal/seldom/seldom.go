// Package seldom keeps a log readable if the same thing may happen a thousand times a second: it is
// reported at once, then at most once a minute with a count.
package seldom

import (
	"sync"
	"time"
)

// Every is the time between two lines about the same thing.
const Every = time.Minute

// Counter counts one kind of event. Its zero value is ready to use; any goroutine may call its
// methods.
type Counter struct {
	mu   sync.Mutex
	said time.Time
	n    uint64
}

// Happened counts one more event. It reports whether to log now, and how many events there were
// since the last report.
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
