package engine

import (
	"bytes"
	"strconv"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// A write that ends well on all backends owes nothing, and the journal need not hear of it.
// But where another one to its key overlapped with it, and ends later, either may be what a
// backend is left with (R19): so the later one tells the journal of both, for repair to know
// what it finds for what it is (R35).

// besideEntry is what the journal will have to be told by the writes that overlap with the
// request's, or with one of its keys. nil: it is told anyway, or nothing may be said of it.
func (r *request) besideEntry(i int) *Promise {
	if !r.journaled() || !r.stamp() {
		return nil
	}
	// The request's own memory may be in use: somebody may be writing an intent.
	es := r.appendPromises(nil, strconv.AppendUint(nil, uint64(r.head.id), 16), r.race.result())
	e := &es[i]
	if e.Owed != 0 || e.Unacknowledged {
		return nil
	}
	e.Overlapped = true
	e.Settled = r.e.o.Journal.Stamp(time.Now())
	for _, b := range []*[]byte{&e.Target, &e.Host, &e.Bucket, &e.Key, &e.ETag, &e.Reason} {
		*b = bytes.Clone(*b)
	}
	e.ETags = append([]task.BackendETag(nil), e.ETags...)
	for i := range e.ETags {
		e.ETags[i].ETag = bytes.Clone(e.ETags[i].ETag)
	}
	return e
}

// tellBeside has the journal know the writes that overlapped with the request's and have
// ended, now that it knows the request's own.
func (r *request) tellBeside() {
	var es []Promise
	if r.ledger.turn != nil {
		es = r.ledger.turn.entries(es)
	}
	for i := range r.ledger.deletes {
		es = r.ledger.deletes[i].turn.entries(es)
	}
	if len(es) > 0 {
		r.ledger.write.Beside(es)
	}
}
