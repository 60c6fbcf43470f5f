package engine

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// readClass is a kind of read whose answers take about the same time at one backend.
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

// latency is how long the heads of answers take, by experience of late: a histogram whose
// counts are halved each time that they have come to decayAt. All methods may be called from any
// goroutine; what two of them count at once may be lost by the halving, which changes
// little.
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

// stepOf is where d is counted.
func stepOf(d time.Duration) int {
	n := uint64(max(d, 1<<latencyFirst))
	octave := bits.Len64(n) - 1
	quarter := int(n >> (octave - 2) & 3)
	return min((octave-latencyFirst)*4+quarter, latencySteps-1)
}

// ofStep is the longest time that is counted there.
func ofStep(step int) int64 {
	octave, quarter := step/4+latencyFirst, step%4
	return int64(5+quarter) << (octave - 2)
}

// observe takes in one answer's time.
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

// quantile is the time that so many of a hundred stay within.
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

// readStats is what the engine knows of reads under a policy that does not ask everybody.
type readStats struct {
	latencies [][readClasses]latency // by backend
	hedges    hedges
}

// hedges bounds how many reads are asked of a second backend for slowness alone: by a
// share of all reads, and not at all while too many would, for then it is not one answer
// that is slow but a backend, or all of them, and asking more would make it worse.
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

// began counts a read, which adds to what may be hedged.
func (h *hedges) began(budget float64) {
	if h.reads.Add(1) >= hedgeDecay {
		h.reads.Store(hedgeDecay / 2)
		h.slow.Store(h.slow.Load() / 2)
	}
	if h.credit.Load() < maxCredit {
		h.credit.Add(int64(budget * hedgeUnit))
	}
}

// take reports whether a read that is slow may be hedged.
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
