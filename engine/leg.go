package engine

import (
	"errors"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/akubra/akubra/engine/body"
	"github.com/akubra/akubra/engine/lane"
	"github.com/akubra/akubra/http1"
)

// leg is one request on its way to one backend. Its own goroutine (run) reads
// the answer, or for a short one the backends' goroutine that saw it come (arrive).
// While the message does not fit into the socket at once, a second one (send) writes,
// so that an answer is seen before the body's end (R9). The handler's goroutine writes
// what never has to wait.
type leg struct {
	r       *request
	index   int // among the request's legs, and the ring's reader
	backend int
	slot    int32 // of the limiter

	mu      sync.Mutex
	conn    Conn  // nil before it is acquired and after it was given back
	cause   error // why the leg was aborted, or nil
	lost    bool  // renew has cut conn
	pushing bool  // the handler's goroutine sends (leg_push.go)
	// aborted: cause is not nil, which never ends; set under mu.
	aborted atomic.Bool

	// run, send, arrive and onTheWay, made once: new ones a request would be allocations.
	runFn, sendFn func()
	arriveFn      func() (next func())
	onTheWayFn    func() int64

	// The sending side.
	inline  bool // the whole message went out at once
	sending bool // it is being sent otherwise; of whoever starts run, then run's goroutine only
	// retryable: if the connection turns out to be stale, the leg will want to
	// start again, so it stays in the ring.
	retryable bool
	sendTo    Conn // what it writes to
	begins    bool // the send goroutine has yet to say whether it has sent something, by way of begun
	begun     chan bool
	sent      chan struct{}
	sentAll   atomic.Bool
	sendErr   error // valid once sent was received from
	sentSize  int64 // of who sends, then of who has waited for it

	// The answer. buf holds its head, and its body where that is whole.
	buf      []byte
	answer   http1.Answer
	body     []byte // in buf
	open     bool   // the body is still to be read from conn
	gotBytes bool
	acted    bool // an earlier connection had so much of the message that its backend may act on it
	tried    bool // something was read that is no short answer; the connection's Reader has it
	arrived  bool // arrive has read a short answer, and run must not wait
	unsent   int  // at most so many bytes did the kernel hold when they were last looked at; valid once sentAll
	reusable bool // conn can be used again once the answer is read
	ack      acknowledged

	// Its place among the legs of a key to one backend: order.go.
	hold        atomic.Int32 // how many it has to follow, and parkedBit
	patience    *time.Timer  // of a parked one
	crowded     bool         // too many wait already
	deferred    bool         // it does not wait; of launch
	unordered   bool         // and this one starts at once
	unsure      atomic.Bool  // an earlier one may still land there
	lacksSource atomic.Bool  // the backend has not got the source of the copy

	state    voteState
	err      error // why state is not votePositive
	outcome  string
	finished bool
	voted    bool       // its end was taken: what panics now is the request's
	tells    bool       // it has taken a write that was acknowledged before: the journal is told
	lane     *lane.Lane // of a large body, until the leg ends; nil for any other (leg_deferred.go)
	load     lane.Cargo // what it carries of that
	held     bool       // it was not asked, and has no slot (reads_race.go); under the request's mu once the legs run
	asked    int64      // when, by the engine's clock; 0 before
	headAt   int64      // when its answer's head had come; 0 where all of the answer came with it
	received int64      // bytes of the answer
	failure  Result
	took     time.Duration // until it had ended, where somebody watches (slow.go)
}

// farFuture tells the limiter that a leg does not wait for its backend.
const farFuture = math.MaxInt64

var errStalled = errors.New("stalled: it held the others back for longer than StallTimeout, or would have")

func (l *leg) reset(r *request, index, backend int, slot int32) {
	l.r, l.index, l.backend, l.slot = r, index, backend, slot
	if l.sent == nil {
		l.sent, l.begun = make(chan struct{}, 1), make(chan bool, 1)
		l.runFn = l.run
		l.sendFn = l.send
		l.arriveFn = l.arrive
		l.onTheWayFn = l.onTheWay
	}
	l.unsent = 0
}

// clear forgets everything but the leg's buffers.
func (l *leg) clear() {
	if cap(l.buf) > keptBuffer {
		l.buf = nil
	}
	l.r, l.conn, l.sendTo, l.cause = nil, nil, nil, nil
	l.inline, l.sending, l.begins, l.pushing, l.sendErr = false, false, false, false, nil
	if len(l.begun) > 0 { // nobody has waited for it
		<-l.begun
	}
	if l.aborted.Load() {
		l.aborted.Store(false)
	}
	l.sentAll.Store(false)
	l.buf, l.body, l.answer = l.buf[:0], nil, http1.Answer{}
	l.open, l.gotBytes, l.reusable, l.finished, l.acted = false, false, false, false, false
	l.tried, l.arrived, l.voted, l.lost, l.sentSize = false, false, false, false, 0
	l.held, l.asked, l.headAt, l.received, l.failure, l.took = false, 0, 0, 0, ResultNone, 0
	l.clearTurn()
	l.lane = nil
	l.state, l.err, l.outcome, l.ack = votePending, nil, "", acknowledged{}
}

