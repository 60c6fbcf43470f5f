package engine

import (
	"errors"
	"math/bits"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/akubra/akubra/engine/pipes"
	"github.com/akubra/akubra/engine/ring"
	"github.com/akubra/akubra/s3"
)

// request is one client request on its way to the backends. The handler's
// goroutine and each leg hold it; the last one to let go gives it back to the
// pool. Fields without a comment are set before the legs start and do not change.
type request struct {
	e    *Engine
	refs atomic.Int32

	prev, next *request // the engine's list, under its lock

	id      requestID
	begun   time.Time
	method  string
	kind    s3.Kind
	write   bool
	remote  string
	tried   uint64 // backends that have failed at this CreateMultipartUpload
	headBuf []byte // the head as it is sent, then Host and User-Agent
	headLen int
	head    head
	raw     []byte    // the request target, in headBuf
	target  s3.Target // in headBuf
	keyHash uint64
	// overlapping: the request is in the table of writes under way (R19), under
	// keyHash; whoever settles it takes it out.
	overlapping bool
	client      *clientConn // nil where the server's connection is none (tests)

	ring *ring.Ring
	legs []leg
	// pipes carry the body from some point on, unless nil. The handler's
	// goroutine sets them, before it tells the legs by way of the ring.
	pipes    *pipes.Set
	noSplice bool // pipes are out of the question, or were asked for
	// direct: an answer may go to the client from any goroutine, and its connection goes on
	// (answer_short.go).
	direct bool
	old    bool // the client speaks HTTP/1.0
	// gathered is the size of the message if all of it is in the pipes, from where
	// each leg sends it; the intake keeps it. Before that, gathering is what has come.
	gathered, gathering int
	// piped: what is still to come of the body goes through pipes; the handler's
	// goroutine only.
	piped bool
	// skipped are the backends that should have had a write but were not asked.
	skipped uint64
	// whole: answers are read to their end before they count (R24, R25, R26).
	whole bool
	// deletes are the keys of a multi-object delete (R24): the handler fills it
	// in before the body goes out, under mu.
	deletes      []deletion
	deleteCharge int64 // of Engine.deleting; the handler's
	form         *form // of an upload by form, else nil

	bodySize atomic.Int64 // bytes of body that have come from the client
	madeSize atomic.Int64 // of the object that an upload by form or in parts makes; 0: not known
	source   copySource   // of a copy
	lacking  uint64       // backends that are not asked for a copy, since they owe its source

	mu       sync.Mutex
	votes    []vote
	ended    int // legs that have a vote
	need     int // positive answers that it takes
	bodyRead bool
	decided  bool
	detached bool // who decides the request answers it (detach.go)
	winner   int  // the leg whose answer the client gets, or -1
	// begunHead is the head of the first answer with 200 that came without its end, of a
	// request whose answer may be late (hold.go).
	begunHead []byte
	aborted   bool

	// Of the journal (promise.go), under mu where it is not told otherwise.
	key     []byte // decoded; of journaled writes
	slot    int32  // where the journal has noted that it is under way, or noSlot; of the handler until it is launched
	began   uint64 // the place of the write's beginning in the order of writes
	seq     uint64 // the write's own place
	journal journalState
	// nothingOwed: all legs have ended well before the answer, and the journal knew of
	// nothing that the write could replace; of the last leg.
	nothingOwed bool
	settledCh   chan struct{} // capacity 1: journalAwaited has become journalSettled
	journalErr  error         // valid once journalSettled
	also        uint64        // backends where overlapping writes may differ; settle's
	// Memory for entries; of the goroutine that promises or settles.
	cast   []vote
	ledger []Promise
	idText []byte

	launched bool          // the legs run; the handler's goroutine only
	started  int           // legs that run; as launched
	let      bool          // it is not one of Engine.handling any more; of who answers
	isPaid   bool          // the client of a detached request has its answer; as let
	decision chan struct{} // capacity 1: decided
	ready    chan struct{} // capacity 1: a leg is ready for the body (100)
	readied  atomic.Bool   // something was sent to ready

	// Of the goroutine that answers.
	firstAnswer time.Duration
	status      int
	out         []byte // a short answer that is made, or what is left of one
	last        bool   // it is its connection's last

	cutFn func(reader int) // cuts a leg (R10); made once, as those below are

	launchFn, fillIntakeFn, sendRestFn, streamFn, letNextFn func()
	logAccessFn                                             func(size int64)

	slots   [MaxBackends]int32  // of the limiter, by backend, as it gave them
	reasons [MaxBackends]string // why backends are skipped, by backend
}

var errClientGone = errors.New("client gone")

