package engine

import (
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"github.com/akubra/akubra/engine/pick"
	"github.com/akubra/akubra/s3"
)

// The votes of legs, in the words of package pick.
type (
	vote      = pick.Vote
	voteState = pick.State
)

const (
	votePending  = pick.Pending
	votePositive = pick.Positive
	voteNegative = pick.Negative
	voteFailed   = pick.Failed
	voteHeld     = pick.Held
)

// raceStage is how far the client's side of the race has come.
type raceStage uint8

const (
	raceReading  raceStage = iota // the body is still coming: nothing is positive for a write
	raceRead                      // the body was read, and the handler waits for the decision
	raceDetached                  // and the handler has left: who decides answers (detach.go)
)

// raceEnd is whether the client's answer is decided.
type raceEnd uint8

const (
	undecided raceEnd = iota
	decided
	abandoned // and the client is gone: no backend is to blame for what it lacks (R6)
)

// race is which of the legs' answers the client gets: the votes, and the winner. Its
// fields are under the request's mu where it is not told otherwise.
type race struct {
	votes     []vote
	ended     int                   // legs that have a vote
	asked     int                   // legs that were started, or are about to be: the first ones
	need      int                   // positive answers that it takes; set before the legs start
	winner    int                   // the leg whose answer the client gets, or -1; of who answers once it is decided
	versioned uint64                // legs whose positive answers tell a version's id, or an ETag, of the backend's own (versions.go)
	versionAt time.Duration         // when the first of them, or of those that say yes to such a delete, came
	says      [MaxBackends]pick.Say // of versions that are to be deleted (versions_named.go), by leg
	refused   [MaxBackends]uint16   // keys of a multi-object delete, by leg (deletes.go)
	late      bool                  // PrimaryWait is over
	patience  *time.Timer           // for the primary; nil if nobody waits
	stage     raceStage
	end       raceEnd
	follow    followers // of the decider
	// deciders are the backends that can decide in the decider's place; promoted tells that
	// one has taken it, and has yet to be started, or to be given the message's end.
	deciders  uint64
	promoted  bool
	partly    bool   // the decider has refused some of several conditions
	refusing  uint64 // legs whose answers say that a condition does not hold
	unknowing uint64 // legs whose answers say that their backends do not know the id in the request (issuer.go)
	// firstAnswer is how long the decision has taken; of who answers then.
	firstAnswer time.Duration
	decision    chan struct{} // capacity 1: decided, and the handler answers
	// begunHead is the head of the first answer with 200 that came without its end, of a
	// request whose answer may be late (hold.go).
	begunHead []byte

	// decider is the leg that decides a conditional write (decide.go), or -1. It is changed
	// under mu, and read without.
	decider atomic.Int32
	// following: the decider has taken the write, and the others may have it any moment. shown: a reader
	// was shown what the decider has, before it was decided and written down.
	following, shown atomic.Bool

	// Set before the legs start.
	lacking  uint64              // backends that are not asked: they owe a copy's source, or are in removing
	removing uint64              // backends that have the bucket as it was before its removal
	skipped  uint64              // backends that should have had a write but were not asked
	nowhere  bool                // no backend has the version that a part is copied from
	slots    [MaxBackends]int32  // of the limiter, by backend, as it gave them
	reasons  [MaxBackends]string // why backends are skipped, by backend
}

// reset forgets everything but the memory. Nobody else has the request any more.
func (c *race) reset() {
	if c.stage != raceDetached && len(c.decision) > 0 {
		<-c.decision
	}
	for s := c.skipped; s != 0; s &= s - 1 {
		c.reasons[bits.TrailingZeros64(s)] = ""
	}
	c.votes, c.begunHead = c.votes[:0], nil
	c.ended, c.need, c.winner, c.follow, c.refusing, c.unknowing, c.deciders = 0, 0, -1, followNone, 0, 0, 0
	c.decider.Store(nobody)
	c.following.Store(false)
	c.shown.Store(false)
	c.versioned, c.versionAt, c.late, c.patience, c.promoted, c.partly = 0, 0, false, nil, false, false
	c.stage, c.end, c.firstAnswer = raceReading, undecided, 0
	c.lacking, c.removing, c.skipped, c.asked, c.nowhere = 0, 0, 0, 0, false
}

