package engine

import (
	"sync/atomic"
	"time"
)

// distance is how far away a backend is. Where every backend is asked (R30), the rest of a loser's answer is read to
// its end only where that costs less than a new connection: over a long way it would take the link from others.
// There no more is read than what a backend sends at once on a fresh connection, for that is on its way in any
// case (R5).
type distance struct {
	least atomic.Int64 // that an answer took of late, in ns; 0 while there was none
}

const (
	farAway       = 10 * time.Millisecond
	atOnce        = 14 << 10 // RFC 6928
	distanceSteps = 64       // so many answers that take longer make a way longer
)

// takes reports whether to read the rest of an answer, n bytes, whose head was there after so long. What two
// answers note at once may be lost.
func (w *distance) takes(n int64, after time.Duration) bool {
	if n <= atOnce {
		return true
	}
	least, d := w.least.Load(), max(int64(after), 1)
	if least != 0 && d > least { // the backend is busy, or the way has become longer
		d = least + (d-least)/distanceSteps
	}
	w.least.Store(d)
	return d < int64(farAway)
}
