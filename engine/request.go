package engine

import (
	"errors"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/akubra/akubra/engine/body"
)

// request is one client request on its way to the backends. The handler's
// goroutine and each leg hold it; the last one to let go gives it back to the
// pool. Fields without a comment are set before the legs start and do not change.
//
// What belongs to one concern has an owner, whose fields are touched by the few files that
// the concern is about: the others ask its methods (TestRequestFieldsHaveOwners).
type request struct {
	e    *Engine
	o    *generation // as it was when the request began
	refs atomic.Int32

	prev, next *request // the engine's list, under its lock

	head    requestHead  // what the client asks for
	client  client       // its connection, and what it is told
	message body.Message // what goes to the backends
	legs    []leg

	mu    sync.Mutex
	spare *leg     // goes on with an answer that broke off (reads_resume.go); under mu
	plan  readPlan // of a read that is planned; else empty
	race  race     // whose answer the client gets
	// answerers is what planRead goes by. It is kept here, and not on the stack, since a stack that has
	// grown stays so large while the connection is idle.
	answerers []answerer
	ledger    requestLedger // what the journal knows of it (promise.go)
	source    copyTurns     // of a copy: its place among the writes to its source (order_copies.go)
	ofBucket  bucketWrite   // its place in the table of such writes (order_buckets.go)

	started  int           // legs that run; the handler's goroutine only
	launched int           // legs that launch starts; the same
	hedge    *time.Timer   // of a planned read; made when it is needed first
	ready    chan struct{} // capacity 1: a leg is ready for the body (100)
	readied  atomic.Bool   // something was sent to ready

	// Made once.
	startFn, sendRestFn, streamFn, letNextFn func()
	logAccessFn                              func(size int64)
}

var errClientGone = errors.New("client gone")

func newRequest(e *Engine) *request {
	n := len(e.o.Backends)
	r := &request{
		e:         e,
		o:         e.current(),
		legs:      make([]leg, 0, n),
		ready:     make(chan struct{}, 1),
		race:      race{votes: make([]vote, 0, n), decision: make(chan struct{}, 1)},
		answerers: make([]answerer, 0, n),
		ledger:    requestLedger{settled: make(chan struct{}, 1)},
	}
	r.race.reset()
	r.message.Init(body.Hooks{
		Start:  r.launch,
		Push:   r.push,
		Cut:    func(reader int) { r.legs[reader].abort(errStalled) },
		Lag:    r.noteLag,
		Plain:  r.takesPipes,
		Client: &r.client,
		Buffer: e.o.MaxHeaderSize,
	})
	r.startFn = r.message.Start
	r.letNextFn, r.logAccessFn = r.letNext, r.logAccess
	r.sendRestFn, r.streamFn = r.sendRest, r.stream
	return r
}

// setLegs makes a leg for each backend of set, with the slots that the limiter
// gave.
func (r *request) setLegs(set uint64, slots *[MaxBackends]int32) {
	r.legs = r.legs[:bits.OnesCount64(set)]
	r.race.enter(len(r.legs))
	i := 0
	for b := range len(r.e.o.Backends) {
		if set&(1<<b) != 0 {
			r.legs[i].reset(r, i, b, slots[b])
			i++
		}
	}
	r.launched = len(r.legs)
}

