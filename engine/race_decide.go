package engine

import (
	"github.com/akubra/akubra/engine/pick"
	"github.com/akubra/akubra/s3"
)

// noteRead records that the body has been read.
func (r *request) noteRead() (losers uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.race.stage = raceRead
	losers, _, _ = r.decideLocked() // nothing is detached yet, nor held
	return losers
}

// takeVote takes the vote of a leg that has ended. waits reports whether the consequences may have
// to wait.
func (r *request) takeVote(l *leg) (late bool, losers uint64, last, answers, waits bool, next *leg) {
	said, says, refused, unknowing := l.asDecider(), l.saysOfVersions(), l.undeleted(), l.knowsNot() // which must not be asked under mu
	primarys := l.state == votePositive && l.isPrimarysToTell()
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.e.recoverStep("ending a leg")
	c := &r.race
	l.voted = true
	if r.e.slow.watched.Load() {
		l.took = r.head.age()
	}
	c.ended++
	c.votes[l.index] = vote{State: l.state, Order: c.ended}
	r.plan.note(l)
	if l.refusesCondition() {
		c.refusing |= 1 << l.index
	}
	if primarys {
		r.noteOwnLocked(l)
	}
	if unknowing {
		c.unknowing |= 1 << l.index
	}
	r.noteSayLocked(l, says)
	c.refused[l.index] = refused
	r.noteDeciderLocked(l, said)
	late = c.end != undecided && c.winner != l.index
	losers, answers, next = r.decideLocked()
	last = r.allEndedLocked()
	l.tells = !last && l.state == votePositive && r.ledger.isPromised()
	waits = true
	waits = l.arrived && r.mayWaitLocked(last, answers)
	return late, losers, last, answers, waits, next
}

// mayWaitLocked reports whether the consequences of a leg's end may have to wait: for a disk, or
// for a log's reader. If all is well they do not.
func (r *request) mayWaitLocked(last, answers bool) bool {
	switch {
	case !r.head.is(s3.KindPlain) || r.race.isAbandoned():
		return true
	case answers && (r.o.logsAccess || r.mayWaitForIntent()):
		return true
	case r.race.isRefusedLocked(): // those that are parked end with this leg, and the last of them settles
		return true
	case !last:
		return false
	}
	_, out, well := r.goesWell(r.race.votes)
	if overlaps, _ := r.overlaps(); !well || out != 0 || overlaps {
		return true
	}
	return r.mayWriteDownLocked()
}

// decideLocked asks package pick once. It returns the legs whose answers nobody will read now, as a
// set of leg numbers, and whether the caller has to answer (detach.go). next is a leg that the
// caller has to ask (reads_race.go).
func (r *request) decideLocked() (losers uint64, answers bool, next *leg) {
	c := &r.race
	if c.end != undecided {
		return 0, false, nil
	}
	leg, v := r.outdatedLocked(r.pickLocked())
	switch v {
	case pick.Wait:
		return 0, false, nil
	case pick.Primary:
		r.awaitPrimaryLocked()
		return 0, false, nil
	case pick.Next:
		return 0, false, r.unholdLocked(leg)
	case pick.Answer:
		c.winner = leg
		if r.plan.hedged && leg == 1 && c.votes[0].State == votePending {
			r.e.o.Metrics.Read(ReadHedgeWon)
		}
	case pick.None:
		c.winner = -1
	}
	// All have answered before the end of the body (R9): the handler is waiting for a client that
	// may itself be waiting for the answer.
	if !c.isRead() {
		r.client.interrupt()
	}
	return r.setDecidedLocked(), c.stage == raceDetached, nil
}

// outdatedLocked picks an answer that was kept so where there is no other, or one that tells of a backend's
// trouble only.
func (r *request) outdatedLocked(leg int, v pick.Verdict) (int, pick.Verdict) {
	votes := r.race.votes
	if v != pick.None && (v != pick.Answer || votes[leg].State != voteNegative || r.legs[leg].answerClass() != classBroken) {
		return leg, v
	}
	for i := range votes {
		if votes[i].State == voteFailed && r.legs[i].isOutdated() {
			return i, pick.Answer
		}
	}
	return leg, v
}

