package engine

import (
	"github.com/akubra/akubra/engine/outcome"
	"github.com/akubra/akubra/s3"
)

// tellTaken tells the journal which backends have taken an acknowledged write while legs to others are
// out. Two writes to one key that different backends were the first to take would else leave nobody
// to read it from for as long as a third backend hangs (R30).
func (r *request) tellTaken() {
	if !r.head.is(s3.KindPlain) && !r.head.is(s3.KindCopy) || r.head.target.Version {
		return
	}
	seq, took := r.takenLocking()
	if took != 0 {
		r.e.o.Journal.Took(seq, took)
	}
}

// takenLocking are the backends that have taken the write alike, if they are more than the intent
// knows of and it is open.
func (r *request) takenLocking() (seq, took uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ledger.isPromised() || r.allEndedLocked() {
		return 0, 0
	}
	seq, promised := r.ledger.promised()
	compare, first := r.comparesETags(r.race.result()), []byte(nil)
	for i, v := range r.race.result() {
		if v.State != votePositive || promised[i].State == votePositive {
			continue
		}
		if first == nil {
			first = r.legs[max(firstPositive(promised), 0)].etag()
		}
		if l := &r.legs[i]; !compare || !outcome.Differs(l.etag(), first) {
			took |= 1 << l.backend
		}
	}
	return seq, took
}
