package engine

import "time"

// paceTime is how long a client is waited for, in sum, before its rate counts, and the
// time that it counts over.
const paceTime = time.Minute

// pace is how fast a client sends a request's body, or takes its answer. Only the time
// counts in which it alone was waited for: backends that are slow are not held against
// it (R23). The zero value is the beginning.
type pace struct {
	rate   int64         // bytes a second that it should be, at least; 0 is no matter
	waited time.Duration // of the time that counts at the moment
	moved  int64         // meanwhile, in bytes
	since  time.Time     // when the wait has begun that is under way, or zero
}

// begin is for another body.
func (p *pace) begin(rate int64) { *p = pace{rate: rate} }

// wait notes that the client is waited for from now on, for at most so long at once, and
// tells until when: for ever so short if it was too slow.
func (p *pace) wait(now time.Time, most time.Duration) (until time.Time) {
	p.resume(now)
	p.since = now
	if p.rate == 0 {
		return now.Add(most)
	}
	enough := p.moved >= p.rate*int64(paceTime/time.Second)
	switch {
	case enough && p.waited >= paceTime:
		p.waited, p.moved = 0, 0
	case p.waited >= paceTime:
		return past
	case enough:
		return now.Add(most)
	}
	return now.Add(min(most, paceTime-p.waited))
}

// resume notes that the wait is over, if there was one.
func (p *pace) resume(now time.Time) {
	if !p.since.IsZero() {
		p.waited += now.Sub(p.since)
		p.since = time.Time{}
	}
}

// move notes n bytes.
func (p *pace) move(n int) { p.moved += int64(n) }

// tooSlow reports whether the time was up and too little had come.
func (p *pace) tooSlow() bool {
	return p.rate > 0 && p.waited >= paceTime && p.moved < p.rate*int64(paceTime/time.Second)
}
