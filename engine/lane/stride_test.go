package lane

import (
	"math"
	"testing"
	"time"
)

// TestR10InVain: a body that cannot end in time is not waited for until its time is up.
func TestR10InVain(t *testing.T) {
	t.Parallel()
	r := newRoad()
	r.run(2, 1, 100*mib)
	if r.cuts == 0 || r.held > r.stall/2 {
		t.Errorf("%d cuts; clients were held back for %v", r.cuts, r.held)
	}
}

// TestR10InVainOfMany: where far more comes at once than the backend carries, what began first ends well.
func TestR10InVainOfMany(t *testing.T) {
	t.Parallel()
	r := newRoad()
	r.run(6, 300, mib)
	if r.well < 5*mib || r.inVain > 9*mib {
		t.Errorf("%d bytes went well, %d in vain, in %d bodies that were cut", r.well, r.inVain, r.cuts)
	}
}

// TestR10NotInVain: a body whose backend has yet to come to its full speed, or stands still for a moment, has the
// whole of its time; one that could end in time, too.
func TestR10NotInVain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		rate func(at time.Duration) float64 // bytes a second
		size int64
	}{
		{"faster and faster", func(at time.Duration) float64 {
			return 150e3 * float64(int(1)<<min(at/(80*time.Millisecond), 10))
		}, 64 * mib},
		{"after a pause at its beginning", func(at time.Duration) float64 {
			if at > 5*time.Millisecond && at < 600*time.Millisecond {
				return 0
			}
			return 400e6
		}, 1 << 30},
		{"with a pause in its middle", func(at time.Duration) float64 {
			if at > 2*time.Second && at < 2600*time.Millisecond {
				return 0
			}
			return 400e6
		}, 4 << 30},
		{"slow, and in time", func(time.Duration) float64 { return 12.5e6 }, 11 * mib},
		{"nearly in time", func(time.Duration) float64 { return 12.5e6 }, 13 * mib},
		{"slower for most of the time", func(time.Duration) float64 { return 150e6 }, 800 * mib},
		{"of a size that nobody knows", func(time.Duration) float64 { return 12.5e6 }, 0},
	} {
		l, b, now := new(Lane), new(Cargo), int64(time.Hour)
		l.Begin(now, b, tt.size, nil)
		var waited time.Duration
		full := 400e6 // of the client, and of the other backend
		for at := time.Duration(0); waited < time.Second && (tt.size == 0 || b.sent.Load() < tt.size); at += time.Duration(tick) {
			now += tick
			rate := min(tt.rate(at), full)
			b.sent.Add(int64(rate / 1000))
			l.sent.Add(int64(rate / 1000))
			held := time.Duration(float64(tick) * (1 - rate/full))
			if waited += held; held > 0 && l.Lag(now, b, held, waited, time.Second) {
				t.Errorf("%s: cut after %v, of which it was waited for %v", tt.name, at, waited)
				break
			}
		}
	}
}

// TestR10NotInVainBesideAnEnd: a body that begins while another one has its last bytes sent begins as slowly as any
// does over a long way; that the pace of the lane falls then is no reason to cut it.
func TestR10NotInVainBesideAnEnd(t *testing.T) {
	t.Parallel()
	const rate, size = 12.5e6, 4 * mib
	for before := 250; before <= 500; before += 5 { // ms that the other one takes
		l, now := new(Lane), int64(time.Hour)
		var waited time.Duration
		send := func(b *Cargo, n float64) (vain bool) {
			now += tick
			b.sent.Add(int64(n / 1000))
			l.sent.Add(int64(n / 1000))
			waited += time.Duration(tick)
			return l.Lag(now, b, time.Duration(tick), waited, time.Second)
		}
		other, b := new(Cargo), new(Cargo)
		l.Begin(now, other, rate*int64(before)/1000, nil)
		for range before {
			send(other, rate)
		}
		l.Begin(now, b, size, nil)
		l.End(now, other, waited, Arrived)
		waited = 0
		for at := 0.0; b.sent.Load() < size; at++ {
			if send(b, min(rate, 480e3*math.Pow(2, at/30))) {
				t.Fatalf("after one of %d ms it was cut, %v after its beginning", before, waited)
			}
		}
	}
}