// begin says whether there is a body to be read first.
func (c *race) begin(hasBody bool) {
	if !hasBody {
		c.stage = raceRead
	}
}

// ran is how many legs there were, whose answer the client got, or -1, and how long that took to decide.
func (c *race) ran() (legs, winner int, first time.Duration) { return c.asked, c.winner, c.firstAnswer }

// enter makes it a race of so many legs.
func (c *race) enter(legs int) {
	c.votes = c.votes[:legs]
	clear(c.votes)
	c.need, c.asked = 1, legs
}

// pickLocked asks package pick.
func (r *request) pickLocked() (leg int, v pick.Verdict) {
	c := &r.race
	switch {
	case r.plan.n > 0:
		leg, v = pickRead(c.votes, &r.plan)
		if c.versioned != 0 && r.plan.all {
			leg, v = pick.Versioned(c.votes, leg, v, c.versioned, r.primaryLeg(), c.late)
		}
		return leg, v
	case c.decidedBy() >= 0:
		return pick.Decided(c.votes, c.refusing, c.need, c.decidedBy(), c.isRead())
	}
	leg, v = pick.Leg(c.votes, r.neededLocked(), c.isRead() || r.endsUnreadLocked())
	if c.unknowing != 0 {
		leg, v = pick.Knowing(c.votes, leg, v, c.unknowing, r.primaryLeg())
	}
	if c.versioned != 0 {
		leg, v = pick.Versioned(c.votes, leg, v, c.versioned, r.primaryLeg(), c.late)
	}
	if r.head.is(s3.KindDelete) {
		leg, v = pick.Deleted(c.votes, leg, v, c.refused[:])
	}
	return r.pickNamedLocked(leg, v)
}

// endsUnreadLocked reports whether all have answered what needs no body, or has no effect: no leg waits for the
// rest of it (R9).
func (r *request) endsUnreadLocked() bool {
	return (!r.head.write || !r.head.takesBody()) && r.allEndedLocked()
}

// neededLocked is how many positive answers the client's takes (WriteAck). A backend that does not know the
// version to be deleted has nothing of it left, which is as good as a yes, but is not what the client is told.
func (r *request) neededLocked() int {
	c := &r.race
	if !r.head.deletesVersion() {
		return c.need
	}
	return max(c.need-bits.OnesCount64(c.unknowing), 1)
}

// holdsLocked reports whether a leg that is out is to be cut when its backend leaves the pool: any one,
// or one that a client waits for who has, or may have, another backend's answer.
func (c *race) holdsLocked(leg int, all bool) bool {
	switch {
	case all && (c.votes[leg].State == votePending || c.winner == leg):
		return true
	case c.votes[leg].State != votePending || !c.hasOtherLocked(leg):
		return false
	}
	return c.end == undecided || c.stage == raceReading
}

// hasOtherLocked reports whether another leg has, or may have, an answer.
func (c *race) hasOtherLocked(leg int) bool {
	for i := range c.votes {
		if i != leg && c.votes[i].State != voteFailed {
			return true
		}
	}
	return false
}

// canSpare reports whether the client is told without a leg that has not started, as far as can
// be seen.
func (r *request) canSpare(l *leg) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.race
	decider := c.decidedBy()
	if c.end != undecided || decider >= 0 {
		return decider != l.index || c.end != undecided
	}
	left := 0
	for i := range c.votes {
		if s := c.votes[i].State; i != l.index && (s == votePending || s == votePositive) {
			left++
		}
	}
	return left >= c.need
}

// hold keeps the legs from first on from being asked.
func (c *race) hold(first int) {
	for i := first; i < len(c.votes); i++ {
		c.votes[i].State = voteHeld
	}
	c.asked = first
}

// askedOne reports whether one leg alone was asked. The last leg asks.
func (c *race) askedOne() bool { return c.asked == 1 }

