package engine

import "time"

// paceTime is how long a client must have been waited for, in total, before its rate counts, and
// the time over which it counts.
const paceTime = time.Minute

// pace is how fast a client sends a request's body or takes its answer. Only the time counts
// during which the client alone was waited for: slow backends are not held against it (R23). The
// zero value demands no least rate.
type pace struct {
	over   time.Duration // the time that it counts over
	least  int64         // bytes meanwhile; 0 demands nothing
	waited time.Duration // of that time
	moved  int64         // of these bytes
	since  time.Time     // when the wait in progress began, or zero
}

// paceOf returns the pace for a new body.
func paceOf(o *Options) pace {
	return pace{over: o.paceTime, least: int64(float64(o.MinClientRate) * o.paceTime.Seconds())}
}

// wait records that the client is being waited for from now on, for at most the given time, and
// returns the time to wait until. That has passed already if the client was too slow.
func (p *pace) wait(now time.Time, most time.Duration) (until time.Time) {
	p.resume(now)
	p.since = now
	if p.waited >= p.over {
		if p.tooSlow() {
			return past
		}
		p.waited, p.moved = 0, 0
	}
	if p.moved < p.least {
		most = min(most, p.over-p.waited)
	}
	return now.Add(most)
}

// resume notes that the wait is over, if there was one.
func (p *pace) resume(now time.Time) {
	if !p.since.IsZero() {
		p.waited += now.Sub(p.since)
		p.since = time.Time{}
	}
}

// resumeNow is resume now; without a wait it does not read the clock.
func (p *pace) resumeNow() {
	if !p.since.IsZero() {
		p.resume(time.Now())
	}
}

// move counts n bytes.
func (p *pace) move(n int) { p.moved += int64(n) }

// tooSlow reports whether the time is up and too little has been moved.
func (p *pace) tooSlow() bool { return p.moved < p.least && p.waited >= p.over }