func newRequest(e *Engine) *request {
	n := len(e.o.Backends)
	r := &request{
		e:        e,
		legs:     make([]leg, 0, n),
		votes:    make([]vote, 0, n),
		decision: make(chan struct{}, 1),
		ready:    make(chan struct{}, 1),

		settledCh: make(chan struct{}, 1),
		slot:      noSlot,
	}
	r.cutFn = func(reader int) { r.legs[reader].abort(errStalled) }
	r.launchFn, r.fillIntakeFn = r.launch, r.fillIntake
	r.letNextFn, r.logAccessFn = r.letNext, r.logAccess
	r.sendRestFn, r.streamFn = r.sendRest, r.stream
	return r
}

// requestID is a request's name in logs, records and errors.
type requestID uint64

func (id requestID) String() string { return strconv.FormatUint(uint64(id), 16) }

// newID is unique in this process's life and unlikely in another's.
func (e *Engine) newID() requestID { return requestID(e.idBase | e.nextID.Add(1)&0xffffffff) }

// setLegs makes a leg for each backend of set, with the slots that the limiter
// gave.
func (r *request) setLegs(set uint64, slots *[MaxBackends]int32) {
	r.legs = r.legs[:bits.OnesCount64(set)]
	r.votes = r.votes[:len(r.legs)]
	i := 0
	for b := range len(r.e.o.Backends) {
		if set&(1<<b) != 0 {
			r.legs[i].reset(r, i, b, slots[b])
			r.votes[i] = vote{}
			i++
		}
	}
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
			e.inFlight.Add(-1)
			e.delist(r)
		}
	}()
	r.endWrite()
	if r.deleteCharge != 0 {
		e.deleting.Add(-r.deleteCharge)
	}
	if r.ring != nil {
		if d := r.ring.Waited(); d > 0 {
			e.o.Metrics.RingWaited(d)
		}
		r.ring.Put()
	}
	if r.pipes != nil {
		r.pipes.Put()
	}
	r.reset()
	ended = true
	e.inFlight.Add(-1)
	e.delist(r) // Shutdown may return now
	e.requests.Put(r)
}

// keptHead is the largest head buffer that goes back to the pool.
const keptHead = 64 << 10

// keptLedger is the most entries that memory is kept for.
const keptLedger = 16

func (r *request) reset() {
	// Nobody else has the request any more: what is there can be taken.
	if !r.detached && len(r.decision) > 0 {
		<-r.decision
	}
	if r.readied.Load() {
		r.readied.Store(false)
		if len(r.ready) > 0 {
			<-r.ready
		}
	}
	if cap(r.headBuf) > keptHead {
		r.headBuf = nil
	}
	if cap(r.out) > keptHead {
		r.out = nil
	}
	for i := range r.legs {
		r.legs[i].clear()
	}
	for s := r.skipped; s != 0; s &= s - 1 {
		r.reasons[bits.TrailingZeros64(s)] = ""
	}
	r.headBuf, r.legs, r.votes = r.headBuf[:0], r.legs[:0], r.votes[:0]
	r.ring, r.pipes, r.client, r.deletes, r.form = nil, nil, nil, nil, nil
	r.head, r.raw, r.target = head{}, nil, s3.Target{}
	r.id, r.remote, r.kind = 0, "", s3.KindPlain
	r.skipped, r.whole, r.launched = 0, false, false
	r.bodySize.Store(0)
	r.madeSize.Store(0)
	r.source, r.lacking, r.begunHead = copySource{}, 0, nil
	r.ended, r.need, r.winner = 0, 0, -1
	r.bodyRead, r.decided, r.detached, r.aborted, r.last = false, false, false, false, false
	r.direct, r.old = false, false
	r.noSplice, r.gathered, r.gathering, r.piped = false, 0, 0, false
	r.seq, r.journal, r.nothingOwed, r.journalErr = 0, journalUnwritten, false, nil
	r.also, r.slot, r.key, r.began = 0, noSlot, nil, 0
	if cap(r.ledger) > keptLedger {
		r.ledger = nil
	}
	clear(r.ledger[:cap(r.ledger)])
	r.firstAnswer, r.status, r.tried, r.headLen, r.overlapping = 0, 0, 0, 0, false
	r.deleteCharge, r.started, r.let, r.isPaid = 0, 0, false, false
}

// launch starts the legs. What of the message is in the ring already goes out
// from this goroutine as far as idle connections take it at once.
func (r *request) launch() {
	if r.client != nil {
		r.client.beforeWait = nil // it would do so once more
	}
	if r.gathering > 0 {
		r.ungather()
	}
	r.launched = true
	r.refs.Add(int32(len(r.legs)))
	message, whole := r.message()
	for i := range r.legs {
		if l := &r.legs[i]; !l.sendAtOnce(message, whole) {
			go l.runFn()
		}
		r.started++
	}
}

// message is the whole message if the legs can send it at once: its bytes, or none
// if it is in the pipes.
func (r *request) message() (message []byte, whole bool) {
	if r.gathered > 0 {
		return nil, true
	}
	return r.ring.Message()
}

