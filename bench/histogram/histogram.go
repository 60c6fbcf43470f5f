// Package histogram counts durations in buckets whose width grows with their
// value (log-linear, as HdrHistogram has them), so that any percentile is known
// to within one per cent, whatever its size, in memory that does not grow.
//
// Record may be called from any number of goroutines; all other methods see what
// was recorded before them. It is its own and no library because it is this short,
// and counts without a lock.
package histogram

import (
	"encoding/json"
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	subBits = 6 // 64 buckets for each doubling: a bucket is at most 1/64 of its value wide
	maxBits = 41
	buckets = (maxBits-subBits-1)<<subBits + 2<<subBits
	longest = time.Duration(1)<<maxBits - 1 // 36 minutes; longer ones count as this
)

// Histogram counts durations. Its zero value is empty. It must not be copied.
type Histogram struct {
	counts [buckets]atomic.Uint64
	count  atomic.Uint64
	sum    atomic.Int64
	max    atomic.Int64
}

// bucket is where d is counted. Up to 2<<subBits each value has its own.
func bucket(d time.Duration) int {
	v := uint64(min(max(d, 0), longest))
	shift := max(0, bits.Len64(v)-subBits-1)
	return shift<<subBits + int(v>>shift)
}

// bounds are the least value of bucket i and the least of the next one.
func bounds(i int) (low, high time.Duration) {
	shift := max(0, i>>subBits-1)
	low = time.Duration(i-shift<<subBits) << shift
	return low, low + 1<<shift
}

// Record counts d once.
func (h *Histogram) Record(d time.Duration) {
	h.counts[bucket(d)].Add(1)
	h.count.Add(1)
	h.sum.Add(int64(d))
	h.raiseMax(int64(d))
}

func (h *Histogram) raiseMax(d int64) {
	for old := h.max.Load(); d > old && !h.max.CompareAndSwap(old, d); {
		old = h.max.Load()
	}
}

// Merge adds what o has counted.
func (h *Histogram) Merge(o *Histogram) {
	if o.Count() == 0 {
		return
	}
	for i := range o.counts {
		if n := o.counts[i].Load(); n > 0 {
			h.counts[i].Add(n)
		}
	}
	h.count.Add(o.count.Load())
	h.sum.Add(o.sum.Load())
	h.raiseMax(o.max.Load())
}

// Count is how many durations were recorded.
func (h *Histogram) Count() uint64 { return h.count.Load() }

// Max is the longest, exactly.
func (h *Histogram) Max() time.Duration { return time.Duration(h.max.Load()) }

// At is the duration that a share p of all (0.99) do not exceed; 0 if there are
// none. It is the middle of its bucket.
func (h *Histogram) At(p float64) time.Duration {
	if h.Count() == 0 {
		return 0
	}
	rank := max(1, uint64(math.Ceil(p*float64(h.count.Load()))))
	var seen uint64
	for i := range h.counts {
		n := h.counts[i].Load()
		if seen += n; n > 0 && seen >= rank {
			low, high := bounds(i)
			return min((low+high-1)/2, h.Max())
		}
	}
	return h.Max()
}

// form is a histogram in JSON: durations are nanoseconds, a bucket is its least
// value and its count; empty ones are left out.
type form struct {
	Count   uint64     `json:"count"`
	Sum     int64      `json:"sum_ns"`
	Max     int64      `json:"max_ns"`
	Buckets [][2]int64 `json:"buckets"`
}

// MarshalJSON writes the buckets that are not empty.
func (h *Histogram) MarshalJSON() ([]byte, error) {
	f := form{Count: h.count.Load(), Sum: h.sum.Load(), Max: h.max.Load(), Buckets: [][2]int64{}}
	for i := range h.counts {
		if n := h.counts[i].Load(); n > 0 {
			low, _ := bounds(i)
			f.Buckets = append(f.Buckets, [2]int64{int64(low), int64(n)})
		}
	}
	return json.Marshal(f)
}

// UnmarshalJSON reads what MarshalJSON wrote into an empty histogram.
func (h *Histogram) UnmarshalJSON(b []byte) error {
	var f form
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	for _, one := range f.Buckets {
		h.counts[bucket(time.Duration(one[0]))].Add(uint64(one[1]))
	}
	h.count.Store(f.Count)
	h.sum.Store(f.Sum)
	h.max.Store(f.Max)
	return nil
}
