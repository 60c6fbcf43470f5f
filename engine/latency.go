package engine

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// readClass is a kind of read whose answers take about the same time on one backend.
type readClass uint8

const (
	classHead readClass = iota
	classGet
	classList
	readClasses
)

// readClass is the request's.
func (h *requestHead) readClass() readClass {
	switch {
	case h.method == "HEAD":
		return classHead
	case len(h.target.Key) == 0:
		return classList
	}
	return classGet
}

// latency is how long the heads of recent answers took: a histogram whose counts are halved
// whenever they reach decayAt. All methods may be called from any goroutine; what two of them
// count at the same time may be lost in the halving, which matters little.
type latency struct {
	counts [latencySteps]atomic.Uint32
	sum    atomic.Uint32 // of counts, about
	median atomic.Int64  // as of the last look; 0 while too little is known
	p95    atomic.Int64
}

const (
	latencySteps  = 96 // four to an octave, from 16 µs to 4 minutes
	latencyFirst  = 14 // the first octave begins at 2^14 ns
	decayAt       = 512
	latencyEnough = 16 // answers, before which nothing is said
	latencyEach   = 8  // answers between looks
)

// stepOf is the step in which d is counted.
func stepOf(d time.Duration) int {
	n := uint64(max(d, 1<<latencyFirst))
	octave := bits.Len64(n) - 1
	quarter := int(n >> (octave - 2) & 3)
	return min((octave-latencyFirst)*4+quarter, latencySteps-1)
}

// ofStep is the longest time counted in that step.
func ofStep(step int) int64 {
	octave, quarter := step/4+latencyFirst, step%4
	return int64(5+quarter) << (octave - 2)
}

// observe counts one answer's time.
func (l *latency) observe(d time.Duration) {
	l.counts[stepOf(d)].Add(1)
	switch n := l.sum.Add(1); {
	case n == decayAt:
		l.decay()
	case n < latencyEnough || n%latencyEach != 0:
		return
	}
	l.look()
}

func (l *latency) decay() {
	sum := uint32(0)
	for i := range l.counts {
		n := l.counts[i].Load() / 2
		l.counts[i].Store(n)
		sum += n
	}
	l.sum.Store(min(sum, decayAt-1))
}

func (l *latency) look() {
	var counts [latencySteps]uint32
	sum := uint32(0)
	for i := range counts {
		counts[i] = l.counts[i].Load()
		sum += counts[i]
	}
	l.median.Store(quantile(&counts, sum, 50))
	l.p95.Store(quantile(&counts, sum, 95))
}

// quantile is the time within which that percentage of the answers came.
func quantile(counts *[latencySteps]uint32, sum uint32, percent uint64) int64 {
	want := (uint64(sum)*percent + 99) / 100
	have := uint64(0)
	for i, n := range counts {
		if have += uint64(n); have >= want && n > 0 {
			return ofStep(i)
		}
	}
	return 0
}

// readStats is what the engine knows about reads under policies that do not ask every backend.
type readStats struct {
	latencies [][readClasses]latency // by backend
	hedges    hedges
}

// hedges bounds how many reads are sent to a second backend merely because the first is slow: to a
// share of all reads, and to none while too many would be. Then not one answer is slow but a
// backend, or all of them, and asking more would make it worse.
type hedges struct {
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

// began counts a read, which adds to the number that may be hedged.
func (h *hedges) began(budget float64) {
	if h.reads.Add(1) >= hedgeDecay {
		h.reads.Store(hedgeDecay / 2)
		h.slow.Store(h.slow.Load() / 2)
	}
	if h.credit.Load() < maxCredit {
		h.credit.Add(int64(budget * hedgeUnit))
	}
}

// take reports whether a slow read may be hedged.
func (h *hedges) take() bool {
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
