package main

import (
	"fmt"
	"time"
)

// settle waits until the backends have seen all writes and nothing more arrives: copies that nobody
// waits for may be a moment late. verify reports what is missing after that.
func settle(stores []*process, r *recorder) error {
	wanted := r.puts.Load() + r.deletes.Load()
	last := int64(-1)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		sum, short := int64(0), false
		for _, s := range stores {
			n, err := s.seen()
			if err != nil {
				return err
			}
			sum += n
			short = short || n < wanted
		}
		if !short && sum == last {
			return nil
		}
		last = sum
	}
	return nil
}

func takeAll(stores []*process) ([]*backendCounts, error) {
	var all []*backendCounts
	for _, s := range stores {
		c, err := s.take()
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// verify compares the load's figures with what the backends saw. A peer that drops copies would look
// fast, and so would one with a wrong clock or histogram.
func verify(c *Case, peer string, r *recorder, counts []*backendCounts) error {
	if c.Cut {
		return nil
	}
	if n := r.whole.Count(); int64(n) != r.succeeded.Load() {
		return fmt.Errorf("the histogram has %d of %d requests", n, r.succeeded.Load())
	}
	if r.sent.Load() != r.succeeded.Load()+r.failed.Load() {
		return fmt.Errorf("%d requests were sent, but %d succeeded and %d failed", r.sent.Load(), r.succeeded.Load(), r.failed.Load())
	}
	if c.Fault != "" && !drivesOne(peer) {
		counts = counts[:len(counts)-1]
	}
	clean := r.failed.Load() == 0
	var gets int64
	for i, seen := range counts {
		for _, one := range []struct {
			what      string
			seen, due int64
		}{
			{"PUTs", seen.Puts, r.puts.Load()},
			{"DELETEs", seen.Deletes, r.deletes.Load()},
			{"bytes", seen.Bytes, r.stored.Load()},
		} {
			if one.seen < one.due || clean && one.seen > one.due {
				return fmt.Errorf("backend %d saw %d %s, %d were sent", i+1, one.seen, one.what, one.due)
			}
		}
		gets += seen.Gets
	}
	if gets < r.gets.Load() { // a proxy may ask as many backends as it likes
		return fmt.Errorf("the backends saw %d GETs and HEADs, %d were sent", gets, r.gets.Load())
	}
	if peer == "direct" && clean {
		return verifyLatency(r, counts[0])
	}
	return nil
}

// verifyLatency checks that no percentile is shorter than the backend's own for the same requests: each
// answer took the client longer than the backend.
func verifyLatency(r *recorder, seen *backendCounts) error {
	if seen.Latency.Count() != r.whole.Count() {
		return fmt.Errorf("the histogram has %d latencies, the backend's own %d", r.whole.Count(), seen.Latency.Count())
	}
	for _, p := range []float64{.01, .1, .25, .5, .75, .9, .99} {
		own, theirs := r.whole.At(p), seen.Latency.At(p)
		if float64(own) < .97*float64(theirs) {
			return fmt.Errorf("the histogram's p%v is %v, the backend itself took %v", 100*p, own, theirs)
		}
	}
	return nil
}
