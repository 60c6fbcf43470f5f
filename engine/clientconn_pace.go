package engine

import "time"

// paceTime is how long a client is waited for, in sum, before its rate counts, and the
// time that it counts over.
const paceTime = time.Minute

// pace is how fast a client sends a request's body, or takes its answer. Only the time
// counts in which it alone was waited for: backends that are slow are not held against
// it (R23). The zero value knows no least rate.
type pace struct {
	over   time.Duration // the time that it counts over
	least  int64         // bytes meanwhile; 0 is no matter
	waited time.Duration // of that time
	moved  int64         // of these bytes
	since  time.Time     // when the wait has begun that is under way, or zero
}

// paceOf is the pace of another body.
func paceOf(o *Options) pace {
	return pace{over: o.paceTime, least: int64(float64(o.MinClientRate) * o.paceTime.Seconds())}
}

// wait notes that the client is waited for from now on, for at most so long at once, and
// tells until when: that has passed already if it was too slow.
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

// resumeNow is resume; without a wait it does not look at the clock.
func (p *pace) resumeNow() {
	if !p.since.IsZero() {
		p.resume(time.Now())
	}
}

// move notes n bytes.
func (p *pace) move(n int) { p.moved += int64(n) }

// tooSlow reports whether the time is up and too little has come.
func (p *pace) tooSlow() bool { return p.moved < p.least && p.waited >= p.over }
