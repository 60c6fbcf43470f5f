// Package pick decides for the client: which leg's answer it gets, and when that is known. All of it
// is pure; votes are legs as they have ended so far.
package pick

// State is the state of a leg so far.
type State uint8

// The states.
const (
	Pending  State = iota
	Positive       // R3, R25
	Negative       // an answer that is not positive
	Failed         // no answer
	Held           // of a read: not asked, unless it is needed (R30)
)

// Vote is a leg as it is seen here. Order numbers a request's legs by when they ended, from 1;
// it is 0 while the leg is pending.
type Vote struct {
	State State
	Order int
}

// HasEnded reports whether the leg has ended.
func (v *Vote) HasEnded() bool { return v.State != Pending && v.State != Held }

// Verdict is what to do for the client now.
type Verdict uint8

// The verdicts.
const (
	Wait    Verdict = iota
	Answer          // send the answer of the picked leg
	None            // no backend gave an answer that could be sent: 503
	Next            // the picked leg, which was held, is to be asked
	Primary         // the picked leg's answer, if the primary's does not come soon (R28)
)

// Leg decides which answer the client gets (R3, R4, R9). need is the required number of positive
// answers (WriteAck; 1 for anything but a write). bodyRead reports whether the whole request body
// has been read from the client; until then no answer to a write is positive. leg is valid with Answer.
//
// It is a pure function of its arguments.
func Leg(votes []Vote, need int, bodyRead bool) (leg int, v Verdict) {
	first, firstNegative := -1, -1
	positive, pending := 0, 0
	for i := range votes {
		switch votes[i].State {
		case Pending:
			pending++
		case Positive:
			positive++
			if first < 0 || votes[i].Order < votes[first].Order {
				first = i
			}
		case Negative:
			if firstNegative < 0 || votes[i].Order < votes[firstNegative].Order {
				firstNegative = i
			}
		case Failed, Held:
		}
	}
	switch {
	case !bodyRead && pending > 0:
		return 0, Wait
	case positive >= need && bodyRead:
		return first, Answer
	case positive+pending >= need && pending > 0:
		return 0, Wait
	case firstNegative >= 0:
		// The number cannot be reached any more, and the backend has said why.
		return firstNegative, Answer
	case pending > 0:
		// It cannot be reached, but an answer from a backend that is still out says more than the
		// transport error that made it so (R4).
		return 0, Wait
	}
	return 0, None
}

// Versioned corrects Leg's verdict on a write to a bucket with versions (R28): each backend
// gives an id of its own, and the primary's goes to the client. over says that PrimaryWait has
// passed. versioned are the legs whose answers name an id, or ought to; primary is the primary's leg, or -1.
//
// It is a pure function of its arguments.
func Versioned(votes []Vote, leg int, v Verdict, versioned uint64, primary int, over bool) (int, Verdict) {
	if v != Answer || votes[leg].State != Positive || versioned == 0 || primary < 0 {
		return leg, v
	}
	switch votes[primary].State {
	case Positive:
		return primary, Answer
	case Pending:
		if !over {
			return leg, Primary
		}
	}
	return leg, v
}

// Decided is Leg for a conditional write, which the decider's leg decides (R29): if it
// refuses, the write is refused, and if it gives no answer, nobody knows. Refusals by followers
// count against need only: the client is never told that a condition failed which the decider has
// found to hold. refusing are the legs whose answers say that the condition does not, or may not,
// hold.
//
// It is a pure function of its arguments.
func Decided(votes []Vote, refusing uint64, need, decider int, bodyRead bool) (leg int, v Verdict) {
	switch d := votes[decider].State; {
	case d == Negative:
		return decider, Answer
	case d == Failed:
		return 0, None
	case d == Pending, !bodyRead:
		return 0, Wait
	}
	said := -1
	positive, pending := 0, 0
	for i := range votes {
		switch votes[i].State {
		case Pending:
			pending++
		case Positive:
			positive++
		case Negative:
			if refusing&(1<<i) == 0 && (said < 0 || votes[i].Order < votes[said].Order) {
				said = i
			}
		case Failed:
		}
	}
	switch {
	case positive >= need:
		return decider, Answer
	case positive+pending >= need:
		return 0, Wait
	case said >= 0:
		return said, Answer
	case pending > 0:
		return 0, Wait
	}
	return 0, None
}

// Knowing corrects Leg's verdict on a request that names an id which is one backend's own (R26, R28): what
// others say of it counts only if all say so, and then primary speaks for them. unknowing are the legs
// whose answers say that their backends do not know the id.
//
// It is a pure function of its arguments.
func Knowing(votes []Vote, leg int, v Verdict, unknowing uint64, primary int) (int, Verdict) {
	if v != Answer || votes[leg].State != Negative || unknowing&(1<<leg) == 0 {
		return leg, v
	}
	said, took := -1, false
	for i := range votes {
		switch votes[i].State {
		case Pending:
			return leg, Wait
		case Positive:
			took = true
		case Negative:
			if unknowing&(1<<i) == 0 && (said < 0 || votes[i].Order < votes[said].Order) {
				said = i
			}
		case Failed, Held:
		}
	}
	switch {
	case said >= 0:
		return said, Answer
	case took: // too few backends know it
		return leg, None
	case primary >= 0 && votes[primary].State == Negative:
		return primary, Answer
	}
	return leg, Answer
}
