package engine

import "github.com/akubra/akubra/engine/pick"

// A planned read (reads.go) asks one backend, or some, and holds the others' legs. One of
// these is asked when those before it have failed, have said 404, or are slow (R30).

// What metrics count of reads.
const (
	ReadAvoided  = "stale_avoided" // a backend that owes what was asked for was not asked
	ReadRefused  = "stale_refused" // only such ones were left, and the client was refused
	ReadStale    = "stale_given"   // one of them answered (StaleReads: allow)
	ReadFailover = "failover"      // another one was asked, for the first has failed, or said 404
	ReadHedged   = "hedged"        // another one was asked, for the first was slow
	ReadHedgeWon = "hedge_won"     // and answered first
	ReadResumed  = "resumed"       // an answer that broke off was gone on with from another one
)

// answerClass is what an answer that is not positive says of others.
type answerClass uint8

const (
	classFinal   answerClass = iota // another backend would say the same
	classMissing                    // 404: another one may have it
	classBroken                     // the backend's own trouble
)

func (l *leg) answerClass() answerClass {
	switch s := l.answer.Status; {
	case s == 404:
		return classMissing
	case s >= 500 || s == 408 || s == 429 || redirects(s):
		return classBroken
	}
	return classFinal
}

// pickRead is pick for a planned read. The legs are in the plan's order.
//
// It is a pure function of its arguments.
func pickRead(votes []vote, p *readPlan) (leg int, v pick.Verdict) {
	positive, sure, broken, held := -1, -1, -1, -1
	pending, missing, final := 0, 0, false
	earliest := func(best *int, i int) {
		if *best < 0 || votes[i].Order < votes[*best].Order {
			*best = i
		}
	}
	for i := range votes {
		switch votes[i].State {
		case votePending:
			pending++
		case votePositive:
			earliest(&positive, i)
		case voteHeld:
			if held < 0 {
				held = i
			}
		case voteNegative:
			switch class := p.class[i]; {
			case class == classBroken:
				earliest(&broken, i)
			case class == classFinal:
				final = true
				earliest(&sure, i)
			case i < p.fresh: // of the others it says nothing
				missing++
				earliest(&sure, i)
			}
		case voteFailed:
		}
	}
	switch {
	case positive >= 0:
		return positive, pick.Answer
	case final && !p.all:
		return sure, pick.Answer
	case pending > 0:
		return 0, pick.Wait
	case held >= 0 && (sure < 0 || p.busy || !p.all && held < p.fresh && missing == 1):
		return held, pick.Next
	case p.all && broken >= 0 && (sure < 0 || votes[broken].Order < votes[sure].Order):
		return broken, pick.Answer // R4
	case sure >= 0:
		return sure, pick.Answer
	case broken >= 0:
		return broken, pick.Answer
	}
	return 0, pick.None
}

// ask starts a leg that was held. It does not wait.
func (r *request) ask(l *leg, why string) {
	e := r.e
	slots := new([MaxBackends]int32)
	got, ok := e.o.Limiter.TryBegin(e.now(), 1<<l.backend, slots)
	if !ok || got == 0 {
		l.unasked()
		return
	}
	r.seat(l, slots[l.backend])
	e.o.Metrics.Read(why)
	message, whole := r.message.Whole()
	if !l.sendAtOnce(message, whole) {
		go l.runFn()
	}
}

// unasked ends a leg that has no slot.
func (l *leg) unasked() {
	l.state, l.err, l.outcome, l.finished = voteFailed, errNoPool, OutcomeFailed, true
	l.r.message.Detach(l.index)
	if next := l.r.legEnded(l); next != nil {
		next()
	}
}

// isBehind reports whether the leg's backend owes what is asked for.
func (l *leg) isBehind() bool { return l.isOutdated() || l.wasBehind() }

// wasBehind reports whether it did so before it was asked.
func (l *leg) wasBehind() bool { return l.index >= l.r.plan.fresh && l.r.plan.n > 0 }

// behindSays404 reports whether one that owes the key has said that it has not got it.
func (r *request) behindSays404() bool {
	for i := range r.legs {
		if l := &r.legs[i]; l.wasBehind() && l.answer.Status == 404 {
			return true
		}
	}
	return false
}

// next makes the next one the first that is asked, where none of the first is in the pool
// any more.
func (p *readPlan) next() (uint64, bool) {
	if p.n <= p.first {
		return 0, false
	}
	p.n = copy(p.order[:], p.order[p.first:p.n])
	p.fresh = max(p.fresh-p.first, 0)
	p.first = 1
	return p.asked(), true
}
