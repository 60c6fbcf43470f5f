package engine

import (
	"errors"
	"time"

	"github.com/akubra/akubra/s3"
)

// A conditional write is decided by one backend, the decider (R29): the first in the order
// of the bucket's backends that owes nothing for the key. Its answer is the client's. The
// other legs, the followers, do not get the end of the message before it has said yes: a
// message that is whole by then is not begun there (parked), of any other one the ring
// keeps the tail back. If it says no, what was begun is reset (R31).
//
// A DELETE of a bucket goes the same way, for whether it is empty is a condition, too.

// errUndecided ends a follower of a write that the decider has not taken.
var errUndecided = errors.New("the backend that decides the condition has not taken the write")

// followers is how far those are that follow the decider.
type followers uint8

const (
	followNone   followers = iota // there are none, or they have been told
	followParked                  // they were not started
	followHeld                    // they are kept from the message's end
	followNever                   // so they are for good: the decider has refused, and they are cut
)

// isHeld reports whether legs are held back until one has decided.
func (c *race) isHeld() bool { return c.decidedBy() >= 0 && len(c.votes) > 1 }

// decideBy makes a leg the one whose answer is the client's (R29); others of these backends
// can take its place. Before the legs start.
func (c *race) decideBy(leg int, deciders uint64) {
	c.deciders = deciders
	c.decider.Store(int32(leg))
}

// decidedBy is that leg, or -1.
func (c *race) decidedBy() int { return int(c.decider.Load()) }

// keep says how the other legs are kept back. Before the legs start.
func (c *race) keep(how followers) { c.follow = how }

// isConditional reports whether one backend has to decide the request.
func (h *requestHead) isConditional() bool {
	if !h.write || h.target.Sub {
		return false
	}
	switch h.kind {
	case s3.KindPlain, s3.KindCopy, s3.KindComplete:
		if len(h.target.Key) == 0 {
			return h.method == "DELETE" && len(h.target.Bucket) > 0
		}
		return h.condition && (h.method != "POST" || h.kind == s3.KindComplete)
	}
	return false
}

// aloneWait is how long a conditional write waits for plain ones, and for the followers of
// one that was decided. What owes the key meanwhile cannot decide it.
const aloneWait = time.Second

// chooseDecider has the first backend decide that can, of those that the request has a leg
// for.
func (r *request) chooseDecider() *s3Error {
	if !r.head.isConditional() {
		return nil
	}
	owing := r.owedForDecision()
	if r.head.is(s3.KindComplete) {
		// Its upload's owner decides. Where that is not known one backend after another is asked, for those
		// that do not know the upload have no say.
		if owing&r.asked() == 0 {
			r.decideAmong(r.asked())
			return nil
		}
	} else if r.decideByFirst(owing) || r.decideSoon() {
		return nil
	}
	r.wantKey()
	return errNoDecider
}

// asked is the set of backends that the request has legs to.
func (r *request) asked() (set uint64) {
	for i := range r.legs {
		set |= 1 << r.legs[i].backend
	}
	return set
}

// decideByFirst has the first one decide that can, if there is one. Before the legs start.
func (r *request) decideByFirst(owing uint64) bool {
	return r.decideAmong(r.couldDecide(r.asked(), owing))
}

// decideAmong has the first one of these backends decide, if there is one. Before the legs start.
func (r *request) decideAmong(deciders uint64) bool {
	b := r.o.primaries.first(r.head.bucket(), deciders)
	if b != nobody {
		r.race.decideBy(r.legOf(b), deciders)
	}
	return b != nobody
}

// legOf is the leg to a backend that the request has one for.
func (r *request) legOf(backend int) int {
	for i := range r.legs {
		if r.legs[i].backend == backend {
			return i
		}
	}
	return nobody
}

