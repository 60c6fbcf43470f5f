package engine

import (
	"slices"

	"github.com/akubra/akubra/s3"
)

// A copy is a read of its source, which each backend has to have as it was acknowledged:
// what is owed there would be missing, or older (R30).

// ReasonSource is why a backend is skipped that owes the source of a copy.
const ReasonSource = "owes the copy's source"

// ReasonSourceVersion is why one is skipped that did not issue the id of the version that is copied.
const ReasonSourceVersion = "does not know the version that is copied"

// reasonOfSource is why a backend that cannot be trusted with the source of a copy is skipped.
func (h *requestHead) reasonOfSource() string {
	if h.source.VersionID != "" {
		return ReasonSourceVersion
	}
	return ReasonSource
}

// sourceOwed is the set of backends that owe a copy's source, none for any other request.
//
// What is of a version's id is not looked for: repair gives no backend another one's
// version.
func (r *request) sourceOwed() (set uint64) {
	if r.head.source.VersionID != "" || r.e.o.Journal == nil {
		return 0
	}
	for _, n := range r.head.source.Names {
		set |= r.e.o.Journal.Owed([]byte(n.Bucket), []byte(n.Key)) | r.e.removing([]byte(n.Bucket))
	}
	return set & r.e.all
}

// isSourceUnderWay reports whether a client's write to the copy's source is.
func (r *request) isSourceUnderWay() bool {
	return slices.ContainsFunc(r.head.source.Names, func(n s3.ObjectName) bool {
		return r.e.writes.underWay(hashKey(n.Bucket, n.Key))
	})
}

// betterKnown is the set of backends that owe what others do not: what all owe, none of them is
// known to have better.
func (r *request) betterKnown(owing uint64) uint64 {
	if owing == r.e.all {
		return 0
	}
	return owing
}

// sourceMissing is the set of backends that owe the source, or tags that the copy takes along, and to
// which no write is bringing it.
func (r *request) sourceMissing() (set uint64) {
	j := r.e.o.Journal
	if r.head.source.VersionID != "" || j == nil {
		return 0
	}
	expected := uint64(0)
	for i, n := range r.head.source.Names {
		coming := r.comingTo(i) // before the journal is asked, which knows of what has left by now
		owing := r.betterKnown(j.Owed([]byte(n.Bucket), []byte(n.Key)) & r.e.all)
		if part := r.e.o.OwedPart; part != nil && r.head.is(s3.KindCopy) && !r.head.source.OwnTags {
			owing |= r.betterKnown(part([]byte(n.Bucket), []byte(n.Key), []byte(s3.TagsOf)) & r.e.all)
		}
		set |= owing&^coming | r.e.removing([]byte(n.Bucket))
		expected |= owing & coming
	}
	r.source.coming = expected &^ set
	return set
}

// withSource takes out of want the backends that owe a copy's source: they must not copy an older one,
// and owe the copy as well. A backend with a write to the source under way copies after that
// (order_copies.go). If no backend is left, the client has to wait until repair has brought the source;
// but for a write under way the copy itself waits, as does that of a part, which only one backend can
// make.
func (r *request) withSource(want uint64) (uint64, *s3Error) {
	if r.head.source.VersionID != "" {
		return r.fromIssuer(want)
	}
	r.enterSource()
	owing := r.sourceMissing()
	for p := r.e.brieflyPatient(); owing&want != 0 && (r.head.isPartCopy() || want&^owing == 0); owing = r.sourceMissing() {
		if !r.isSourceUnderWay() || !p.wait(r.e) {
			break
		}
	}
	if owing&want == 0 {
		return want, nil
	}
	if want &^= owing; want == 0 {
		r.wantSource()
		return 0, errSourceOwed
	}
	if r.head.is(s3.KindCopy) {
		r.race.leaveOut(owing)
	}
	return want, nil
}

// sourceIsOwed reports whether the picked answer says that the source of a copy is not
// there, by a backend that owes it.
func (r *request) sourceIsOwed(picked *leg) bool {
	if picked.answer.Status != 404 || r.sourceOwed()&(1<<picked.backend) == 0 {
		return false
	}
	r.wantSource()
	return true
}

// wantSource tells repair that a client waits for the source.
func (r *request) wantSource() {
	if f := r.e.o.Wanted; f != nil {
		for _, n := range r.head.source.Names {
			f(n.Bucket, n.Key)
		}
	}
}
