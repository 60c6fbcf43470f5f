package main

import (
	"math"

	"github.com/akubra/akubra/bench/histogram"
)

// Operation is the result for one kind of request in a mix.
type Operation struct {
	Sent    int64                `json:"sent"`
	Failed  int64                `json:"failed"`
	Bytes   int64                `json:"bytes"` // of bodies of those that succeeded, both ways
	Latency *histogram.Histogram `json:"latency"`
	First   *histogram.Histogram `json:"first_byte"`
}

// byOperation returns the operations of a mix: any other case has only one.
func (r *recorder) byOperation(c *Case) map[string]*Operation {
	if c.Method != methodMix {
		return nil
	}
	all := map[string]*Operation{}
	for i, name := range operations {
		if op := &r.operations[i]; op.sent.Load() > 0 {
			all[name] = &Operation{op.sent.Load(), op.failed.Load(), op.bytes.Load(), &op.latency, &op.first}
		}
	}
	return all
}

// operation is a run as if it had had no other requests, or nil. What processes used is not known by
// operation. Each operation is assumed to have the same share of its requests end within the window.
func (r *Run) operation(name string) *Run {
	op := r.Operations[name]
	if op == nil {
		return nil
	}
	one := &Run{Round: r.Round, Peer: r.Peer, Case: r.Case, Seconds: r.Seconds, Sent: op.Sent, Succeeded: op.Sent - op.Failed,
		Failed: op.Failed, Bytes: op.Bytes, Latency: op.Latency, First: op.First}
	one.Case.Method = name
	share := func(part, whole int64, within float64) float64 {
		if whole == 0 {
			return 0
		}
		return within * float64(part) / float64(whole)
	}
	one.SucceededWithin = share(one.Succeeded, r.Succeeded, r.SucceededWithin)
	one.FailedWithin = share(op.Failed, r.Failed, r.FailedWithin)
	one.BytesWithin = int64(math.Round(share(op.Bytes, r.Bytes, float64(r.BytesWithin))))
	return one
}

// operationRuns are all rounds of an operation, or nil.
func operationRuns(runs []*Run, name string) []*Run {
	var all []*Run
	for _, r := range runs {
		if one := r.operation(name); one != nil {
			all = append(all, one)
		}
	}
	return all
}
