package engine

import (
	"github.com/akubra/akubra/s3"
)

// S3 answers yes to the delete of a version whose id it does not know. So for a delete of versions
// by their ids the first answer is not the one that counts. What counts is the answer of the
// backend that issued the id, if that is remembered, and otherwise the answer of one that shows
// that it knows the version: by refusing, because the version is locked (R28, R35).

// say is how much a leg's answer says about the versions to be deleted: the higher, the more of
// them its backend knows.
type say uint16

// What an answer says about one version.
const (
	saysNothing say = 0 // that it does not know it, or nothing of it
	saysYes     say = 1 // that it is deleted: so says who does not know it, too
	saysOwn     say = 2 // what happened to a version of its own
)

// deletesVersion reports whether it deletes one version by its id, which may be another backend's.
func (h *requestHead) deletesVersion() bool {
	return h.method == "DELETE" && h.target.Version && !h.target.Sub
}

// saysOfVersions rates the leg's answer. The request's mu must not be held.
func (l *leg) saysOfVersions() (s say) {
	r := l.r
	switch {
	case r.head.deletesVersion() && l.state == votePositive:
		return saysYes
	case r.head.deletesVersion() && l.state == voteNegative && l.isLocked():
		return saysOwn
	case !r.head.is(s3.KindDelete) || l.state != votePositive || !l.sentAll.Load():
		return saysNothing // the list may be yet to come
	}
	named := r.ledger.namesVersions()
	if len(named) == 0 {
		return saysNothing
	}
	d := l.deletions()
	for i := range named {
		o := &named[i]
		if !s3.IsVersion(o.VersionID) {
			continue
		}
		switch owner, known := r.e.versions.Get(r.versionKey(o.VersionID)); {
		case known && owner == l.backend, !known && d.Locked[o.Object]:
			s += saysOwn
		case !known && d.Problem(o.Object) == "":
			s += saysYes
		}
	}
	return s
}

// isLocked reports whether the refusal to delete a version says, or may say, that it is locked.
func (l *leg) isLocked() bool {
	status := l.answer.Status
	return (status == 400 || status == 403 || status == 409) && s3.IsLock(s3.ErrorCode(l.body), s3.Text(l.body, "Message"))
}

// pickNamed corrects pick's verdict on a delete of versions by their ids: a yes waits for the
// other answers, for as long as for the primary (R28) and for the backends that issued the ids,
// and gives way to an answer that says more. says is how much each leg has said; all is what an
// answer says that knows all the versions; givers are the legs of the backends that issued an id;
// over says that PrimaryWait has passed.
//
// It is a pure function of its arguments.
func pickNamed(votes []vote, leg int, v verdict, says []say, all say, givers uint64, over bool) (int, verdict) {
	if v != verdictAnswer && v != verdictPrimary {
		return leg, v
	}
	best, pending, awaited := leg, false, false
	for i := range votes {
		switch state := votes[i].state; {
		case state == votePending:
			pending, awaited = true, awaited || givers&(1<<i) != 0
		case state == votes[leg].state, state == voteNegative && says[i] == saysOwn:
			if says[i] > says[best] || best != leg && says[i] == says[best] && votes[i].order < votes[best].order {
				best = i
			}
		}
	}
	switch {
	case !pending || says[best] >= all || votes[best].state != votePositive:
		return best, verdictAnswer
	case awaited:
		return best, verdictWait
	case !over:
		return best, verdictPrimary
	}
	return best, verdictAnswer
}
