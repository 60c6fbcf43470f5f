package engine

import (
	"github.com/akubra/akubra/engine/pick"
	"github.com/akubra/akubra/s3"
)

// S3 answers yes to the delete of a version whose id it does not know. So for a delete of versions
// by their ids the first answer is not the one that counts. What counts is the answer of the
// backend that issued the id, if that is remembered, and otherwise the answer of one that shows
// that it knows the version: by refusing, because the version is locked (R28, R35).

// deletesVersion reports whether it deletes one version by its id, which may be another backend's.
func (h *requestHead) deletesVersion() bool {
	return h.method == "DELETE" && h.target.Version && !h.target.Sub
}

// saysOfVersions rates the leg's answer. The request's mu must not be held.
func (l *leg) saysOfVersions() (s pick.Say) {
	r := l.r
	switch {
	case r.head.deletesVersion() && l.state == votePositive:
		return pick.SaysYes
	case r.head.deletesVersion() && l.state == voteNegative && l.isLocked():
		return pick.SaysOwn
	case !r.head.is(s3.KindDelete) || l.state != votePositive || !l.sentAll.Load():
		return pick.SaysNothing // the list may be yet to come
	}
	named := r.ledger.namesVersions()
	if len(named) == 0 {
		return pick.SaysNothing
	}
	d := l.deletions()
	for i := range named {
		o := &named[i]
		if !s3.IsVersion(o.VersionID) {
			continue
		}
		switch owner, known := r.e.versions.Get(r.versionKey(o.VersionID)); {
		case known && owner == l.backend, !known && d.Locked[o.Object]:
			s += pick.SaysOwn
		case !known && d.Problem(o.Object) == "":
			s += pick.SaysYes
		}
	}
	return s
}

// isLocked reports whether the refusal to delete a version says, or may say, that it is locked.
func (l *leg) isLocked() bool {
	status := l.answer.Status
	return (status == 400 || status == 403 || status == 409) && s3.IsLock(s3.ErrorCode(l.body), s3.Text(l.body, "Message"))
}