func (r *request) setDecidedLocked() (losers uint64) {
	c := &r.race
	r.stopWaitingLocked()
	c.end = decided
	c.firstAnswer = r.head.age()
	for i := range c.votes {
		if c.votes[i].HasEnded() && i != c.winner {
			losers |= 1 << i
		}
	}
	if c.stage != raceDetached {
		c.decision <- struct{}{}
	}
	return losers
}

// abandon decides the request because its client has gone, if it is not decided yet.
func (r *request) abandon() (losers uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// If all legs have ended by themselves, settle is already looking.
	gone := !r.allEndedLocked()
	if r.race.end == undecided {
		r.race.winner = -1
		losers = r.setDecidedLocked()
	}
	if gone {
		r.race.end = abandoned
	}
	return losers
}

// forgo takes the client's answer back, or decides that there is none.
func (r *request) forgo() (losers uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.race
	if c.end == undecided {
		c.winner = -1
		losers = r.setDecidedLocked()
	} else if c.winner >= 0 {
		losers, c.winner = 1<<c.winner, -1
	}
	return losers
}

// told returns, as a set, the backend whose answer the client gets; it is empty if there is none,
// or a panic has taken the answer back (forgo).
func (r *request) told() (set uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.winner(); l != nil {
		set = 1 << l.backend
	}
	return set
}

// tryDetach leaves the answer to whoever decides the request. It fails if the request is decided,
// or the body was not read: each leg may have left before its end (R9).
func (r *request) tryDetach() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.race.end != undecided || r.race.stage != raceRead {
		return false
	}
	r.client.leave(r.message.BodySize())
	r.race.stage = raceDetached
	r.notServing()
	return true
}

// setAnswered records that the client has its answer: from now on no leg has an excuse (R13).
func (r *request) setAnswered() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setAnsweredLocked()
}

func (r *request) setAnsweredLocked() {
	now := int64(r.head.begun.Sub(r.e.epoch) + r.race.firstAnswer)
	r.ledger.noteAnswered()
	for i := range r.race.votes {
		if l := &r.legs[i]; r.race.votes[i].State == votePending && !l.held && !l.isParked() {
			r.e.o.Limiter.Answered(l.backend, l.slot, now)
		}
	}
}

// isRefusedLocked reports whether legs are parked that end now, for the decider has not said yes.
func (c *race) isRefusedLocked() bool {
	if c.follow != followParked {
		return false
	}
	d := &c.votes[c.decidedBy()]
	return d.HasEnded() && d.State != votePositive
}

// keepsFollowers reports whether followers wait for the decider's vote, which is positive, and appends the
// votes as they are with that.
func (r *request) keepsFollowers(decider *leg, votes []vote) (with []vote, kept bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.race
	if c.follow == followNone || c.follow == followNever || !c.isRead() || c.end != undecided || r.head.is(s3.KindDelete) {
		return votes, false
	}
	votes = append(votes, c.votes...)
	votes[decider.index] = vote{State: votePositive, Order: c.ended + 1}
	return votes, true
}

// asUndecided is the write as a read of its key sees it (reads_undecided.go).
func (r *request) asUndecided() undecidedWrite {
	c := &r.race
	w := undecidedWrite{id: r.head.id, shown: c.shown.Load()}
	decider := c.decidedBy()
	if decider < 0 || !r.message.MayBeWhole() {
		return w
	}
	w.set = 1 << r.legs[decider].backend
	if w.shown || c.following.Load() {
		w.set, w.taken = r.e.all, w.set
	}
	if w.shown {
		w.set &^= w.taken
	}
	return w
}

// noteShown notes that a reader is shown what the decider has.
func (c *race) noteShown() { c.shown.Store(true) }
