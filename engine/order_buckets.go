package engine

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/akubra/akubra/s3"
)

// bucketWrites is the table of writes to buckets themselves that are under way: a bucket is made, or
// gets a setting. What a client does in the bucket once it was told comes behind that on each backend
// (R19), or it would be refused for a bucket that is not there yet, or be done without the setting.
type bucketWrites struct {
	count atomic.Int32 // of the list: hardly ever is it not empty
	mu    sync.Mutex
	list  *bucketWrite
}

// bucketWrite is one of them. The table's lock guards it.
type bucketWrite struct {
	r      *request // nil: it is not in the table
	next   *bucketWrite
	out    uint64 // backends with a leg of it that has not ended
	behind []*leg // those that wait for one of these; each holds its request
}

// isOfBucket reports whether it writes to the bucket itself.
func (h *requestHead) isOfBucket() bool {
	return h.write && len(h.target.Key) == 0 && len(h.target.Bucket) > 0 && h.kind == s3.KindPlain
}

// enterBucket makes the request's legs wait for the legs of writes to its bucket that were acknowledged
// before it began, and enters the request in the table if it is such a write itself. It is called before
// the legs start.
func (r *request) enterBucket() {
	t, own := &r.e.ofBuckets, r.head.isOfBucket()
	if !r.head.write || !own && t.count.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := t.list; w != nil; w = w.next {
		if w.precedes(r.head.bucket()) {
			w.putBehindLocked(r)
		}
	}
	if own {
		r.ofBucket = bucketWrite{r: r, next: t.list, out: r.asked()}
		t.list = &r.ofBucket
		t.count.Add(1)
	}
}

// putBehindLocked has legs of a request wait for those of w to the same backends. Where too many wait
// already they are deferred.
func (w *bucketWrite) putBehindLocked(r *request) {
	for i := range r.legs {
		l := &r.legs[i]
		if w.out&(1<<l.backend) == 0 {
			continue
		}
		l.hold.Add(1)
		if len(w.behind) >= maxWaiting {
			l.crowded = true
			continue
		}
		r.refs.Add(1)
		w.behind = append(w.behind, l)
	}
}

// legEnded notes that a leg has ended and returns the legs that have waited for it: startNext must be
// called with them.
func (t *bucketWrites) legEnded(w *bucketWrite, backend int) (next []*leg) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.r == nil {
		return nil
	}
	w.out &^= 1 << backend
	w.behind = slices.DeleteFunc(w.behind, func(l *leg) bool {
		if l.backend == backend {
			next = append(next, l)
		}
		return l.backend == backend
	})
	if w.out == 0 {
		t.removeLocked(w)
	}
	return next
}

// late is the set of backends with a write to the bucket that is under way, and acknowledged.
func (t *bucketWrites) late(bucket []byte) (set uint64) {
	if t.count.Load() == 0 {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := t.list; w != nil; w = w.next {
		if w.precedes(bucket) {
			set |= w.out
		}
	}
	return set
}

// precedes reports whether w's client was told, and whether w is about the bucket; "" stands for all
// buckets. The table's lock must be held.
func (w *bucketWrite) precedes(bucket []byte) bool {
	return w.r.ledger.isAnswered() && (len(bucket) == 0 || bytes.Equal(w.r.head.bucket(), bucket))
}

// leave takes w out, if it is still there, and gives what has waited for it: startNext has to follow.
func (t *bucketWrites) leave(w *bucketWrite) (next []*leg) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.r == nil {
		return nil
	}
	next = w.behind
	t.removeLocked(w)
	return next
}

func (t *bucketWrites) removeLocked(w *bucketWrite) {
	at := &t.list
	for *at != w {
		at = &(*at).next
	}
	*at = w.next
	*w = bucketWrite{}
	t.count.Add(-1)
}

// lackBucket is the set of backends that lack the bucket itself, or a setting of it that is under way.
// If there are others, requests in the bucket should go to those.
func (r *request) lackBucket() uint64 {
	late := r.e.ofBuckets.late(r.head.bucket())
	if j := r.e.o.Journal; j != nil && !j.Quiet() && len(r.head.bucket()) > 0 {
		return late | j.Owed(r.head.bucket(), nil)
	}
	return late
}

// couldDecide is decidersOf without the backends that lack something of the bucket itself or have yet to
// get a copy's source, unless no other is left.
func (r *request) couldDecide(asked, owing uint64) uint64 {
	set := decidersOf(asked, owing, r.e.ignoring.Load(), r.e.all)
	if have := set &^ (r.lackBucket() | r.source.coming); have != 0 {
		return have
	}
	return set
}

// decideSoon waits briefly for a backend that can decide whether a bucket may be removed. A client may
// have just removed its keys, so that each backend still lacks one of these deletes for some
// milliseconds.
func (r *request) decideSoon() bool {
	if len(r.head.target.Key) > 0 {
		return false
	}
	for p := r.e.brieflyPatient(); p.wait(r.e); {
		if r.decideByFirst(r.owedForDecision()) {
			return true
		}
	}
	return false
}
