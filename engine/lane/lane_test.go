package lane

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const mib = 1 << 20

// road is a backend in a test's own time that takes so many bytes a second of the bodies that are under way
// there, one after the other. A lane says which are begun.
type road struct {
	Lane
	rate    float64
	stall   time.Duration
	now     int64
	chance  *rand.Rand // by which bodies come; nil: at even distances
	repairs bool       // what is deferred takes half of the rate, unless the backend is pressed

	under                 []*parcel
	begun, deferred, cuts int
	well, inVain          int64         // bytes
	held                  time.Duration // of all clients
}

type parcel struct {
	Cargo
	held int64
}

const tick = int64(time.Millisecond)

// run brings n bodies of this size a second, for so many seconds, from clients that are as fast as can be.
func (r *road) run(seconds, n float64, size int64) {
	due, wait := 0.0, 1.0
	for range int(seconds*1000 + 0.5) {
		r.now += tick
		for due += n / 1000; due >= wait; {
			due -= wait
			if r.chance != nil {
				wait = r.chance.ExpFloat64()
			}
			if !r.Fits(r.now, size, r.stall, false) {
				r.deferred++
				continue
			}
			r.begun++
			p := new(parcel)
			r.Begin(r.now, &p.Cargo, size, nil)
			r.under = append(r.under, p)
		}
		r.move()
	}
}

// move is a tick: those under way share the rate, and each of their clients waits.
func (r *road) move() {
	var left []*parcel
	rate := r.rate
	if r.repairs && r.over && !r.Pressed(r.now) {
		rate /= 2
	}
	share := int64(rate / 1000 / float64(max(len(r.under), 1)))
	for _, p := range r.under {
		n := min(share, p.size-p.sent.Load())
		sent := p.sent.Add(n)
		r.sent.Add(n)
		p.held += tick
		r.held += time.Duration(tick)
		vain := r.Lag(r.now, &p.Cargo, time.Duration(tick), time.Duration(p.held), r.stall)
		switch {
		case sent == p.size:
			r.well += p.size
			r.End(r.now, &p.Cargo, time.Duration(p.held), Arrived)
		case vain, p.held >= int64(r.stall) && p.size-sent >= p.size/throughShare, p.held >= 2*int64(r.stall):
			r.cuts++
			r.inVain += sent
			r.End(r.now, &p.Cargo, time.Duration(p.held), Cut)
		default:
			left = append(left, p)
		}
	}
	r.under = left
}

func newRoad() *road { return &road{rate: 12.5e6, stall: time.Second, now: int64(time.Hour)} }