func (l *leg) name() string { return l.r.e.o.Backends[l.backend].Name() }

// progress tells the limiter that bytes have moved.
func (l *leg) progress() { l.r.e.o.Limiter.Progress(l.backend, l.slot, l.r.e.now()) }

// setConn makes c the leg's connection. An abort from then on reaches it; one that came
// before shows in aborted.
func (l *leg) setConn(c Conn) {
	l.mu.Lock()
	l.conn = c
	l.mu.Unlock()
}

// arrive is what the connection runs when something has come (Conn.Await): it takes the leg
// to its end, where that need not wait for anything, as for a short answer to a message that
// has gone. Whatever may wait is next.
func (l *leg) arrive() (next func()) {
	defer l.recoverLeg()
	gone := l.inline && l.sendErr == nil || l.sending && l.sentAll.Load() && len(l.sent) > 0
	if gone && !l.aborted.Load() {
		l.arrived = l.receiveShort(l.conn, false)
	}
	if l.arrived && !l.timedOut(l.conn) && !l.mayBeUndone() {
		return l.runOn()
	}
	return l.runFn
}

// run takes the leg to its end.
func (l *leg) run() {
	if next := l.runOn(); next != nil {
		next()
	}
}

// runOn is run but for what of the leg's end may wait for something.
func (l *leg) runOn() (next func()) {
	defer l.recoverLeg()
	err := l.orLost(l.exchange(false))
	if l.stale(err) && l.r.message.Rewind(l.index) {
		if err = l.restart(); err == nil {
			err = l.orLost(l.exchange(true))
		}
	}
	if err != nil {
		l.r.message.Detach(l.index) // with an answer it has left
	} else if l.mayBeUndone() {
		err = l.awaitDecision()
	}
	l.conclude(err)
	return l.r.legEnded(l)
}

// exchange sends the message and reads the answer, on an idle connection or a
// fresh one. When it returns, nothing is being sent any more.
func (l *leg) exchange(fresh bool) error {
	c, err := l.connect(fresh)
	if err == nil {
		if !l.inline && !l.sending {
			if message, whole := l.r.message.Whole(); whole && l.sentSize == 0 && l.mayHaveWhole() {
				l.inline = l.trySend(c, message)
			}
			if !l.inline {
				l.startSending(c, fresh)
			}
		}
		switch {
		case l.refused():
			err = l.sendErr
		case l.sending && !l.awaitBegin():
			<-l.sent
			l.sending, err = false, l.sendErr
		default:
			err = l.receive(c)
		}
	}
	if l.sending { // since sendAtOnce, maybe
		l.sendTo.Abort()
		l.stopSending()
	}
	if err != nil && l.sendErr != nil && !l.gotBytes && !errors.Is(l.sendErr, body.ErrLeft) && isTimeout(err) {
		return l.sendErr // the reader was only cut short by it
	}
	return err
}

// connect makes the leg's connection: the one that sendAtOnce took, an idle one
// that is alive, or a new one.
func (l *leg) connect(fresh bool) (Conn, error) {
	c := l.conn
	if c == nil {
		var err error
		if c, err = l.r.e.o.Backends[l.backend].Acquire(fresh); err != nil {
			return nil, err
		}
		l.setConn(c)
	}
	if cause := l.why(); cause != nil {
		return nil, cause
	}
	var err error
	if c.Reused() {
		err = c.Connect()
	} else {
		err = l.dial(c)
	}
	if err != nil {
		return c, &connectError{err}
	}
	return c, nil
}

// connectError: there was no connection, so that no byte of the request has gone.
type connectError struct{ error }

func (e *connectError) Unwrap() error { return e.error }

// stale reports whether err is a kept-alive connection that the backend had closed
// meanwhile (R12), or has sent something unasked on (R32): no byte of an answer came but a
// 408 or more than an answer, and nobody here ended it.
//
// A POST of which something was sent may have been acted on (R33), but not one that was
// answered 408: that says that the request did not come (RFC 9110 §15.5.9).
func (l *leg) stale(err error) bool {
	if err == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil || l.conn == nil || !l.conn.Reused() {
		return false
	}
	if errors.Is(err, errTimedOut) {
		return true
	}
	if l.gotBytes && !errors.Is(err, errSurplus) || l.mayHaveActed() {
		return false
	}
	// A condition that this very write has made fail would be refused the second time.
	if l.isDecider() && l.sentAll.Load() {
		return false
	}
	return errors.Is(err, errSurplus) || errors.Is(err, errUnasked) || errors.Is(err, errLost) ||
		errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// restart puts the leg back to where it was before it had a connection.
func (l *leg) restart() error {
	l.giveBack(false)
	l.acted = l.acted || l.answer.Status != 408 && l.mayHaveStored()
	l.inline, l.sendErr, l.tried, l.arrived, l.gotBytes = false, nil, false, false, false
	l.answer, l.body = http1.Answer{}, nil
	l.sentAll.Store(false)
	l.sentSize, l.unsent, l.lost = 0, 0, false
	return l.r.message.Refill(l.index)
}
