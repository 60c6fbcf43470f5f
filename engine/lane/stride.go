package lane

import "time"

// stride is what a lane has carried lately, in stretches of time that are short enough to tell of a body that
// has begun a moment ago whether it can end in time (R10).
type stride struct {
	from  int64 // when the stretch began
	sent  int64 // what the lane had sent by then
	base  int64 // what of it had arrived
	waits time.Duration
	rate  float64 // of the last stretch, or 0
	pace  float64 // the better one of the last two: where a body has just begun, the next one may be as good as before
	full  bool    // clients waited for most of it, and it was no faster than the one before
	still bool    // clients waited for most of it, and nothing moved
}

const (
	// looks is how many stretches StallTimeout has.
	looks = 8
	// grownPace: what is so many times as fast as before has yet to come to its full speed, as TCP has over a
	// long way.
	grownPace = 1.5
	// throughShare: a body of which less than one part in so many is left when its time is up is let through
	// (package ring).
	throughShare = 8
)

// noteLocked notes that clients have waited. It reports whether the stretch is over: endLocked has to follow.
func (p *stride) noteLocked(now int64, waited, stall time.Duration) bool {
	p.waits += waited
	return now-p.from >= int64(stall)/looks
}

// endLocked begins a new stretch. What has arrived tells the rate: what the system takes, it takes in lumps, and more
// than arrives at first.
func (p *stride) endLocked(now, sent, arrived int64) {
	length, last := now-p.from, p.rate
	p.rate = float64(arrived-p.base) / seconds(length)
	p.pace = max(last, p.rate)
	waits := int64(p.waits) >= length/2
	p.full = waits && last > 0 && p.rate > 0 && p.rate <= grownPace*last
	p.still = waits && sent == p.sent
	p.from, p.sent, p.base, p.waits = now, sent, arrived, 0
}

// inVainLocked reports whether a body that has held its client back, for total in sum, would have to be cut when
// its time is up, at the pace of the lane: with all that has begun before it, for what has begun later is cut
// before it. Of two backends that are alike one is slower now and then, but not nearly all of the time. A body that
// stands still has the whole of its time, but for one that only tries: repair's are before it.
func (l *Lane) inVainLocked(now int64, b *Cargo, total, stall time.Duration) bool {
	still := l.stride.still && b.tries && b.sent.Load() > 0
	if !l.stride.full && !still || b.size == 0 || 4*int64(total) < 3*(now-b.begun) {
		return false
	}
	left, ahead := float64(b.size-b.sent.Load()), 0.0
	for _, o := range l.loads {
		if o == b {
			break
		}
		if o.isOf(now, stall) {
			ahead += float64(o.size - o.sent.Load())
		}
	}
	carries := l.stride.pace * (stall - total).Seconds()
	if ahead == 0 {
		return left-carries > float64(b.size)/throughShare
	}
	return ahead+left > carries
}