// TestR10Lane: below the link's rate nothing is deferred and nothing is cut; beyond it clients are hardly held
// back, and what is begun ends well.
func TestR10Lane(t *testing.T) {
	t.Run("below the rate", func(t *testing.T) {
		for _, size := range []int64{mib / 2, mib, 4 * mib, 8 * mib} {
			r := newRoad()
			r.run(60, 0.9*r.rate/float64(size), size)
			if r.deferred > 0 || r.cuts > 0 {
				t.Errorf("of %d bodies of %d MiB %d were deferred and %d cut", r.begun+r.deferred, size/mib, r.deferred, r.cuts)
			}
		}
	})
	t.Run("below the rate, by chance", func(t *testing.T) {
		for _, tt := range []struct {
			size int64
			most float64 // of them may be deferred: as many come while all are under way that are carried within StallTimeout
		}{{mib / 2, 0.02}, {mib, 0.06}, {2 * mib, 0.2}} {
			r := newRoad()
			r.chance, r.repairs = rand.New(rand.NewPCG(1, uint64(tt.size))), true //nolint:gosec // no secret
			r.run(200, 0.9*r.rate/float64(tt.size), tt.size)
			if all := r.begun + r.deferred; float64(r.deferred) > tt.most*float64(all) || r.cuts > all/100 {
				t.Errorf("of %d bodies of %.1f MiB %d were deferred and %d cut", all, float64(tt.size)/mib, r.deferred, r.cuts)
			}
		}
	})
	// All stands still for two seconds, and what was to come then comes at once.
	t.Run("below the rate, after a pause", func(t *testing.T) {
		for _, rate := range []float64{2.5e6, 12.5e6} {
			r := newRoad()
			r.rate, r.repairs = rate, true
			n := 0.9 * r.rate / mib
			r.run(20, n, mib)
			r.run(0.001, 2000*n, mib)
			r.run(100, n, mib)
			if all := r.begun + r.deferred; r.deferred > int(6*n) || r.cuts > int(2*n) {
				t.Errorf("%.1f MB/s: of %d bodies %d were deferred and %d cut", rate/1e6, all, r.deferred, r.cuts)
			}
		}
	})
	t.Run("at twice the rate", func(t *testing.T) {
		for _, size := range []int64{mib / 2, mib, 4 * mib} {
			r := newRoad()
			r.repairs = true
			n := 2 * r.rate / float64(size)
			r.run(60, n, size)
			if r.inVain*9 > r.well {
				t.Errorf("%d MiB: %d bytes went in vain, %d well", size/mib, r.inVain, r.well)
			}
			r.begun, r.held, r.deferred = 0, 0, 0
			r.run(60, n, size)
			if held := r.held.Seconds() / 60; held > 0.02 {
				t.Errorf("%d MiB: a client was held back for %.1f %% of the time", size/mib, 100*held)
			}
			if r.begun == 0 {
				t.Errorf("%d MiB: nothing was begun in a minute: nobody sees when the link is better", size/mib)
			}
			r.cuts, r.deferred = 0, 0
			r.run(10, 0.5*n/2, size)
			r.begun, r.deferred = 0, 0
			r.run(60, 0.7*n/2, size)
			if r.deferred > 0 || r.cuts > 0 {
				t.Errorf("%d MiB: when it was over, %d of %d were deferred, %d cut", size/mib, r.deferred, r.begun+r.deferred, r.cuts)
			}
		}
	})
	// What it carries falls to a tenth, and comes back.
	t.Run("worse for a while", func(t *testing.T) {
		for _, size := range []int64{mib / 2, mib, 4 * mib} {
			r := newRoad()
			n := 0.5 * r.rate / float64(size)
			r.run(30, n, size)
			r.rate /= 10
			r.run(30, n, size)
			if r.cuts > 20 {
				t.Errorf("%d MiB: %d of %d were cut", size/mib, r.cuts, r.begun)
			}
			r.rate *= 10
			r.run(60, n, size)
			r.deferred, r.cuts = 0, 0
			r.run(60, n, size)
			if r.deferred > 0 || r.cuts > 0 {
				t.Errorf("%d MiB: when it was over, %d of %d were deferred, %d cut", size/mib, r.deferred, r.begun+r.deferred, r.cuts)
			}
		}
	})
	// 100 MiB take 8.4 s: each would be cut.
	t.Run("larger than it carries in time", func(t *testing.T) {
		r := newRoad()
		r.run(30*60, 0.1, 100*mib)
		if r.cuts > 8 {
			t.Errorf("%d of %d were begun in vain", r.cuts, r.cuts+r.deferred)
		}
		if r.cuts < 3 {
			t.Errorf("%d were tried in half an hour", r.cuts)
		}
	})
}

// A client that is slower than the backend is held back by nobody, however large its body is.
func TestR10SlowClientsAreNotDeferred(t *testing.T) {
	l, now := Lane{}, int64(0)
	for range 100 {
		now += int64(time.Second)
		if !l.Fits(now, 1<<30, time.Second, false) {
			t.Fatal("deferred")
		}
		l.Begin(now, new(Cargo), 1<<30, nil)
		l.sent.Add(1 << 20)
	}
	// Also where somebody has been held back: what they have yet to send is no load of the backend's.
	l.rate, l.share, l.fresh, l.ever, l.heldAt = 10*mib, 1, true, true, now
	if now += int64(2 * time.Second); !l.Fits(now, 9*mib, time.Second, false) {
		t.Error("deferred beside slow clients")
	}
}

// Of two backends that are alike each is a little slower now and then: however large a body is, that is no
// reason to leave it out.
func TestR10ALittleSlowerIsNotDeferred(t *testing.T) {
	l, now := Lane{}, int64(time.Hour)
	for range 20 {
		if !l.Fits(now, 1<<30, time.Second, false) {
			t.Fatal("deferred")
		}
		b := new(Cargo)
		l.Begin(now, b, 1<<30, nil)
		var waited time.Duration
		for b.sent.Load() < b.size {
			now += 10 * tick
			b.sent.Add(4 * mib)
			l.sent.Add(4 * mib)
			waited += 3 * time.Millisecond
			l.Lag(now, b, 3*time.Millisecond, waited, time.Second)
		}
		l.End(now, b, waited, Arrived)
	}
	// One that is half as slow again is cut, and deferred from then on.
	b := new(Cargo)
	l.Begin(now, b, 1<<30, nil)
	now += int64(3 * time.Second)
	b.sent.Add(900 * mib)
	l.sent.Add(900 * mib)
	l.End(now, b, time.Second, Cut)
	if l.Fits(now, 16<<30, time.Second, false) || !l.Fits(now, mib, time.Second, false) {
		t.Error("what would be cut again is to be deferred, and nothing else")
	}
}

