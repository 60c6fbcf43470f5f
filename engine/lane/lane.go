// Package lane says of a backend which large bodies are begun there (R10).
//
// A body that is larger than the ring goes no faster than the slowest of its legs. A lane is what is known
// of one backend's part in that: how fast it takes such bodies, how much of them is under way there, and
// whether it has held clients back. By that it says which large bodies are begun at the backend; the
// others are deferred (R10).
//
//   - While it has held nobody back lately it takes whatever comes: clients may be slower than it is, or
//     it has become better.
//   - Otherwise it takes what it can carry within StallTimeout, after all that is under way before it. A
//     leg that would be cut is better not begun: it would only take capacity from others.
//   - If more comes than that for longer than chance explains, clients would be held back all the
//     time. Then it takes one body at a time, and so few that clients wait for a hundredth of the
//     time, until no more comes than it carries. That is enough to see when it carries more. Repair
//     brings the rest.
package lane

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Lane is one backend's. All methods may be called from any goroutine; times are nanoseconds of one
// monotonic clock, the caller's.
type Lane struct {
	sent  atomic.Int64 // bytes of large bodies that its connections have taken
	moved atomic.Int64 // when they took some last, or it was seen that some had arrived

	crowdedAt atomic.Int64 // when Crowded was called last

	mu     sync.Mutex
	loads  []*Cargo // of large bodies under way
	rate   float64
	fresh  bool          // rate was measured
	from   int64         // when the stretch of time began by which rate is measured
	base   int64         // what was sent by then
	waits  time.Duration // how long clients have waited in the stretch, in sum
	stride stride

	share float64 // of the time that a body takes, for which its client waits for this backend

	heldAt int64 // when it held somebody back last
	ever   bool  // at all
	lately int64 // so long ago counts

	over   bool    // more comes than it carries
	excess float64 // bytes that have come lately beyond what it carries
	at     int64   // when that was so
	next   int64   // no body before

	waited     time.Duration
	deferred   int64
	deferredAt int64 // when the last one was
}

// Cargo is a large body on its way to one backend.
type Cargo struct {
	size  int64
	begun int64
	sent  atomic.Int64
	lags  int64 // when its client was held back last, or 0; under the lane's mu
	tries bool  // it goes alone, since more comes than the backend carries

	slow atomic.Bool // it was in vain when its client had waited last, at a backend that moves

	unsent func() int64 // as Begin got it
	onWay  int64        // what it said last; under the lane's mu
}

// Sent is how many bytes of it the backend's connection has taken.
func (b *Cargo) Sent() int64 { return b.sent.Load() }

// paceAt is how many bytes of it have gone a second.
func (b *Cargo) paceAt(now int64) float64 {
	return float64(b.sent.Load()) / seconds(max(now-b.begun, 1))
}

// isOf reports whether the cargo counts for the backend: its client is held back, or it is too new to
// tell. A body that its client sends more slowly than the backend takes it does not count.
func (b *Cargo) isOf(now int64, stall time.Duration) bool {
	return b.lags != 0 && now-b.lags < int64(stall) || now-b.begun < int64(stall)
}

const (
	// What a backend has held back within heldLately counts. Each leg that is cut doubles that, up to
	// heldLongest, since it has carried bytes in vain.
	heldLately  = int64(30 * time.Second)
	heldLongest = int64(10 * time.Minute)
	// behindTimes: it counts so many times as long while repair is behind. Its bytes are on the way then, so that a
	// body that tries whether the backend has become better would wait for them, and its client with it.
	behindTimes  = 3
	rateStretch  = int64(250 * time.Millisecond)
	leastStretch = int64(100 * time.Millisecond)
	mostStretch  = int64(2 * time.Second)
	overStretch  = int64(5 * time.Second)
	// heldShare: clients wait for one part of the time in so many.
	heldShare = 100
	// lagShare: a client is held back once it has waited for one part in lagShare of StallTimeout.
	lagShare = 4
	// pressedFor is how long a backend counts as pressed after the last sign of it.
	pressedFor = int64(time.Second)
	// carriedShare: the rate is not known better than that, so that no more than this part of it is taken to
	// be carried.
	carriedShare = 1.1
	// chance is how many bodies more than are carried within StallTimeout may come by chance.
	chance = 3
	// spareShare: of bodies beside each other one part in so many of StallTimeout is spare. Those that are nearly
	// through take some of it.
	spareShare = 16
	// mostTakes is the longest time that a body is taken to take, in ns. A client may announce a body of any
	// size, so that sizes are added up as floats.
	mostTakes = float64(math.MaxInt64 / 2 / heldShare)
)

