package metrics

import (
	"sync"
	"time"
)

// How long latencies count for Latency: those of the last recentAge, plus up to as much again
// before. It reports nothing if there are fewer than recentLeast.
const (
	recentAge   = time.Minute
	recentLeast = 10
)

// bucketCounts are the counts of a histogram, by bucket.
type bucketCounts [len(latencyBounds) + 1]uint64

func (c *bucketCounts) sum() (n uint64) {
	for _, one := range c {
		n += one
	}
	return n
}

// recent derives what is new in a backend's histograms, which count from the start, from what they
// contained at an earlier look. So observing costs nothing extra.
type recent struct {
	mu           sync.Mutex
	at           time.Time // of last; zero: nobody has looked
	before, last bucketCounts
}

// since returns what is new in now, which was counted at the given time. If that is too little to
// tell anything, it returns everything since the start.
func (r *recent) since(at time.Time, now bucketCounts) bucketCounts {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at.Sub(r.at) >= recentAge {
		r.before, r.last, r.at = r.last, now, at
	}
	late := now
	for i := range late {
		late[i] -= r.before[i]
	}
	if late.sum() < recentLeast {
		return now
	}
	return late
}

// Latency is how long a backend recently took until its answer began, over requests of all
// classes: the median, the 95th and the 99th percentile; zero if too little is known. It is
// derived from the histograms of LegEnded by linear interpolation between their bounds, as
// Prometheus does.
func (m *Metrics) Latency(backend int) (p [3]time.Duration) { return m.latencyAt(backend, time.Now()) }

func (m *Metrics) latencyAt(backend int, at time.Time) (p [3]time.Duration) {
	b := &m.backends[backend]
	var now bucketCounts
	for class := range b.classes {
		first := &b.classes[class].first
		for i := range now {
			now[i] += first.counts[i].Load()
		}
	}
	counts := m.recent[backend].since(at, now)
	if counts.sum() < recentLeast {
		return p
	}
	for i, share := range []float64{.5, .95, .99} {
		p[i] = counts.quantile(share)
	}
	return p
}

// quantile is the time within which a share of all answers stays. Of answers above all bounds
// nothing more is known.
func (c *bucketCounts) quantile(share float64) time.Duration {
	want := share * float64(c.sum())
	for i, n := range c {
		if n > 0 && want <= float64(n) {
			if i == len(latencyBounds) {
				break
			}
			low := time.Duration(0)
			if i > 0 {
				low = latencyBounds[i-1]
			}
			return low + time.Duration(float64(latencyBounds[i]-low)*want/float64(n))
		}
		want -= float64(n)
	}
	return latencyBounds[len(latencyBounds)-1]
}