func TestR10WhatALaneTakesAtATime(t *testing.T) {
	now := int64(time.Hour)
	carrying := func(mibs ...int64) *Lane { // 10 MiB a second, and it has held somebody back
		l := &Lane{rate: 10 * mib, share: 1, fresh: true, heldAt: now, ever: true}
		for _, n := range mibs {
			l.Begin(now, new(Cargo), n*mib, nil)
		}
		return l
	}
	over := func() *Lane {
		l := carrying()
		l.over, l.excess, l.at = true, 1<<30, now
		return l
	}
	for _, tt := range []struct {
		name  string
		l     *Lane
		size  int64
		stall time.Duration
		want  bool
	}{
		{"what it takes in time", carrying(), 9 * mib, time.Second, true},
		{"more", carrying(), 11 * mib, time.Second, false},
		{"beside others", carrying(3, 3), 3 * mib, time.Second, true},
		{"beside others, with little time to spare", carrying(3, 3), 32 * mib / 10, time.Second, false},
		{"beside more", carrying(4, 4), 3 * mib, time.Second, false},
		{"a longer time", carrying(4, 4), 3 * mib, 2 * time.Second, true},
		{"beside one that is nearly through", func() *Lane { l := carrying(9); l.loads[0].sent.Add(8.5 * mib); return l }(), 9 * mib, time.Second, true},
		{"more, but it would take that time anyway", func() *Lane { l := carrying(); l.share = 0.1; return l }(), 99 * mib, time.Second, true},
		{"no time given", carrying(400), 300 * mib, 0, true},
		{"held nobody back", &Lane{rate: mib, fresh: true}, 900 * mib, time.Second, true},
		{"not for long", &Lane{rate: mib, fresh: true, ever: true, heldAt: now - heldLately - 1}, 900 * mib, time.Second, true},
		{"rate not known", &Lane{ever: true, heldAt: now}, 900 * mib, time.Second, true},
		{"size not known", carrying(), UnknownSize, time.Second, true},
		{"size not known, and too much comes", over(), UnknownSize, time.Second, false},
		{"too much comes", over(), 11 * mib, time.Second, false},
		{"too much comes: one at a time", over(), mib, time.Second, true},
		{"too much has come", func() *Lane { l := over(); l.excess = 10 * mib; l.next = now + 1; return l }(), mib, time.Second, true},
		{"what came when the rate was not known", func() *Lane {
			l := carrying(4, 4)
			l.Fits(now, mib, time.Second, false)
			l.over, l.excess = true, l.excess+5*mib
			return l
		}(), mib, time.Second, false},
		{"too large bodies have come", func() *Lane {
			l := carrying(2)
			for range 9 {
				l.Fits(now, 11*mib, time.Second, false)
			}
			return l
		}(), mib, time.Second, true},
	} {
		if got := tt.l.Fits(now, tt.size, tt.stall, false); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	l := over()
	if !l.Fits(now, mib, time.Second, false) || l.Fits(now+int64(time.Second), mib, time.Second, false) {
		t.Error("too much comes: the next one is due ten seconds after it")
	}
	if !l.Fits(now+int64(4*time.Second), mib, time.Second, false) {
		t.Error("no more has come than it carries")
	}
}

// TestR10RateOfALane: what is measured of a backend is what it carries, and neither what it does at first nor what
// something else leaves to a body.
func TestR10RateOfALane(t *testing.T) {
	t.Parallel()
	const rate = 12.5e6
	send := func(l *Lane, now int64, d time.Duration, pace func(at float64) float64, fate Fate) {
		b := new(Cargo)
		l.Begin(now, b, 100*mib, nil)
		waited := time.Duration(0)
		for ; waited < d; waited += time.Duration(tick) {
			n := int64(pace(waited.Seconds()) / 1000)
			b.sent.Add(n)
			l.sent.Add(n)
			l.Lag(now+int64(waited), b, time.Duration(tick), waited, time.Second)
		}
		l.End(now+int64(waited), b, waited, fate)
	}
	faster := func(at float64) float64 { return min(rate, 480e3*math.Pow(2, at/0.03)) }
	for _, tt := range []struct {
		name  string
		l     *Lane
		pace  func(at float64) float64
		d     time.Duration
		fate  Fate
		least float64
		most  float64
	}{
		{"faster at first", &Lane{}, faster, 900 * time.Millisecond, Arrived, 0.9, 1},
		{"too short to tell", &Lane{}, faster, 240 * time.Millisecond, Arrived, 0, 0},
		{"it has become slower", &Lane{rate: 2 * rate, fresh: true}, faster, 900 * time.Millisecond, Arrived, 1, 1.6},
		{"too much comes: repair has a part of it", &Lane{rate: rate, fresh: true, over: true}, func(float64) float64 { return rate / 3 }, 900 * time.Millisecond, Arrived, 1, 1},
		{"too much comes: it has become faster", &Lane{rate: rate / 10, fresh: true, over: true}, func(float64) float64 { return rate }, 80 * time.Millisecond, Arrived, 0.95, 1.05},
		{"too much comes: what was refused has not gone", &Lane{rate: rate, fresh: true, over: true}, func(float64) float64 { return 9 * rate }, 80 * time.Millisecond, Failed, 1, 1},
	} {
		send(tt.l, int64(time.Hour), tt.d, tt.pace, tt.fate)
		if got := tt.l.rate / rate; got < tt.least || got > tt.most {
			t.Errorf("%s: it carries %.2f of what it does", tt.name, got)
		}
	}
}

// TestR10RateIsOfWhatArrives: what the system holds for a body is not taken for what its backend carries: not when it
// takes the first bytes at once, nor when it sends the last ones, nor when the body is cut.
func TestR10RateIsOfWhatArrives(t *testing.T) {
	t.Parallel()
	const rate, held = 2.5e6, 600_000
	for _, tt := range []struct {
		size int64
		fate Fate
	}{{2 * mib, Arrived}, {3 * mib, Arrived}, {2 * mib, Cut}, {4 * mib, Cut}} {
		l, now := new(Lane), int64(time.Hour)
		l.Begin(now, new(Cargo), tt.size, nil) // of which nothing is sent
		for i := range int64(20) {
			b, arrived, connected := new(Cargo), int64(0), true
			l.Begin(now, b, tt.size, func() int64 {
				if !connected {
					return 0
				}
				return b.sent.Load() - arrived
			})
			ends, waited := tt.size, time.Duration(0)
			if tt.fate == Cut {
				ends -= held + i*30_000
			}
			for arrived < ends {
				now += tick
				arrived = min(arrived+rate/1000, ends)
				if n := min(arrived+held, tt.size) - b.sent.Load(); n > 0 {
					l.Moved(now, b, int(n))
					waited += time.Duration(tick)
					l.Lag(now, b, time.Duration(tick), waited, time.Second)
				}
			}
			now, connected = now+leastStretch, false
			l.End(now, b, waited, tt.fate)
			if got := l.rate / rate; l.fresh && (got < 0.7 || got > 1.1) {
				t.Errorf("%d MiB, fate %d: after %d it carries %.2f of what it does", tt.size/mib, tt.fate, i+1, got)
				break
			}
		}
		if !l.fresh {
			t.Errorf("%d MiB, fate %d: the rate is not known", tt.size/mib, tt.fate)
		}
	}
}

// TestR10LaneOfEndlessBodies: the larger a body is said to be, the less does it fit, whatever the numbers come to.
func TestR10LaneOfEndlessBodies(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{5 << 30, 20 << 30, 1 << 50, math.MaxInt64} {
		now := int64(time.Hour)
		l := &Lane{fresh: true, ever: true, share: 1, heldAt: now} // a backend of which nothing is taken
		for range 3 {
			if l.Fits(now, size, time.Second, false) {
				t.Errorf("%d bytes fit", size)
			}
			l.Begin(now, new(Cargo), size, nil)
		}
		l.over = true
		if l.Fits(now, size, time.Second, false) || !l.over {
			t.Errorf("%d bytes fit, after a while: %v over", size, l.over)
		}
		// The one that goes to see whether the backend has become better is the only one for a long time.
		l.loads, l.heldAt = nil, now-2*heldLately
		if !l.Fits(now, size, time.Second, false) || l.next < now {
			t.Errorf("%d bytes: the next one may come at %d, now is %d", size, l.next, now)
		}
	}
}

// TestR10NoTryWhileRepairIsBehind: while repair's bytes are on the way to a backend, no body is begun half a minute
// after the last one to see whether the backend has become better: it would wait for them.
func TestR10NoTryWhileRepairIsBehind(t *testing.T) {
	t.Parallel()
	for _, behind := range []bool{false, true} {
		begun, now := 0, int64(time.Hour)
		l := &Lane{rate: 2.5e6, share: 1, fresh: true, ever: true, heldAt: now}
		for range 89 {
			now += int64(time.Second)
			if l.Fits(now, 4*mib, time.Second, behind) {
				begun++
			}
		}
		if (begun > 0) == behind {
			t.Errorf("behind %v: %d were begun in a minute and a half", behind, begun)
		}
		if now += int64(2 * time.Second); behind && !l.Fits(now, 4*mib, time.Second, behind) {
			t.Error("none is begun after that")
		}
	}
	l, now := &Lane{rate: 2.5e6, share: 1, fresh: true, ever: true, lately: heldLongest}, int64(time.Hour)
	if l.heldAt = now - heldLongest - 1; !l.Fits(now, 4*mib, time.Second, true) {
		t.Error("it is not seen any more that the backend has become better")
	}
}
