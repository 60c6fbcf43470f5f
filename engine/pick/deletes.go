package pick

// Say is how much a leg's answer says about the versions to be deleted: the higher, the more of
// them its backend knows.
type Say uint16

// What an answer says about one version.
const (
	SaysNothing Say = 0 // that it does not know it, or nothing of it
	SaysYes     Say = 1 // that it is deleted: so says who does not know it, too
	SaysOwn     Say = 2 // what happened to a version of its own
)

// Named corrects Leg's verdict on a delete of versions by their ids: a yes waits for the
// other answers, for as long as for the primary (R28) and for the backends that issued the ids,
// and gives way to an answer that says more. says is how much each leg has said; all is what an
// answer says that knows all the versions; givers are the legs of the backends that issued an id;
// over says that PrimaryWait has passed.
//
// It is a pure function of its arguments.
func Named(votes []Vote, leg int, v Verdict, says []Say, all Say, givers uint64, over bool) (int, Verdict) {
	if v != Answer && v != Primary {
		return leg, v
	}
	best, pending, awaited := leg, false, false
	for i := range votes {
		switch state := votes[i].State; {
		case state == Pending:
			pending, awaited = true, awaited || givers&(1<<i) != 0
		case state == votes[leg].State, state == Negative && says[i] == SaysOwn:
			if says[i] > says[best] || best != leg && says[i] == says[best] && votes[i].Order < votes[best].Order {
				best = i
			}
		}
	}
	switch {
	case !pending || says[best] >= all || votes[best].State != Positive:
		return best, Answer
	case awaited:
		return best, Wait
	case !over:
		return best, Primary
	}
	return best, Answer
}

// Deleted corrects what Leg says of a multi-object delete, each key of which is a write (R24):
// where a backend has not deleted a key the others may have, as after any answer that is not
// positive. The one that has refused the fewest is the client's. refused is by leg.
//
// It is a pure function of its arguments.
func Deleted(votes []Vote, leg int, v Verdict, refused []uint16) (int, Verdict) {
	if v != Answer || votes[leg].State != Positive || refused[leg] == 0 {
		return leg, v
	}
	for i := range votes {
		switch {
		case votes[i].State == Pending:
			v = Wait
		case votes[i].State == Positive && (refused[i] < refused[leg] || refused[i] == refused[leg] && votes[i].Order < votes[leg].Order):
			leg = i
		}
	}
	if refused[leg] == 0 {
		v = Answer
	}
	return leg, v
}