// UnknownSize is a body whose length the client does not tell.
const UnknownSize = -1

// Fits reports whether a body of this size is begun at the backend. It counts it as wanted. behind: repair has not
// brought everything yet.
func (l *Lane) Fits(now, size int64, stall time.Duration, behind bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.measureLocked(now, rateStretch)
	if l.fitsLocked(now, max(size, 0), stall, behind) {
		return true
	}
	l.deferred++
	l.deferredAt = now
	return false
}

// fitsLocked is Fits; a size of 0 is one that is not known.
func (l *Lane) fitsLocked(now, size int64, stall time.Duration, behind bool) bool {
	if stall <= 0 || !l.fresh {
		return true
	}
	l.wantLocked(now, size, stall)
	lately := max(l.lately, heldLately)
	if behind {
		lately = min(behindTimes*lately, heldLongest)
	}
	long := now-l.heldAt > lately
	if !l.ever || long && !l.over {
		return true
	}
	under, n, most := float64(size), 1, int64(stall)
	for _, b := range l.loads {
		if left := b.size - b.sent.Load(); left > size/8 && b.isOf(now, stall) { // the others are out of the way soon
			under += float64(left)
			n++
		}
	}
	if n > 1 {
		most -= most / spareShare
	}
	// Each gets its share of the rate, so that it takes as long as if all were as large.
	takes := l.takesLocked(max(under, float64(n)*float64(size)))
	switch {
	case long && n == 1: // the backend may have become better
		l.heldAt, l.next = now, now+heldShare*takes
		return true
	case size == 0:
		return !l.over
	case l.over && (n > 1 || now < l.next):
		return false
	case takes <= most:
		if l.over {
			l.next = now + heldShare*takes
		}
		return true
	}
	l.over = true // until the next one, if that was chance
	return false
}

// takesLocked is how long clients wait for so many bytes. Some of the time they would take in any case: for
// the client, and for the other backends.
func (l *Lane) takesLocked(bytes float64) int64 {
	return int64(min(bytes/max(l.rate, 1)*l.share*float64(time.Second), mostTakes))
}

// wantLocked counts a body as wanted. One that would take too long even if it were alone is not begun, and takes
// nothing from others.
func (l *Lane) wantLocked(now, size int64, stall time.Duration) {
	if l.at == 0 { // the rate has just become known
		for _, b := range l.loads {
			if b.isOf(now, stall) {
				l.excess += float64(b.size - b.sent.Load())
			}
		}
	} else {
		l.excess = max(l.excess-carriedShare*l.rate*seconds(now-l.at), 0)
	}
	l.at = now
	if size == 0 || l.takesLocked(float64(size)) > int64(stall) {
		return
	}
	usual := l.rate*stall.Seconds() + chance*float64(size)
	l.excess = min(l.excess+float64(size), 2*usual)
	l.over = l.over && l.excess > usual
}

// Begin counts a body as under way. unsent tells how many of the bytes sent have yet to arrive; it is called under the
// lane's lock until End, and may be nil.
func (l *Lane) Begin(now int64, b *Cargo, size int64, unsent func() int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.loads) == 0 {
		l.restartLocked(now)
		l.stride = stride{from: now, sent: l.sent.Load(), base: l.sent.Load()}
	}
	b.size, b.begun, b.lags, b.tries = max(size, 0), now, 0, l.over
	b.unsent, b.onWay = unsent, 0
	b.sent.Store(0)
	b.slow.Store(false)
	l.loads = append(l.loads, b)
}

// Moved counts bytes of it that the backend's connection has taken.
func (l *Lane) Moved(now int64, b *Cargo, n int) {
	b.sent.Add(int64(n))
	l.sent.Add(int64(n))
	l.moved.Store(now)
}

// Fate is what has become of a cargo.
type Fate uint8

// The fates.
const (
	Arrived Fate = iota // the backend has taken it
	Cut                 // it was cut, since it held its client back
	Failed              // any other: the system may have taken more of it than the backend
)

// End is its end. waited is how long it held its client back.
func (l *Lane) End(now int64, b *Cargo, waited time.Duration, fate Fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waited += waited
	if b.unsent = nil; fate == Arrived {
		b.onWay = 0
	}
	switch {
	case fate == Cut:
		l.heldLocked(now, b, waited)
		if !l.fresh {
			l.rate, l.fresh = l.stride.pace, true
			if l.rate == 0 { // it stands still, and may do so for a moment only
				l.rate = b.paceAt(now)
			}
		}
		l.lately = min(max(2*l.lately, heldLately), heldLongest)
	case waited > 0:
		l.lately = 0
	}
	if b.tries {
		l.next = max(l.next, now+heldShare*int64(waited))
		if fate == Arrived {
			l.rate = max(l.rate, b.paceAt(now))
		}
	}
	if len(l.loads) == 1 {
		l.measureLocked(now, leastStretch)
	} else {
		l.measureLocked(now, rateStretch)
	}
	i := slices.Index(l.loads, b)
	l.loads = slices.Delete(l.loads, i, i+1)
	if fate != Arrived {
		l.base += b.onWay // which does not arrive
		l.stride.base += b.onWay
	}
}