// replaceDeciderLocked has the next one decide in the order of the bucket's backends, where
// the decider has ended and has surely stored nothing: it cannot be reached, for example, and
// has not left the pool yet. Of one that may have decided nobody knows what.
func (r *request) replaceDeciderLocked(l *leg) {
	c := &r.race
	for c.deciders &^= 1 << l.backend; c.deciders != 0; {
		b := r.o.primaries.first(r.head.bucket(), c.deciders)
		next := r.legOf(b)
		if c.votes[next].State != voteFailed && c.unknowing&(1<<next) == 0 { // what it has refused meanwhile is decided
			c.decider.Store(int32(next))
			c.promoted = true
			r.leaveDecider()
			return
		}
		c.deciders &^= 1 << b
	}
}

// deciderSaid is what the end of a leg means if that is the decider.
type deciderSaid uint8

const (
	saidAll    deciderSaid = iota // as its vote
	saidNone                      // nothing, and so the next one decides
	saidPartly                    // yes to some of several conditions
)

// asDecider gives that. The request's mu must not be held.
func (l *leg) asDecider() deciderSaid {
	switch {
	case l.r.race.decidedBy() < 0:
	case l.hadNoSay(), l.knowsNot():
		return saidNone
	case l.refusesDeletes():
		return saidPartly
	}
	return saidAll
}

// noteDeciderLocked takes that in.
func (r *request) noteDeciderLocked(l *leg, said deciderSaid) {
	c := &r.race
	if c.decidedBy() != l.index || c.end != undecided {
		return
	}
	switch said {
	case saidNone:
		r.replaceDeciderLocked(l)
	case saidPartly:
		// Nobody else is given the list: to wait for more backends would be in vain.
		c.partly, c.need = true, 1
	case saidAll:
	}
}

// hadNoSay reports whether the leg has failed, for a reason that is the backend's, before that
// could have taken the message for whole: what it has of it is reset (R31).
func (l *leg) hadNoSay() bool {
	cause := l.why()
	return l.state == voteFailed && l.outcome != OutcomeAborted && (cause == nil || errors.Is(cause, errStalled) || errors.Is(cause, errDemoted)) &&
		!l.mayHaveStored() && l.lacksEnd()
}

// endSize is more than what frames a body's end, which some storages do not wait for.
const endSize = 2 << 10

// lacksEnd reports whether so much of the message has not gone.
func (l *leg) lacksEnd() bool {
	length := l.r.head.bodyLength()
	return l.sentSize == 0 || length >= 0 && int64(len(l.r.head.bytes()))+length-l.sentSize >= endSize
}

// takePromoted gives the leg back, once, that has become the decider, and how it was kept
// back; nil if it needs nothing any more.
func (r *request) takePromoted() (*leg, followers) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.race
	promoted := c.promoted
	c.promoted = false
	l := &r.legs[c.decidedBy()]
	if !promoted || l.voted {
		return nil, followNone
	}
	return l, c.follow
}

// decide lets a leg go on that has become the decider.
func (l *leg) decide(kept followers) {
	switch kept {
	case followParked:
		l.follow()
	case followHeld:
		l.progress()
		l.r.message.FreeOne(l.index)
	}
}

// decidersOf is the set of backends that can decide a condition, of those asked: who owes
// something of what it is about cannot, nor who ignores conditions, unless all do.
func decidersOf(asked, owing, ignoring, all uint64) uint64 {
	set := asked &^ owing
	if ignoring&all != all {
		set &^= ignoring
	}
	return set
}

// owedForDecision is the set of backends that owe what the condition is about: the key, or
// any key of a bucket that is to be deleted.
func (r *request) owedForDecision() (set uint64) {
	if r.e.o.Journal == nil {
		return 0
	}
	if len(r.head.target.Key) > 0 {
		return r.owedOf()
	}
	return r.owedIn()
}

// SetIgnoring tells which backends ignore conditions: none of them decides one while there
// is another backend (R29). Any goroutine may call it.
func (e *Engine) SetIgnoring(backends uint64) { e.ignoring.Store(backends) }

// isDecider reports whether the leg's answer is the client's whatever it is.
func (l *leg) isDecider() bool { return l.r.race.decidedBy() == l.index }

