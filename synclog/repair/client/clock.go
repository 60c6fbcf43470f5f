package client

import (
	"net/http"
	"sync"
	"time"
)

// clock is what is known of the difference between this machine's clock and a
// storage's. Each answer's Date, cut to the second, bounds it from both sides;
// the bounds of many answers leave little between them.
type clock struct {
	mu       sync.Mutex
	known    bool
	low, top time.Duration // local minus the storage's lies within
}

// note takes an answer's Date that was written between sent and got.
func (c *clock) note(sent, got time.Time, date string) {
	server, err := http.ParseTime(date)
	if err != nil {
		return
	}
	// Wall clocks are compared, never the monotonic one.
	low, top := sent.Round(0).Sub(server)-time.Second, got.Round(0).Sub(server)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known || low > c.top || top < c.low { // the first one, or a clock was set
		c.known, c.low, c.top = true, low, top
		return
	}
	c.low, c.top = max(c.low, low), min(c.top, top)
}

func (c *clock) local(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return t.Add((c.low + c.top) / 2)
}
