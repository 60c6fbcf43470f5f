package engine

// voteState is the state of a leg so far.
type voteState uint8

const (
	votePending  voteState = iota
	votePositive           // R3, R25
	voteNegative           // an answer that is not positive
	voteFailed             // no answer
	voteHeld               // of a read: not asked, unless it is needed (R30)
)

// vote is a leg as the picker sees it. order numbers a request's legs by when they ended, from 1;
// it is 0 while the leg is pending.
type vote struct {
	state voteState
	order int
}

// hasEnded reports whether the leg has ended.
func (v *vote) hasEnded() bool { return v.state != votePending && v.state != voteHeld }

// verdict is what to do for the client now.
type verdict uint8

const (
	verdictWait    verdict = iota
	verdictAnswer          // send the answer of the picked leg
	verdictNone            // no backend gave an answer that could be sent: 503
	verdictNext            // the picked leg, which was held, is to be asked
	verdictPrimary         // the picked leg's answer, if the primary's does not come soon (R28)
)

// pick decides which answer the client gets (R3, R4, R9). need is the required number of positive
// answers (WriteAck; 1 for anything but a write). bodyRead reports whether the whole request body
// has been read from the client; until then no answer to a write is positive. leg is valid with
// verdictAnswer.
//
// It is a pure function of its arguments.
func pick(votes []vote, need int, bodyRead bool) (leg int, v verdict) {
	first, firstNegative := -1, -1
	positive, pending := 0, 0
	for i := range votes {
		switch votes[i].state {
		case votePending:
			pending++
		case votePositive:
			positive++
			if first < 0 || votes[i].order < votes[first].order {
				first = i
			}
		case voteNegative:
			if firstNegative < 0 || votes[i].order < votes[firstNegative].order {
				firstNegative = i
			}
		case voteFailed, voteHeld:
		}
	}
	switch {
	case !bodyRead && pending > 0:
		return 0, verdictWait
	case positive >= need && bodyRead:
		return first, verdictAnswer
	case positive+pending >= need && pending > 0:
		return 0, verdictWait
	case firstNegative >= 0:
		// The number cannot be reached any more, and the backend has said why.
		return firstNegative, verdictAnswer
	case pending > 0:
		// It cannot be reached, but an answer from a backend that is still out says more than the
		// transport error that made it so (R4).
		return 0, verdictWait
	}
	return 0, verdictNone
}

// pickVersioned corrects pick's verdict on a write to a bucket with versions (R28): each backend
// gives an id of its own, and the primary's goes to the client. over says that PrimaryWait has
// passed. versioned are the legs whose answers name an id; primary is the primary's leg, or -1.
//
// It is a pure function of its arguments.
func pickVersioned(votes []vote, leg int, v verdict, versioned uint64, primary int, over bool) (int, verdict) {
	if v != verdictAnswer || votes[leg].state != votePositive || versioned == 0 || primary < 0 {
		return leg, v
	}
	switch votes[primary].state {
	case votePositive:
		return primary, verdictAnswer
	case votePending:
		if !over {
			return leg, verdictPrimary
		}
	}
	return leg, v
}

// pickDecided is pick for a conditional write, which the decider's leg decides (R29): if it
// refuses, the write is refused, and if it gives no answer, nobody knows. Refusals by followers
// count against need only: the client is never told that a condition failed which the decider has
// found to hold. refusing are the legs whose answers say that the condition does not, or may not,
// hold.
//
// It is a pure function of its arguments.
func pickDecided(votes []vote, refusing uint64, need, decider int, bodyRead bool) (leg int, v verdict) {
	switch d := votes[decider].state; {
	case d == voteNegative:
		return decider, verdictAnswer
	case d == voteFailed:
		return 0, verdictNone
	case d == votePending, !bodyRead:
		return 0, verdictWait
	}
	said := -1
	positive, pending := 0, 0
	for i := range votes {
		switch votes[i].state {
		case votePending:
			pending++
		case votePositive:
			positive++
		case voteNegative:
			if refusing&(1<<i) == 0 && (said < 0 || votes[i].order < votes[said].order) {
				said = i
			}
		case voteFailed:
		}
	}
	switch {
	case positive >= need:
		return decider, verdictAnswer
	case positive+pending >= need:
		return 0, verdictWait
	case said >= 0:
		return said, verdictAnswer
	case pending > 0:
		return 0, verdictWait
	}
	return 0, verdictNone
}
