package engine

import (
	"sync"
	"sync/atomic"
	"time"
)

// A body that is larger than the ring goes no faster than the slowest of its legs. A lane is what is known
// of one backend's part in that: how fast it takes such bodies, how much of them is under way there, and
// whether it has held clients back. By that it says which large bodies are begun at the backend; the
// others are deferred (R10).
//
//   - While it has held nobody back lately it takes whatever comes: clients may be slower than it is, or
//     it has become better.
//   - Else it takes what it can carry within StallTimeout, with all that is under way before it: a
//     leg that would be cut is better not begun, for it would only take the way from others.
//   - Where more has come than that, clients would be held back all the time: then it takes one body at
//     a time, and only so many that clients wait for a hundredth of the time, until no more is wanted
//     than it carries. That is enough to see what it carries. Repair brings the rest.
type lane struct {
	sent atomic.Int64 // bytes of large bodies that its connections have taken

	mu    sync.Mutex
	legs  int   // large bodies under way
	owed  int64 // their sizes
	gone  int64 // what of sent belongs to legs that have ended
	rate  float64
	fresh bool  // rate was measured
	from  int64 // when the stretch of time began by which rate is measured
	base  int64 // and what was sent by then

	heldAt int64 // when it held somebody back last
	held   bool  // in the stretch
	ever   bool  // at all
	lately int64 // so long ago counts

	over     bool  // more has come than it carries
	until    int64 // when that is looked at again
	wanted   int64 // bytes that were wanted since the last look
	next     int64 // no body before
	waited   time.Duration
	deferred int64
}

// What a backend has held back within heldLately counts. Each leg that is cut doubles that, up to
// heldLongest, since it has carried bytes in vain.
const (
	heldLately   = int64(30 * time.Second)
	heldLongest  = int64(10 * time.Minute)
	rateStretch  = int64(250 * time.Millisecond)
	leastStretch = int64(100 * time.Millisecond)
	overStretch  = int64(5 * time.Second)
	// heldShare: clients wait for one part of the time in so many.
	heldShare = 100
	// carriedShare is how much of its rate may be wanted for a lane not to be full.
	carriedShare = 0.8
)

// unknownSize is a body whose length the client does not tell.
const unknownSize = -1

// fits reports whether a body of this size is begun at the backend. It counts it as wanted.
func (l *lane) fits(now, size int64, stall time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.measureLocked(now, rateStretch)
	ok := l.fitsLocked(now, size, stall)
	if l.wanted += max(size, 0); !ok {
		l.deferred++
	}
	return ok
}

// fitsLocked is fits; size may be unknownSize.
func (l *lane) fitsLocked(now, size int64, stall time.Duration) bool {
	long := now-l.heldAt > max(l.lately, heldLately)
	if stall <= 0 || !l.fresh || !l.ever || long && !l.over {
		return true
	}
	if l.over && now >= l.until {
		l.over = float64(l.wanted) >= carriedShare*l.rate*seconds(now-l.until+overStretch)
		l.until, l.wanted = now+overStretch, 0
	}
	// Each gets its share of the rate, so that it takes as long as if all were as large.
	size = max(size, 0)
	under := max(l.owed-(l.sent.Load()-l.gone), 0) + size
	takes := int64(float64(max(under, int64(l.legs+1)*size)) / max(l.rate, 1) * float64(time.Second))
	switch {
	case long && l.legs == 0: // the backend may have become better
		l.heldAt, l.next = now, now+heldShare*takes
		return true
	case size == 0:
		return !l.over
	case l.over && (l.legs > 0 || now < l.next):
		return false
	case takes <= int64(stall):
		if l.over {
			l.next = now + heldShare*takes
		}
		return true
	case !l.over:
		l.over, l.until, l.wanted = true, now+overStretch, 0
	}
	return false
}

// begin counts a body as under way.
func (l *lane) begin(now, size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.legs == 0 {
		l.from, l.base, l.held = now, l.sent.Load(), false
	}
	l.legs++
	l.owed += max(size, 0)
}

// end is its end. sent is what of it the backend's connection took, waited how long it held its client
// back; cut reports whether it was cut for that.
func (l *lane) end(now, size, sent int64, waited time.Duration, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waited += waited
	switch {
	case cut:
		l.lately = min(max(2*l.lately, heldLately), heldLongest)
	case waited > 0:
		l.lately = 0
	}
	if l.legs == 1 {
		l.measureLocked(now, leastStretch)
	} else {
		l.measureLocked(now, rateStretch)
	}
	l.legs--
	l.owed -= max(size, 0)
	l.gone += sent
}

// lags notes that the backend holds a client back.
func (l *lane) lags(now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heldAt, l.held, l.ever = now, true, true
}

// measureLocked measures the rate, if the stretch of time was that long. What went while nobody was held
// back says how much it carries at least.
func (l *lane) measureLocked(now, least int64) {
	if l.legs == 0 || now-l.from < least {
		return
	}
	sent := l.sent.Load()
	rate := float64(sent-l.base) / seconds(now-l.from)
	switch {
	case !l.fresh:
		l.rate, l.fresh = rate, true
	case l.held || rate > l.rate:
		l.rate += (rate - l.rate) / 2
	}
	l.from, l.base, l.held = now, sent, false
}

func seconds(ns int64) float64 { return float64(ns) / float64(time.Second) }