// seat gives a leg that was held its slot. Until then nobody may tell the limiter of it.
func (r *request) seat(l *leg, slot int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l.slot, l.asked, l.held = slot, r.e.now(), false
}

// waitsForOne reports whether the client waits for the one leg that was asked.
func (c *race) waitsForOne() bool {
	return c.end == undecided && c.asked == 1 && c.votes[0].State == votePending
}

// unholdLocked makes the first leg that is held one that is asked. The caller asks it.
func (r *request) unholdLocked(leg int) *leg {
	c := &r.race
	c.votes[leg].State = votePending
	c.asked++
	r.refs.Add(1)
	return &r.legs[leg]
}

// decided is where the handler waits for the decision.
func (c *race) decided() <-chan struct{} { return c.decision }

// duration is how long the decision has taken. Who answers asks.
func (c *race) duration() time.Duration { return c.firstAnswer }

// isAbandoned reports whether the client was gone before all legs had ended. The last leg
// asks.
func (c *race) isAbandoned() bool { return c.end == abandoned }

// result is the votes; until all legs have ended, under the request's mu.
func (c *race) result() []vote { return c.votes }

// hasSilentLeg reports whether a leg had no answer, or has none yet.
func (r *request) hasSilentLeg() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.race.votes, func(v vote) bool { return v.State != votePositive && v.State != voteNegative })
}

// isRead reports whether the whole body was read. The handler's goroutine asks, which
// alone changes it.
func (c *race) isRead() bool { return c.stage != raceReading }

// leaveOut notes backends that are not asked for a copy.
func (c *race) leaveOut(owing uint64) { c.lacking |= owing }

// foundNowhere notes that no backend has the version that a part is copied from.
func (c *race) foundNowhere() { c.nowhere = true }

// isNowhere reports whether that was found.
func (c *race) isNowhere() bool { return c.nowhere }

// leaveOld notes the backends that have the bucket as it was before its removal: those of want are left
// out, and old gives them all.
func (c *race) leaveOld(old, want uint64) {
	c.removing = old
	c.leaveOut(old & want)
}

func (c *race) old() uint64 { return c.removing }

// leftOut are those backends.
func (c *race) leftOut() uint64 { return c.lacking }

// isBodyRead is race.isRead for any goroutine.
func (r *request) isBodyRead() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.race.isRead()
}

func (r *request) isDecided() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.race.end != undecided
}

// winner is the leg whose answer the client gets, or nil. It is for who answers, once the
// request is decided.
func (r *request) winner() *leg {
	if r.race.winner < 0 {
		return nil
	}
	return &r.legs[r.race.winner]
}

// allEndedLocked reports whether each leg that was started has its vote.
func (r *request) allEndedLocked() bool { return r.race.ended == r.race.asked }

// anyPositiveLocked reports whether a backend has answered positively.
func (r *request) anyPositiveLocked() bool {
	return slices.ContainsFunc(r.race.votes, func(v vote) bool { return v.State == votePositive })
}

// ackedLocked reports whether the client is told that its write succeeded.
func (r *request) ackedLocked() bool {
	c := &r.race
	return c.end != undecided && c.winner >= 0 && c.votes[c.winner].State == votePositive
}

// standsLocked reports whether the write counts as acknowledged: the client is told so, or the decider
// has taken it. Reads may have shown that by then, and it is as atomic as there (R29), whatever
// becomes of the others (WriteAck).
func (r *request) standsLocked() bool {
	c := &r.race
	d := c.decidedBy()
	return r.ackedLocked() || d >= 0 && c.isRead() && !r.head.is(s3.KindDelete) && c.votes[d].State == votePositive
}

// noteHead keeps the head of an answer that has begun and is not there as a whole.
func (l *leg) noteHead() {
	r := l.r
	if !r.head.isLate() || l.answer.Status != 200 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := &r.race; c.begunHead == nil {
		c.begunHead = append(make([]byte, 0, len(l.answer.Raw)), l.answer.Raw...)
	}
}

// begunHead is the head that noteHead has kept, or nil.
func (r *request) begunHead() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.race.begunHead
}
