package engine

import (
	"errors"
	"fmt"
)

// While a backend decides a conditional write to a key (R29) it may show what that has left there, which
// is undone if the decision never comes, and which the other backends have not got. So its answer to a read
// counts once that is decided and written down, but for a large body of which it has not got the end. The
// other backends' answers count at once: for them the write has not been made yet. Where the decision takes
// long, or nobody knows what has come of it, they are all that counts.
//
// Once the decider has taken the write theirs wait, too, for they may or may not have it by now, until it
// is written down which of them lack it. Where that takes long (WriteAck) the decider's counts, as it does
// where that is all that a read could ask. Who reads after one that was shown it asks nobody else.

// undecidedWrite is a conditional write to a key that is not decided.
type undecidedWrite struct {
	id    requestID // 0: there is none
	set   uint64    // backends whose answers have to wait for it
	taken uint64    // the decider, once the others' answers count for nothing
	shown bool      // a reader was shown what that has; its answers do not wait any more
}

// unseen are the backends that may lack what a reader was shown.
func (w *undecidedWrite) unseen(all uint64) uint64 {
	if !w.shown {
		return 0
	}
	return all &^ w.taken
}

// errBeingDecided ends a leg whose answer nobody is shown.
var errBeingDecided = errors.New("it may show a conditional write that is not decided")

// errOutdated ends one whose backend lacks the write, and whose answer is kept for StaleReads: allow.
var errOutdated = fmt.Errorf("%w, or lacks it", errBeingDecided)

// lacksDecided is why the leg ends where its backend lacks the write. What says that there is nothing is no answer.
func (l *leg) lacksDecided() error {
	if status := l.answer.Status; l.r.o.StaleReads == StaleAllow && status < 400 && !redirects(status) {
		return errOutdated
	}
	return errBeingDecided
}

// isOutdated reports whether the leg, which has ended, was ended so.
func (l *leg) isOutdated() bool { return !l.r.head.write && l.err == errOutdated } //nolint:errorlint // as it was set

// beingDecided is the conditional write to the key that is read which is not decided.
func (r *request) beingDecided() undecidedWrite {
	if r.e.o.Journal == nil || r.e.writes.alone.Load() == 0 || len(r.head.target.Key) == 0 || !r.head.isRouted() {
		return undecidedWrite{}
	}
	return r.e.writes.undecided(hashOfTarget(&r.head.target))
}

// undecided is the conditional write to the key that is not decided.
func (o *overlaps) undecided(hash uint64) (w undecidedWrite) {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.findLocked(hash); k != nil && k.decides != nil {
		w = k.decides.asUndecided() // a decider is chosen once it has its legs, and it has them until it leaves
	}
	return w
}

// show notes that a reader is shown what the decider of that write has.
func (o *overlaps) show(hash uint64, id requestID) {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.findLocked(hash); k != nil && k.decides != nil && k.deciding == id {
		k.decides.race.noteShown()
	}
}

// mayBeUndone reports whether the leg's answer, which has come, has to wait for such a write, or may show one
// of which nobody knows what has come of it. One that is told to be stale has not.
func (l *leg) mayBeUndone() bool {
	return (l.r.beingDecided().set&(1<<l.backend) != 0 || l.overtaken()) && len(l.r.e.o.Backends) > 1 && !l.isBehind()
}

// overtaken reports whether the backend has come to owe the key by a decision that was taken while the answer
// was on its way.
func (l *leg) overtaken() bool {
	r := l.r
	return r.plan.decisions != r.e.writes.decisions.Load() && r.head.isRouted() && len(r.head.target.Key) > 0 &&
		r.owedOf()&^r.plan.owed&(1<<l.backend) != 0
}

// hasOther reports whether more than one backend may answer the read.
func (r *request) hasOther() bool {
	if r.plan.n > 0 {
		return r.plan.fresh > 1
	}
	return len(r.legs) > 1
}

// awaitDecision waits for the write that was not decided when the answer had come, or for another
// backend's answer, and fails unless the leg's answer may be shown then.
func (l *leg) awaitDecision() error {
	r, bit := l.r, uint64(1)<<l.backend
	r.e.o.Limiter.Progress(l.backend, l.slot, farFuture) // the wait is not the backend's fault (R13)
	first := r.beingDecided().id
	for p := r.e.patientFor(r.e.o.briefWait / undecidedShare); !l.aborted.Load() && !r.isDecided(); {
		w := r.beingDecided()
		if w.set&bit == 0 || w.id != first {
			if r.owedOf()&bit == 0 {
				return nil
			}
			return l.lacksDecided() // or repair looks what has become of it there
		}
		switch {
		case p.wait(r.e):
		case w.taken != 0 && w.taken&bit == 0:
			return l.lacksDecided() // or may do so
		case w.taken == 0 && r.hasOther():
			return errBeingDecided
		default: // it was taken, or the others lack what is there already, or are out
			r.e.writes.show(hashOfTarget(&r.head.target), w.id)
			return nil
		}
	}
	return l.why()
}