// TestR10NoClientWaitsForATry: a body that only shows whether its backend has become better is let go of where it
// stands still, which repair's bytes before it make it do. Any other one has the whole of its time, as after a pause.
func TestR10NoClientWaitsForATry(t *testing.T) {
	t.Parallel()
	const size, held = 4 * mib, 480_000
	for _, tt := range []struct {
		name  string
		tries bool
		sent  int64 // at once
		pause time.Duration
		vain  bool
	}{
		{"it stands still", true, held, time.Second, true},
		{"it has yet to connect", true, 0, time.Second, false},
		{"it stands still for a moment", true, held, 150 * time.Millisecond, false},
		{"it does not only try", false, held, time.Second, false},
	} {
		l, b, now := &Lane{over: tt.tries}, new(Cargo), int64(time.Hour)
		l.Begin(now, b, size, nil)
		l.Moved(now, b, int(tt.sent))
		vain, waited := false, time.Duration(0)
		for ; waited < time.Second && b.Sent() < size && !vain; waited += time.Duration(tick) {
			now += tick
			if waited >= tt.pause {
				l.Moved(now, b, 12_500)
			}
			vain = l.Lag(now, b, time.Duration(tick), waited, time.Second)
		}
		if vain != tt.vain || vain && waited > time.Second/2 {
			t.Errorf("%s: in vain %v, after %v", tt.name, vain, waited)
		}
	}
}

// TestR10WhatTheSystemHolds: the system takes some of a body at once, and then a part of that whenever so much has
// arrived. The backend is as fast as bytes arrive there: what cannot end in time is seen soon, the rate is known
// from then on, and a backend that takes its bytes is slow, and has not failed.
func TestR10WhatTheSystemHolds(t *testing.T) {
	t.Parallel()
	const rate, held = 250_000, 600_000
	for _, size := range []int64{mib, 4 * mib, 100 * mib} {
		l, b, now := new(Lane), new(Cargo), int64(time.Hour)
		arrived, waited, vain := int64(0), time.Duration(0), false
		l.Begin(now, b, size, func() int64 { return b.Sent() - arrived })
		for ; waited < time.Second && !vain; waited += time.Duration(tick) {
			now += tick
			arrived = min(arrived+rate/1000, b.Sent())
			if room := arrived + held - b.Sent(); room >= held/3 {
				l.Moved(now, b, int(min(room, size-b.Sent())))
			}
			vain = l.Lag(now, b, time.Duration(tick), waited, time.Second)
		}
		if !vain || waited > time.Second/2 {
			t.Errorf("%d MiB: in vain %v, after %v", size/mib, vain, waited)
		}
		if !l.Moves(now, b) || !l.Moves(now+int64(time.Minute), b) { // the leg may learn late that it was cut
			t.Errorf("%d MiB: nothing moves", size/mib)
		}
		l.End(now, b, waited, Cut)
		if got := l.Status(now).Rate / rate; got < 0.7 || got > 1.1 {
			t.Errorf("%d MiB: it carries %.2f of what it does", size/mib, got)
		}
	}
}

// TestR10WhatIsOnTheWayDoesNotArrive: what the system held for a body that was cut is not taken for the pace of the
// one beside it.
func TestR10WhatIsOnTheWayDoesNotArrive(t *testing.T) {
	t.Parallel()
	l, a, b, now := new(Lane), new(Cargo), new(Cargo), int64(time.Hour)
	l.Begin(now, a, mib, func() int64 { return 500_000 })
	l.Begin(now, b, mib, func() int64 { return 0 })
	l.Moved(now, a, 500_000)
	lag := func(d time.Duration) {
		now += int64(d)
		l.Lag(now, b, d, d, time.Second)
	}
	lag(130 * time.Millisecond)
	l.End(now, a, 0, Cut)
	lag(130 * time.Millisecond)
	if l.stride.rate != 0 {
		t.Errorf("%.0f bytes a second, of which none has arrived", l.stride.rate)
	}
}

// TestR10RateOfWhatStandsStill: a backend that stands still for a moment before its rate is known is not taken for one
// that carries nothing.
func TestR10RateOfWhatStandsStill(t *testing.T) {
	t.Parallel()
	l, b, now := new(Lane), new(Cargo), int64(time.Hour)
	l.Begin(now, b, 4*mib, func() int64 { return 500_000 })
	l.Moved(now, b, 600_000)
	waited := time.Duration(0)
	for ; waited < time.Second; waited += time.Duration(tick) {
		now += tick
		if l.Lag(now, b, time.Duration(tick), waited, time.Second) {
			t.Fatalf("it is cut after %v", waited)
		}
	}
	l.End(now, b, waited, Cut)
	if !l.Fits(now, mib/2, time.Second, false) || l.Fits(now, mib, time.Second, false) {
		t.Errorf("it carries %.0f bytes a second", l.Status(now).Rate)
	}
}
