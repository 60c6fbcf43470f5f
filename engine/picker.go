package engine

// voteState is what a leg has come to so far.
type voteState uint8

const (
	votePending  voteState = iota
	votePositive           // R3, R25
	voteNegative           // an answer that is not positive
	voteFailed             // no answer
	voteHeld               // of a read: not asked, unless it is needed (R30)
)

// vote is a leg as the picker sees it. order counts the ends of a request's
// legs, from 1; 0 while pending.
type vote struct {
	state voteState
	order int
}

// hasEnded reports whether the leg has.
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

// pick decides which answer the client gets (R3, R4, R9). need is the number of
// positive answers that it takes (WriteAck; 1 for anything but a write); bodyRead
// reports whether the whole request body has come from the client, before which
// nothing is positive for a write. leg is valid with verdictAnswer.
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
		// The number cannot be reached any more, and the storage has said why.
		return firstNegative, verdictAnswer
	case pending > 0:
		// It cannot be reached, but an answer of a storage that is still out
		// says more than the transport error that made it so (R4).
		return 0, verdictWait
	}
	return 0, verdictNone
}

// pickVersioned corrects what pick says of a write that a bucket with versions has taken
// (R28): each backend gives an id of its own, and the primary's goes to the client. over:
// PrimaryWait is. versioned are the legs whose answers tell an id; primary is the primary's
// leg, or -1.
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

// pickDecided is pick for a conditional write, which the decider's leg decides (R29): what
// that refuses is refused, and where it gives no answer nobody knows. What followers refuse
// counts against need alone, and the client is not told of a condition that the decider has
// found to hold. refusing are the legs whose answers say that it does not, or may not.
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
