// Package latency knows how long a backend's answers take, and when a read that takes longer is
// sent to another one as well (R30).
package latency

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Histogram is how long the heads of recent answers took. Its counts are halved
// whenever they reach decayAt. All methods may be called from any goroutine; what two of them
// count at the same time may be lost in the halving, which matters little.
type Histogram struct {
	counts [steps]atomic.Uint32
	sum    atomic.Uint32 // of counts, about
	median atomic.Int64  // as of the last look; 0 while too little is known
	p95    atomic.Int64
}

const (
	steps       = 96 // four to an octave, from 16 µs to 4 minutes
	firstOctave = 14 // the first octave begins at 2^14 ns
	decayAt     = 512
	enough      = 16 // answers, before which nothing is said
	lookEach    = 8  // answers between looks
)

// stepOf is the step in which d is counted.
func stepOf(d time.Duration) int {
	n := uint64(max(d, 1<<firstOctave))
	octave := bits.Len64(n) - 1
	quarter := int(n >> (octave - 2) & 3)
	return min((octave-firstOctave)*4+quarter, steps-1)
}

// ofStep is the longest time counted in that step.
func ofStep(step int) int64 {
	octave, quarter := step/4+firstOctave, step%4
	return int64(5+quarter) << (octave - 2)
}

// Observe counts one answer's time.
func (l *Histogram) Observe(d time.Duration) {
	l.counts[stepOf(d)].Add(1)
	switch n := l.sum.Add(1); {
	case n == decayAt:
		l.decay()
	case n < enough || n%lookEach != 0:
		return
	}
	l.look()
}

// Median is the time within which half of the answers came; 0 while too little is known.
func (l *Histogram) Median() time.Duration { return time.Duration(l.median.Load()) }

// P95 is that of 95 of a hundred.
func (l *Histogram) P95() time.Duration { return time.Duration(l.p95.Load()) }

func (l *Histogram) decay() {
	sum := uint32(0)
	for i := range l.counts {
		n := l.counts[i].Load() / 2
		l.counts[i].Store(n)
		sum += n
	}
	l.sum.Store(min(sum, decayAt-1))
}

func (l *Histogram) look() {
	var counts [steps]uint32
	sum := uint32(0)
	for i := range counts {
		counts[i] = l.counts[i].Load()
		sum += counts[i]
	}
	l.median.Store(quantile(&counts, sum, 50))
	l.p95.Store(quantile(&counts, sum, 95))
}

// quantile is the time within which that percentage of the answers came.
func quantile(counts *[steps]uint32, sum uint32, percent uint64) int64 {
	want := (uint64(sum)*percent + 99) / 100
	have := uint64(0)
	for i, n := range counts {
		if have += uint64(n); have >= want && n > 0 {
			return ofStep(i)
		}
	}
	return 0
}

// Budget bounds how many reads are sent to a second backend merely because the first is slow: to a
// share of all reads, and to none while too many would be. Then not one answer is slow but a
// backend, or all of them, and asking more would make it worse.
type Budget struct {
	reads  atomic.Int64 // of late
	slow   atomic.Int64 // of these: how many would hedge
	credit atomic.Int64 // in millionths of a hedge
}

const (
	hedgeUnit  = 1_000_000
	maxCredit  = 10 * hedgeUnit // what was not used is kept for a moment, not for good
	hedgeDecay = 1024           // reads after which the counts are halved
	slowShare  = 5              // a fifth
	fewReads   = 20             // too few for a share to mean anything
)

// Began counts a read, which adds to the number that may be hedged.
func (h *Budget) Began(budget float64) {
	if h.reads.Add(1) >= hedgeDecay {
		h.reads.Store(hedgeDecay / 2)
		h.slow.Store(h.slow.Load() / 2)
	}
	if h.credit.Load() < maxCredit {
		h.credit.Add(int64(budget * hedgeUnit))
	}
}

// Take reports whether a slow read may be hedged.
func (h *Budget) Take() bool {
	slow, reads := h.slow.Add(1), h.reads.Load()
	if reads >= fewReads && slow*slowShare > reads {
		return false
	}
	if h.credit.Add(-hedgeUnit) < 0 {
		h.credit.Add(hedgeUnit)
		return false
	}
	return true
}
