package engine

import (
	"bytes"
	"math/bits"

	"github.com/akubra/akubra/s3"
	"github.com/akubra/akubra/synclog/task"
)

// A write into a bucket with versions gets an id from each backend, and its client is told one of
// them (R28). Requests are never rewritten, so a later one that names the version goes to the
// backend that issued the id. What the others call that version then goes into the journal, so
// that repair can do the same there: among versions with the same content nothing else tells which
// is which (R35).

// maxPairs bounds how many versions are remembered with their ids on other backends, and maxPairID
// the length of such an id, which the journal would cut.
const (
	maxPairs  = 1 << 14
	maxPairID = 256
)

// learnPair remembers the ids of the version that the request made on each backend, under the one
// that its client is told. It is called when the last leg has ended.
func (r *request) learnPair() {
	all := r.madeVersions()
	if !r.head.write || bits.OnesCount64(all) < 2 || r.head.target.Version || r.head.target.Sub {
		return // what it names was there before
	}
	told, id := r.told(), ""
	var ids []task.BackendETag
	for s := all; s != 0; s &= s - 1 {
		l := &r.legs[bits.TrailingZeros64(s)]
		v := l.answer.VersionID()
		switch {
		case !s3.IsVersion(v):
		case told == 1<<l.backend:
			id = string(v)
		case len(v) <= maxPairID:
			ids = append(ids, task.BackendETag{Backend: l.backend, ETag: bytes.Clone(v)})
		}
	}
	if id != "" && len(ids) > 0 {
		r.e.pairs.Put(r.versionKey(id), ids)
	}
}

// pairOf is what other backends call the version with this id, as far as that is known.
func (r *request) pairOf(id string) []task.BackendETag {
	if !s3.IsVersion(id) {
		return nil
	}
	ids, _ := r.e.pairs.Get(r.versionKey(id))
	return ids
}

// namedVersion is the version id in the request's target.
func (r *request) namedVersion() string {
	return s3.Unescape([]byte(queryValue(r.head.target.Query, "versionId")))
}
