package engine

import (
	"fmt"
	"math"
	"path"
)

// Where S3 needs one voice, a bucket's primary speaks for all backends (R28). Its order of the
// backends comes from rendezvous hashing (Thaler and Ravishankar 1996), so every proxy in front of
// the same backends arrives at the same order, and a backend that leaves moves no buckets but its
// own.

// PrimaryRule names the primary of the buckets whose names match Pattern (path.Match; "" matches
// every bucket).
type PrimaryRule struct {
	Pattern string
	Backend int
}

// primaries is the order of the backends for every bucket. It does not change.
type primaries struct {
	names   []string
	weights []int         // nil: all are equal
	rules   []PrimaryRule // the first that matches a bucket counts
}

// fixedRank is the rank of a primary named by a rule.
const fixedRank = math.MaxUint64

func newPrimaries(names []string, weights []int, rules []PrimaryRule) (*primaries, error) {
	if weights != nil && len(weights) != len(names) {
		return nil, fmt.Errorf("cannot use %d weights for %d backends", len(weights), len(names))
	}
	for _, r := range rules {
		if _, err := path.Match(r.Pattern, ""); err != nil || r.Backend < 0 || r.Backend >= len(names) {
			return nil, fmt.Errorf("cannot make backend %d the primary of buckets like %q", r.Backend, r.Pattern)
		}
	}
	return &primaries{names: names, weights: weights, rules: rules}, nil
}

// nobody stands for no backend, or no leg.
const nobody = -1

// fixed is the backend that a rule makes the bucket's primary, or nobody.
func (p *primaries) fixed(bucket []byte) int {
	for i := range p.rules {
		r := &p.rules[i]
		if r.Pattern == "" {
			return r.Backend
		}
		if ok, _ := path.Match(r.Pattern, string(bucket)); ok {
			return r.Backend
		}
	}
	return nobody
}

func (p *primaries) weight(backend int) int {
	if p.weights == nil {
		return 1
	}
	return p.weights[backend]
}

// rank is a backend's rank among those of its weight: the highest comes first in the bucket's
// order.
func (p *primaries) rank(bucket []byte, backend int) uint64 {
	if p.fixed(bucket) == backend {
		return fixedRank
	}
	return min(mix(hashBucket(bucket), p.names[backend]), fixedRank-1)
}

// first is the first backend of a set in the bucket's order, or nobody if the set is empty: the
// one that a rule names, then by weight, then by rank. The next one is the first of the set
// without it.
func (p *primaries) first(bucket []byte, among uint64) int {
	best, bestWeight, bestRank := nobody, 0, uint64(0)
	for b := range p.names {
		if among&(1<<b) == 0 {
			continue
		}
		weight, rank := p.weight(b), p.rank(bucket, b)
		if rank == fixedRank {
			return b
		}
		if best == nobody || weight > bestWeight || weight == bestWeight && rank > bestRank {
			best, bestWeight, bestRank = b, weight, rank
		}
	}
	return best
}

// inPool is the set of backends in the pool.
func (e *Engine) inPool() (set uint64) {
	for b := range e.o.Backends {
		if e.o.Limiter.State(b) == stateActive {
			set |= 1 << b
		}
	}
	return set
}

// primaryOf returns, as a set, the one backend that speaks for all about a bucket: its primary, or
// the one that stands in if the primary is out of the pool or lacks something of the bucket
// itself. It is empty if there is none.
func (r *request) primaryOf(bucket []byte, but uint64) uint64 {
	among := r.e.inPool() &^ but
	if have := among &^ r.lackBucket(); have != 0 {
		among = have
	}
	b := r.o.primaries.first(bucket, among)
	if b == nobody {
		return 0
	}
	return 1 << b
}

// mix hashes a bucket's hash together with a backend's name (FNV-1a, then the finalizer of
// splitmix64).
func mix(bucket uint64, name string) uint64 {
	h := bucket
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