// tryRetain takes hold of a request that may be about to go.
func (r *request) tryRetain() bool {
	for {
		n := r.refs.Load()
		if n == 0 {
			return false
		}
		if r.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// handled lets go of the request for its handler.
func (r *request) handled() {
	r.letNext()
	r.notServing()
	r.release()
}

// release lets go of the request; the last one to do so gives its memory back.
func (r *request) release() {
	if r.refs.Add(-1) > 0 {
		return
	}
	e := r.e
	ended := false
	defer func() {
		if !ended { // nobody uses it again, but nobody waits for it either
			e.warnOfPanic(recover(), "ending a request")
			e.leave(r)
		}
	}()
	r.endWrite()
	r.ledger.giveBack(e)
	if d := r.message.Put(); d > 0 {
		e.o.Metrics.RingWaited(d)
	}
	r.reset()
	ended = true
	e.leave(r) // Shutdown may return now
	e.requests.Put(r)
}

// reset forgets everything but the memory. Nobody else has the request any more.
func (r *request) reset() {
	if r.readied.Load() {
		r.readied.Store(false)
		if len(r.ready) > 0 {
			<-r.ready
		}
	}
	for i := range r.legs {
		r.legs[i].clear()
	}
	r.legs = r.legs[:0]
	r.head.reset()
	r.client.reset()
	r.spare = nil
	r.plan.reset()
	r.race.reset()
	r.ledger.reset()
	r.started, r.launched = 0, 0
}

// launch starts the legs; the message calls it, once. What of the message is there already
// goes out from this goroutine as far as idle connections take it at once.
func (r *request) launch() {
	r.client.beforeWaiting(nil) // it would do so once more
	r.startHedge()
	first := r.launched
	now := r.e.now()
	for i := range first {
		r.legs[i].asked = now
	}
	r.refs.Add(int32(first))
	r.planOrder()
	if r.race.isHeld() {
		r.launchDecider()
		return
	}
	message, whole := r.message.Whole()
	for i := range first {
		if l := &r.legs[i]; !l.waitsForTurn() && !l.sendAtOnce(message, whole) {
			go l.runFn()
		}
		r.started++
	}
}

// takesPipes reports whether the body may go to every leg through pipes.
func (r *request) takesPipes() bool {
	for i := range r.legs {
		if !r.e.o.Backends[r.legs[i].backend].Plain() {
			return false
		}
	}
	return true
}

// endBody notes that the whole body is in the ring.
//
// The ring is closed last: that lets the legs end, and one that ends before the
// body counts as read is not positive yet.
func (r *request) endBody() {
	r.disposeOf(r.noteRead())
	r.message.Close()
	if r.message.IsPassing() {
		r.endPushing()
	}
}

// legEnded takes a leg's vote, and lets go of the request: the last thing that a leg does.
// What of that may wait for something, where the leg must not, is next.
func (r *request) legEnded(l *leg) (next func()) {
	r.leaveTaken(l)
	r.passTurn(l)
	late, losers, last, answers, waits, held := r.takeVote(l)
	r.stopHedge()
	if held != nil {
		r.ask(held, ReadFailover)
	}
	if waits {
		return func() { r.afterLeg(l, late, losers, last, answers) }
	}
	r.afterLeg(l, late, losers, last, answers)
	return nil
}

// afterLeg does what a leg's end brings about.
func (r *request) afterLeg(l *leg, late bool, losers uint64, last, answers bool) {
	defer r.release()
	defer r.e.recoverStep("ending a leg")
	if late {
		l.drain()
	}
	r.disposeOf(losers)
	r.tellFollowers()
	if l.tells {
		r.tellTaken()
	}
	if last {
		r.settleSafely((*request).settle)
	}
	if answers {
		r.answerDetached()
	}
}

func (r *request) disposeOf(losers uint64) {
	for ; losers != 0; losers &= losers - 1 {
		r.legs[bits.TrailingZeros64(losers)].dispose()
	}
}

// legReady notes that a backend has asked for the body (100 Continue), or has
// answered before it.
func (r *request) legReady() {
	r.readied.Store(true)
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

// abort ends the request because its client is gone (R6): no backend may take
// what has come so far for a whole object, and none is to blame. The handler's
// goroutine calls it.
func (r *request) abort() {
	r.message.Cancel()
	r.disposeOf(r.abandon())
	r.stopHedge()
	if !r.message.Started() {
		for i := range r.legs {
			r.legs[i].neverRan()
		}
		r.settle()
		return
	}
	for i := range r.legs {
		r.legs[i].abort(errClientGone)
	}
	r.abortSpare(errClientGone)
}

// shutdown ends the request because the proxy is being stopped: what a backend
// has taken and another one has not becomes a divergence (R22).
func (r *request) shutdown() {
	r.client.hurry(!r.isBodyRead())
	for i := range r.legs {
		r.legs[i].abort(errShutdown)
	}
	r.abortSpare(errShutdown)
}

var errShutdown = errors.New("proxy shut down")
