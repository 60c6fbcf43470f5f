package metrics

import (
	"math/bits"
	"strconv"
	"sync/atomic"
	"time"
)

// latencyBounds are the upper bounds of the buckets: from a small object nearby to a large one far away.
var latencyBounds = [...]time.Duration{
	500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute,
}

// latencies is a histogram. Observing takes two atomic additions and no lock.
type latencies struct {
	counts [len(latencyBounds) + 1]atomic.Uint64 // of each bucket alone; the last one is for what is above all bounds
	sum    atomic.Int64                          // nanoseconds
}

// bucketFrom is, by bit length, the first bucket that a duration can be in.
var bucketFrom = func() (from [65]uint8) {
	for n := range from {
		least := time.Duration(1) << max(n-1, 0)
		for i := 0; n < 63 && i < len(latencyBounds) && latencyBounds[i] < least; i++ {
			from[n] = uint8(i + 1)
		}
		if n >= 63 {
			from[n] = uint8(len(latencyBounds))
		}
	}
	return from
}()

func bucketOf(d time.Duration) int {
	d = max(d, 0)
	i := int(bucketFrom[bits.Len64(uint64(d))])
	for i < len(latencyBounds) && d > latencyBounds[i] {
		i++
	}
	return i
}

func (l *latencies) observe(d time.Duration) {
	l.counts[bucketOf(d)].Add(1)
	l.sum.Add(int64(max(d, 0)))
}

// boundLabels are the labels of the buckets.
var boundLabels = func() (labels [len(latencyBounds) + 1]string) {
	for i, bound := range latencyBounds {
		labels[i] = `le="` + strconv.FormatFloat(bound.Seconds(), 'g', -1, 64) + `"`
	}
	labels[len(latencyBounds)] = `le="+Inf"`
	return labels
}()

// histogram writes the samples of l for the family that was begun.
func (p *page) histogram(l *latencies, values ...string) {
	n := uint64(0)
	for i := range l.counts {
		n += l.counts[i].Load()
		p.series("_bucket", values, boundLabels[i])
		p.WriteString(strconv.FormatUint(n, 10) + "\n")
	}
	p.series("_sum", values, "")
	p.WriteString(strconv.FormatFloat(time.Duration(l.sum.Load()).Seconds(), 'g', -1, 64) + "\n")
	p.series("_count", values, "")
	p.WriteString(strconv.FormatUint(n, 10) + "\n")
}
