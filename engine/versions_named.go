package engine

import (
	"bytes"

	"github.com/akubra/akubra/s3"
)

// S3 says yes to the delete of a version whose id it does not know. So of a delete of versions
// by their ids it is not the first answer that counts, but that of the backend which gave the
// id, where that is remembered, and else that of one which shows that it knows the version: by
// not giving it away, for it is locked (R28, R35).

// say is how much a leg's answer says of versions that are to be deleted: the more, the
// more of them it knows.
type say uint16

// What an answer says of one version.
const (
	saysNothing say = 0 // that it does not know it, or nothing of it
	saysYes     say = 1 // that it is deleted: so says who does not know it, too
	saysOwn     say = 2 // what happened to a version of its own
)

// deletesVersion reports whether it deletes one version by its id, which may be another
// backend's.
func (h *requestHead) deletesVersion() bool {
	return h.method == "DELETE" && h.target.Version && !h.target.Sub
}

// saysOfVersions weighs the leg's answer. The request's mu must not be held.
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
		switch owner, known := r.e.versions.get(r.versionKey(o.VersionID)); {
		case known && owner == l.backend, !known && d.locked[o.deletedObject]:
			s += saysOwn
		case !known && d.problem(o.deletedObject) == "":
			s += saysYes
		}
	}
	return s
}

// isLocked reports whether a refusal to delete a version says, or may say, that it is locked.
func (l *leg) isLocked() bool {
	status := l.answer.Status
	return (status == 400 || status == 403 || status == 409) && isLock(s3.ErrorCode(l.body), s3.Text(l.body, "Message"))
}

// isLock reports whether an error is, or may be, that of a locked version: AWS says no more
// than that access is denied, as versitygw does in more words; MinIO that the request is not
// valid, for the object is WORM protected.
func isLock(code string, message []byte) bool {
	if code == "AccessDenied" {
		return true
	}
	message = bytes.ToLower(message)
	return bytes.Contains(message, []byte("worm")) || bytes.Contains(message, []byte("object lock"))
}

// pickNamed corrects what pick says of a delete of versions by their ids: a yes waits for what
// others say, as long as for the primary (R28) and for who gave one of the ids, and gives way
// to who says more. says is how much each leg has said; all is what one says that knows all of
// the versions; givers are the legs of those that gave an id; over: PrimaryWait is.
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
