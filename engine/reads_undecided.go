package engine

import "errors"

// While a backend decides a conditional write to a key (R29) it may show what that has left there, which
// is undone if the decision never comes, and which the other backends have not got. So its answer to a read
// counts once that is decided and written down, as do those of the followers once they may have the write.
// The other backends' answers count at once: for them it has not been written yet. Where the decision takes
// long, or nobody knows what has come of it, they are all that counts.

// errBeingDecided ends a leg whose answer nobody is shown.
var errBeingDecided = errors.New("it may show a conditional write that is not decided")

// beingDecided are the backends that may show a conditional write to the key that is read which is not
// decided, and which write that is.
func (r *request) beingDecided() (set uint64, write requestID) {
	if r.e.o.Journal == nil || r.e.writes.alone.Load() == 0 || len(r.head.target.Key) == 0 || !r.head.isRouted() {
		return 0, 0
	}
	return r.e.writes.undecided(hashOfTarget(&r.head.target))
}

// mayBeUndone reports whether the leg's answer, which has come, may show a write that is not decided, or of
// which nobody knows what has come of it.
func (l *leg) mayBeUndone() bool {
	set, _ := l.r.beingDecided()
	return (set&(1<<l.backend) != 0 || l.overtaken()) && len(l.r.e.o.Backends) > 1
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
	r := l.r
	r.e.o.Limiter.Progress(l.backend, l.slot, farFuture) // the wait is not the backend's fault (R13)
	_, first := r.beingDecided()
	for p := r.e.patientFor(r.e.o.briefWait / undecidedShare); !l.aborted.Load() && !r.isDecided(); {
		if set, write := r.beingDecided(); set&(1<<l.backend) == 0 || write != first {
			if r.owedOf()&(1<<l.backend) == 0 {
				return nil
			}
			return errBeingDecided // it lacks the write, or repair looks what has become of it there
		}
		switch {
		case p.wait(r.e):
		case r.hasOther():
			return errBeingDecided
		default:
			return nil // the others lack what is there already, or are out
		}
	}
	return l.why()
}
