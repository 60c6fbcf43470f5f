package engine

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/akubra/akubra/engine/pick"
	"github.com/akubra/akubra/engine/recent"
	"github.com/akubra/akubra/s3"
)

// A version's id is one backend's own. A client is told the primary's if that arrives in time, and
// later requests for it go to the backend that issued it (R28).

// maxVersions bounds how many ids are remembered.
const maxVersions = 1 << 16

const maxVersionedBuckets = 1 << 12

// versionKey is the key under which a version's id is remembered.
func (r *request) versionKey(id string) string { return string(r.head.target.Bucket) + "/" + id }

// versionOwner is the backend that issued the id in the request.
func (r *request) versionOwner() (backend int, ok bool) {
	return r.e.versions.Get(r.versionKey(r.namedVersion()))
}

// learnVersion remembers whose id the client is told. It is called by whoever answers.
func (r *request) learnVersion() {
	if l := r.winner(); l != nil {
		if id := l.answer.VersionID(); s3.IsVersion(id) {
			r.e.versions.Put(r.versionKey(string(id)), l.backend)
			if r.head.write {
				r.e.versioned.learn(r.head.target.Bucket)
			}
		}
	}
}

// versionedBuckets are buckets that gave a write a version lately, by hash. Any goroutine may ask.
type versionedBuckets struct {
	any    atomic.Bool // there is one: without, nothing is looked up
	seed   maphash.Seed
	recent *recent.Map[uint64, struct{}]
}

func newVersionedBuckets() *versionedBuckets {
	return &versionedBuckets{seed: maphash.MakeSeed(), recent: recent.New[uint64, struct{}](maxVersionedBuckets)}
}

func (v *versionedBuckets) learn(bucket []byte) {
	v.recent.Put(maphash.Bytes(v.seed, bucket), struct{}{})
	v.any.Store(true)
}

func (v *versionedBuckets) has(bucket []byte) bool {
	if !v.any.Load() {
		return false
	}
	_, known := v.recent.Get(maphash.Bytes(v.seed, bucket))
	return known
}

// primaryLeg is the leg of the backend that speaks for the others, of those that were asked.
func (r *request) primaryLeg() int {
	return r.legOf(r.o.primaries.first(r.head.bucket(), r.asked()))
}

// primaryLate answers without the primary, on a goroutine of its own.
func (r *request) primaryLate() {
	defer r.release()
	defer r.recoverAnswer()
	losers, answers := r.waitNoMore()
	r.disposeOf(losers)
	if answers {
		r.answerDetached()
	}
}

// isPrimarysToTell reports whether a positive answer tells what differs between backends, so that the
// primary's answer takes precedence: a version's id, or the ETag of an encrypted object. A backend that
// lacks the object, or the bucket's versioning, may tell neither although the primary does.
func (l *leg) isPrimarysToTell() bool {
	h := &l.r.head
	switch {
	case !h.write && !h.isRouted():
		return false
	case l.answer.OwnETag || s3.IsVersion(l.answer.VersionID()):
		return true
	}
	object := len(h.target.Key) > 0 && !h.target.Sub && !h.target.Version || h.is(s3.KindDelete)
	return h.write && object && l.r.e.versioned.has(h.target.Bucket)
}

// noteOwnLocked records that a leg's answer is one that the primary's goes before.
func (r *request) noteOwnLocked(l *leg) {
	c := &r.race
	if c.versionAt == 0 {
		c.versionAt = r.head.age()
	}
	c.versioned |= 1 << l.index
}

// madeVersions are the legs whose answers may name a version's id, once all have ended.
func (r *request) madeVersions() (legs uint64) { return r.race.versioned }

// readersShare is the part of PrimaryWait that a read waits for: the other answer is as good,
// except for the id.
const readersShare = 20

// awaitPrimaryLocked makes the answer wait for the primary's, for PrimaryWait from the first one
// on.
func (r *request) awaitPrimaryLocked() {
	if c := &r.race; c.patience == nil {
		r.refs.Add(1)
		wait := r.o.PrimaryWait
		if !r.head.write {
			wait /= readersShare
		}
		c.patience = time.AfterFunc(max(wait-(r.head.age()-c.versionAt), 0), r.primaryLate)
	}
}

// stopWaitingLocked ends that wait.
func (r *request) stopWaitingLocked() {
	if c := &r.race; c.patience != nil {
		if c.patience.Stop() {
			r.refs.Add(-1) // not the last one, which is the caller's
		}
		c.patience = nil
	}
}

// waitNoMore decides without the primary, unless the request is decided already.
func (r *request) waitNoMore() (losers uint64, answers bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.race.late = true
	losers, answers, _ = r.decideLocked()
	return losers, answers
}

// noteSayLocked records what the leg's answer says about versions.
func (r *request) noteSayLocked(l *leg, s pick.Say) {
	if !r.head.deletesVersion() && !r.head.is(s3.KindDelete) {
		return
	}
	c := &r.race
	c.says[l.index] = s
	if l.state == votePositive && c.versionAt == 0 {
		c.versionAt = r.head.age()
	}
}

// pickNamedLocked calls pick.Named if the request deletes versions by their ids.
func (r *request) pickNamedLocked(leg int, v pick.Verdict) (int, pick.Verdict) {
	c := &r.race
	n, backends := r.ledger.given()
	if r.head.deletesVersion() {
		n = 1
	}
	if n == 0 {
		return leg, v
	}
	givers := uint64(0)
	for i := range c.votes {
		if backends&(1<<r.legs[i].backend) != 0 {
			givers |= 1 << i
		}
	}
	return pick.Named(c.votes, leg, v, c.says[:], pick.Say(n)*pick.SaysOwn, givers, c.late) //nolint:gosec // no more than content.MaxDeletes
}