// Lag notes that the client of a cargo has waited, total in sum. After a part of StallTimeout it may have been held
// back. It was if it has waited for most of its time: of two backends that are alike each one is a little
// slower now and then. It reports whether the body goes there in vain, and is to be cut at once.
func (l *Lane) Lag(now int64, b *Cargo, waited, total, stall time.Duration) (vain bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits += waited
	if total >= stall/lagShare && 2*int64(total) >= now-b.begun {
		l.heldLocked(now, b, total)
	}
	vain = l.inVainLocked(now, b, total, stall)
	b.slow.Store(vain && l.stride.full)
	if l.stride.noteLocked(now, waited, stall) {
		arrived := l.arrivedLocked()
		if arrived > l.stride.base {
			l.moved.Store(now)
		}
		l.stride.endLocked(now, l.sent.Load(), arrived)
	}
	l.measureLocked(now, rateStretch)
	return vain
}

// heldLocked notes that the backend has held a client back, for total in sum.
func (l *Lane) heldLocked(now int64, b *Cargo, total time.Duration) {
	share := min(float64(total)/float64(max(now-b.begun, 1)), 1)
	if !l.ever {
		l.share = share
	}
	l.share += (share - l.share) / 8
	l.heldAt, l.ever, b.lags = now, true, now
}

// measureLocked measures the rate, if the stretch of time was that long. What went while nobody waited for the
// backend, or while it was becoming faster, says how much it carries at least, and nothing about a long time does.
// While more comes than the backend carries, repair has the rest of it: End looks whether it has become better.
func (l *Lane) measureLocked(now, least int64) {
	length := now - l.from
	if len(l.loads) == 0 || length < least || l.over {
		return
	}
	rate := float64(l.arrivedLocked()-l.base) / seconds(length)
	switch held := int64(l.waits) >= length/2 && l.stride.full; {
	case length > mostStretch:
	case !l.fresh && held:
		l.rate, l.fresh = rate, true
	case l.fresh && (held || rate > l.rate):
		l.rate += (rate - l.rate) / 2
	}
	l.restartLocked(now)
}

func (l *Lane) restartLocked(now int64) { l.from, l.base, l.waits = now, l.arrivedLocked(), 0 }

// arrivedLocked is how much of what was sent has arrived. What the system holds for bodies that have just begun
// would make the backend look faster than it is.
func (l *Lane) arrivedLocked() int64 {
	n := l.sent.Load()
	for _, b := range l.loads {
		if b.unsent != nil {
			b.onWay = b.unsent()
		}
		n -= b.onWay
	}
	return n
}

// Moves reports whether the lane's connections go on taking bytes while the cargo is under way. The first
// bytes say nothing: the system takes them even if the backend takes none. One that was cut since it would not have
// ended in time went to a backend that moves, however late its leg asks.
func (l *Lane) Moves(now int64, b *Cargo) bool {
	return b.slow.Load() || now-l.moved.Load() < (now-b.begun)/2
}

func seconds(ns int64) float64 { return float64(ns) / float64(time.Second) }

// Crowded notes that a leg was not begun because others fill the backend, whatever its body.
func (l *Lane) Crowded(now int64) { l.crowdedAt.Store(now) }

// Pressed reports whether clients need all the capacity of the backend: it has just been crowded, or it
// has held clients back. Large bodies that do not fit do not count, since they are not begun.
func (l *Lane) Pressed(now int64) bool {
	if at := l.crowdedAt.Load(); at != 0 && now-at < pressedFor {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ever && now-l.heldAt < pressedFor
}

// Status is what is known of how a backend takes large bodies.
type Status struct {
	Rate     float64       // bytes a second that it carries; 0 before it has held anybody back
	Held     time.Duration // how long clients waited for it, in sum
	Deferred int64         // bodies that were not begun there
	Over     bool          // more is wanted than it carries
	Bodies   int           // under way
}

// Status tells about it.
func (l *Lane) Status(now int64) Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Status{Held: l.waited, Deferred: l.deferred, Over: l.over && now-l.deferredAt < overStretch, Bodies: len(l.loads)}
	if l.fresh {
		s.Rate = l.rate
	}
	return s
}