// launchDecider is launch where one leg decides.
func (r *request) launchDecider() {
	decider := r.race.decidedBy()
	if _, whole := r.message.Whole(); whole {
		r.race.keep(followParked)
		for i := range r.legs {
			if l := &r.legs[i]; i != decider {
				// Waiting for the decider is not the backend's fault (R13).
				r.e.o.Limiter.Progress(l.backend, l.slot, farFuture)
			}
		}
		r.legs[decider].launch(true)
		r.started = len(r.legs)
		return
	}
	r.race.keep(followHeld)
	all := uint64(1)<<len(r.legs) - 1
	r.message.Hold(all &^ (1 << decider))
	for i := range r.legs {
		r.legs[i].launch(false)
		r.started++
	}
}

// launch starts the leg, in its turn (R19).
func (l *leg) launch(whole bool) {
	if !l.waitsForTurn() {
		l.start(whole)
	}
}

// start starts the leg: on an idle connection at once, with the whole message if that is
// there and the leg may have it.
func (l *leg) start(whole bool) {
	message, is := l.r.message.Whole()
	if !l.sendAtOnce(message, is && whole) {
		go l.runFn()
	}
}

// mayHaveWhole reports whether the leg may be sent the whole message, now that it is there.
func (l *leg) mayHaveWhole() bool {
	if l.r.race.decidedBy() < 0 || l.isDecider() {
		return true
	}
	return !l.r.isHolding()
}

// tellFollowers lets the followers go on, or ends them, once the decider's leg has ended.
// Each leg's end calls it.
func (r *request) tellFollowers() {
	if r.race.decidedBy() < 0 {
		return
	}
	if l, kept := r.takePromoted(); l != nil {
		l.decide(kept)
		return
	}
	decider, how, no := r.takeFollowers()
	switch {
	case how == followNone:
		return
	case how == followHeld && no == nil:
		r.message.Free()
		return
	}
	for i := range r.legs {
		if i == decider {
			continue
		}
		switch l := &r.legs[i]; {
		case how == followHeld:
			l.abort(no)
		case l.voted: // it was the decider, before
		case no == nil:
			l.follow()
		default:
			l.neverFollows()
		}
	}
}

// follow starts a leg that was parked.
func (l *leg) follow() {
	defer l.recoverLeg()
	l.beginWaiting()
	l.launch(true)
}

// neverFollows ends a leg that was parked: its backend has heard nothing of the write.
func (l *leg) neverFollows() {
	l.state, l.err, l.outcome = voteFailed, errUndecided, OutcomeAborted
	l.r.e.attempt(func() { l.finish(false) })
	if next := l.r.legEnded(l); next != nil {
		next()
	}
}

// refusesCondition reports whether a follower's answer says that the condition does not hold
// there, or may not: the client is not told so after the decider's yes.
func (l *leg) refusesCondition() bool {
	switch l.answer.Status {
	case 304, 404, 409, 412:
		return true
	}
	return false
}

// takeFollowers gives those back that are to be told, once, and why they end, unless they
// follow.
func (r *request) takeFollowers() (decider int, how followers, no error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.race
	decider = c.decidedBy()
	state := c.votes[decider].State
	if state == votePending {
		return decider, followNone, nil
	}
	switch {
	case c.follow == followNever:
		return decider, followNone, nil
	case state != votePositive:
		no = errUndecided
	case c.partly:
		no = errPartlyDecided
	default:
		c.following.Store(true)
	}
	if how, c.follow = c.follow, followNone; how == followHeld && no != nil {
		c.follow = followNever // one of them may be about to look whether it may have the whole message
	}
	return decider, how, no
}

// isHolding reports whether the followers of a decider are kept from the message's end.
func (r *request) isHolding() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.race.follow == followHeld || r.race.follow == followNever
}

// unlaunchedDecider is the decider's leg if launchDecider has not come to its end and the
// others were left to it.
func (r *request) unlaunchedDecider() *leg {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.race.follow != followParked || r.started > 0 {
		return nil
	}
	return &r.legs[r.race.decidedBy()]
}
