package main

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/akubra/akubra/bench/histogram"
)

// recorder collects the outcomes of requests in a window of time, which is divided into slots. Many
// goroutines may report to it at once. Its size depends neither on the window's length nor on the
// number of requests.
//
// The tail is trimmed like this: rates count requests that ended within the window, and of those that
// go on after it the share of their time that lies within. (With few and long requests anything else
// is far off.) Latencies are those of all requests that began within the window, however long they
// took: the slowest must not be lost for being slow.
type recorder struct {
	start  time.Time
	window time.Duration
	slots  []slot
	whole  histogram.Histogram // latencies of all that succeeded
	late   histogram.Histogram // from a request's intended start to its real one
	first  histogram.Histogram // to the answer's first byte, of all that succeeded

	sent, succeeded, failed, unsent atomic.Int64
	puts, gets, deletes, stored     atomic.Int64 // of those that succeeded, what a backend must have seen
	moved                           atomic.Int64 // bytes of bodies, in and after the window

	mu        sync.Mutex
	straddled [2]float64 // the shares of requests that ended after the window; 1 are those that failed
	errors    map[string]int64

	operations [len(operations)]operation
}

// operations are the kinds of request that results distinguish.
var operations = [...]string{"PUT", "GET", "HEAD", "DELETE", "LIST"}

// operation collects the outcomes of one kind of request.
type operation struct {
	sent, failed   atomic.Int64
	bytes          atomic.Int64 // of bodies of those that succeeded, both ways
	latency, first histogram.Histogram
}

// slot is a part of the window. A latency counts in the slot in which its request began, everything
// else in the slot in which it happened.
type slot struct {
	latency      histogram.Histogram
	done, failed atomic.Int64
	bytes        atomic.Int64
	rss          atomic.Int64
}

// slots a window is cut into.
const recorderSlots = 60

func newRecorder(window time.Duration) *recorder {
	return &recorder{window: window, slots: make([]slot, recorderSlots), errors: map[string]int64{}}
}

func (r *recorder) begin() { r.start = time.Now() }

// over reports whether the window has passed at t.
func (r *recorder) over(t time.Time) bool { return t.Sub(r.start) >= r.window }

// at is the slot of t, or nil outside of the window.
func (r *recorder) at(t time.Time) *slot {
	i := int(int64(t.Sub(r.start)) * int64(len(r.slots)) / int64(r.window))
	if i < 0 || i >= len(r.slots) {
		return nil
	}
	return &r.slots[i]
}

// done reports a request: when it was to begin, when it did, and when it ended.
func (r *recorder) done(req *request, intended, began, ended time.Time, err error) {
	r.sent.Add(1)
	op := &r.operations[max(0, slices.Index(operations[:], req.op()))]
	op.sent.Add(1)
	s := r.at(ended)
	if end := r.start.Add(r.window); s == nil && began.Before(end) {
		r.mu.Lock()
		r.straddled[oneIf(err != nil)] += float64(end.Sub(began)) / float64(ended.Sub(began))
		r.mu.Unlock()
	}
	if err != nil {
		r.failed.Add(1)
		op.failed.Add(1)
		if s != nil {
			s.failed.Add(1)
		}
		r.mu.Lock()
		r.errors[errorKind(err)]++
		r.mu.Unlock()
		return
	}
	r.succeeded.Add(1)
	r.count(req)
	latency := ended.Sub(intended)
	r.whole.Record(latency)
	r.late.Record(began.Sub(intended))
	first := req.firstByte.Sub(intended)
	r.first.Record(first)
	op.latency.Record(latency)
	op.first.Record(first)
	op.bytes.Add(req.size + req.got)
	if s != nil {
		s.done.Add(1)
	}
	if s := r.at(intended); s != nil {
		s.latency.Record(latency)
	}
}

func oneIf(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func (r *recorder) count(req *request) {
	switch req.method {
	case "PUT":
		r.puts.Add(1)
		r.stored.Add(req.size)
	case "DELETE":
		r.deletes.Add(1)
	default:
		r.gets.Add(1)
	}
}

// progress reports bytes of a body that were just sent or received.
func (r *recorder) progress(n int) {
	r.moved.Add(int64(n))
	if s := r.at(time.Now()); s != nil {
		s.bytes.Add(int64(n))
	}
}

// inWindow returns how many successes and failures count for the window.
func (r *recorder) inWindow() (succeeded, failed float64) {
	succeeded, failed = r.straddled[0], r.straddled[1]
	for i := range r.slots {
		succeeded += float64(r.slots[i].done.Load())
		failed += float64(r.slots[i].failed.Load())
	}
	return succeeded, failed
}

func (r *recorder) bytesInWindow() int64 {
	var sum int64
	for i := range r.slots {
		sum += r.slots[i].bytes.Load()
	}
	return sum
}

// latencyBetween are the latencies of requests begun between two shares of the
// window, 0 being its start and 1 its end.
func (r *recorder) latencyBetween(from, to float64) *histogram.Histogram {
	h := &histogram.Histogram{}
	n := float64(len(r.slots))
	for i := int(math.Round(from * n)); i < int(math.Round(to*n)); i++ {
		h.Merge(&r.slots[i].latency)
	}
	return h
}

// series are the slots as they go into the results.
func (r *recorder) series() *Series {
	s := &Series{Seconds: r.window.Seconds() / float64(len(r.slots))}
	for i := range r.slots {
		one := &r.slots[i]
		s.Requests = append(s.Requests, one.done.Load())
		s.Failed = append(s.Failed, one.failed.Load())
		s.Bytes = append(s.Bytes, one.bytes.Load())
		s.P50 = append(s.P50, int64(one.latency.At(.5)))
		s.P99 = append(s.P99, int64(one.latency.At(.99)))
		s.Max = append(s.Max, int64(one.latency.Max()))
		s.RSS = append(s.RSS, one.rss.Load())
	}
	return s
}

// watch samples the resident memory until the window is over or stop is closed.
func (r *recorder) watch(rss func() int64, stop <-chan struct{}) {
	t := time.NewTicker(max(r.window/time.Duration(len(r.slots)), 5*time.Millisecond))
	defer t.Stop()
	for now := time.Now(); ; {
		if s := r.at(now); s != nil {
			s.rss.Store(max(s.rss.Load(), rss()))
		} else if r.over(now) {
			return
		}
		select {
		case now = <-t.C:
		case <-stop:
			return
		}
	}
}