// endBody notes that the whole body is in the ring.
//
// The ring is closed last: that lets the legs end, and one that ends before the
// body counts as read is not positive yet.
func (r *request) endBody() {
	r.mu.Lock()
	r.bodyRead = true
	losers, _ := r.decideLocked() // nothing is detached yet
	r.mu.Unlock()
	r.disposeOf(losers)
	r.ring.Close()
	if r.piped {
		r.endPushing()
	}
}

// legEnded takes a leg's vote, and lets go of the request: the last thing that a leg does.
// What of that may wait for something, where the leg must not, is next.
func (r *request) legEnded(l *leg) (next func()) {
	late, losers, last, answers, waits := r.takeVote(l)
	if waits {
		return func() { r.afterLeg(l, late, losers, last, answers) }
	}
	r.afterLeg(l, late, losers, last, answers)
	return nil
}

func (r *request) takeVote(l *leg) (late bool, losers uint64, last, answers, waits bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.e.recoverStep("ending a leg")
	l.voted = true
	r.ended++
	r.votes[l.index] = vote{state: l.state, order: r.ended}
	late = r.decided && r.winner != l.index
	losers, answers = r.decideLocked()
	last = r.ended == len(r.legs)
	waits = true
	waits = l.arrived && r.mayWaitLocked(last, answers)
	return late, losers, last, answers, waits
}

// afterLeg does what a leg's end brings about.
func (r *request) afterLeg(l *leg, late bool, losers uint64, last, answers bool) {
	defer r.release()
	defer r.e.recoverStep("ending a leg")
	if late {
		l.drain()
	}
	r.disposeOf(losers)
	if last {
		r.settleSafely((*request).settle)
	}
	if answers {
		r.answerDetached()
	}
}

// mayWaitLocked reports whether what the end of a leg brings about may have to wait: for a
// disk, or for somebody to read a log. Where all is well it has not.
func (r *request) mayWaitLocked(last, answers bool) bool {
	switch {
	case r.kind != s3.KindPlain || r.aborted:
		return true
	case answers && (r.e.o.Log.AccessEnabled() || r.journaled() && r.slot == noSlot):
		return true
	case !last:
		return false
	}
	_, out, well := r.goesWell(r.votes)
	if !well || out != 0 || r.overlapping && r.e.writes.overlapped(r.keyHash) {
		return true
	}
	if r.journaled() && r.journal == journalUnwritten { // it is written down now
		r.nothingOwed = r.ackedLocked() && r.e.o.Journal.Quiet()
		return !r.nothingOwed
	}
	return false
}

// decideLocked asks the picker once. It returns the legs whose answers nobody
// is going to read now, as a set of leg numbers, and whether it is the caller who
// has to answer (detach.go).
func (r *request) decideLocked() (losers uint64, answers bool) {
	if r.decided {
		return 0, false
	}
	leg, v := pick(r.votes, r.need, r.bodyRead)
	switch v {
	case verdictWait:
		return 0, false
	case verdictAnswer:
		r.winner = leg
	case verdictNone:
		r.winner = -1
	}
	// All have answered before the end of the body (R9): the handler waits for
	// a client that may itself wait for the answer.
	if !r.bodyRead && r.client != nil {
		r.client.interrupt()
	}
	return r.setDecidedLocked(), r.detached
}

func (r *request) setDecidedLocked() (losers uint64) {
	r.decided = true
	r.firstAnswer = time.Since(r.begun)
	for i := range r.votes {
		if r.votes[i].state != votePending && i != r.winner {
			losers |= 1 << i
		}
	}
	if !r.detached {
		r.decision <- struct{}{}
	}
	return losers
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
	r.ring.Cancel()
	r.mu.Lock()
	// Where all legs have ended by themselves, settle is looking already.
	if r.ended < len(r.legs) {
		r.aborted = true
	}
	var losers uint64
	if !r.decided {
		r.winner = -1
		losers = r.setDecidedLocked()
	}
	r.mu.Unlock()
	r.disposeOf(losers)
	if !r.launched {
		for i := range r.legs {
			r.legs[i].neverRan()
		}
		r.settle()
		return
	}
	for i := range r.legs {
		r.legs[i].abort(errClientGone)
	}
}

// shutdown ends the request because the proxy is being stopped: what a backend
// has taken and another one has not becomes a divergence (R22).
func (r *request) shutdown() {
	r.mu.Lock()
	reading := !r.bodyRead
	r.mu.Unlock()
	if r.client != nil {
		r.client.hurry()
		if reading {
			r.client.interrupt()
		}
	}
	for i := range r.legs {
		r.legs[i].abort(errShutdown)
	}
}

var errShutdown = errors.New("proxy shut down")

// setAnswered notes that the client has its answer: legs that go on now have no
// excuse (R13).
func (r *request) setAnswered() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setAnsweredLocked()
}

func (r *request) setAnsweredLocked() {
	now := int64(r.begun.Sub(r.e.epoch) + r.firstAnswer)
	for i := range r.votes {
		if r.votes[i].state == votePending {
			l := &r.legs[i]
			r.e.o.Limiter.Answered(l.backend, l.slot, now)
		}
	}
}
