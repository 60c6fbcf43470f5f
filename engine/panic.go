package engine

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/valyala/fasthttp"
)

// A panic is a programmer's mistake. It ends one request, not the process or its shutdown (R22):
// whoever recovers does what the goroutine was there to finish. The handler's ends its part of the
// request, a leg's ends the leg as a failed one. What they were about to write down counts as not
// written, so nothing is acknowledged because of it (R20).

// errPanicked is why a leg or a write has failed.
var errPanicked = errors.New("internal error")

// warnOfPanic logs a panic; if the log itself panicked, nobody hears of it.
func (e *Engine) warnOfPanic(p any, doing string) {
	defer func() { _ = recover() }()
	e.o.Log.Warn("panic while "+doing, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

// attempt runs a step of the clean-up, in which whatever panicked may do so again.
func (e *Engine) attempt(step func()) {
	defer e.recoverStep("ending a request")
	step()
}

// recoverStep, deferred, ends a step with its panic.
func (e *Engine) recoverStep(doing string) {
	if p := recover(); p != nil {
		e.warnOfPanic(p, doing)
	}
}

// recoverHandler keeps a handler's panic from ending the process: the server does not recover.
func (e *Engine) recoverHandler(ctx *fasthttp.RequestCtx) {
	p := recover()
	if p == nil {
		return
	}
	e.warnOfPanic(p, "handling a request")
	e.attempt(func() {
		// This ends an answer that was to be streamed, and with it the handler's part.
		e.telling(errInternal).send(ctx, e.newID().String())
	})
	if c := clientOf(ctx); c != nil {
		c.beforeWait, c.beforeSplice, c.spliceTo = nil, nil, 0
		if r := c.serving; r != nil {
			c.serving = nil
			r.giveUp()
		}
	}
	lingerOnClose(ctx)
	ctx.SetConnectionClose()
}

// giveUp ends the handler's part of a request in which it has panicked, wherever that was. A write
// whose body was not read to its end is on no backend (R6). If it was, its legs go on, and their
// results are written down like those of any write that nobody was told about.
func (r *request) giveUp() {
	e := r.e
	switch {
	case !r.message.Started():
		e.attempt(r.neverLaunched)
	case !r.isBodyRead():
		e.attempt(r.abort)
		r.failUnlaunched()
	default:
		e.attempt(r.forgoAnswer)
		r.failUnlaunched()
	}
	e.attempt(func() {
		if !r.client.wasTold() {
			r.answeredWith(errInternal.status)
		}
	})
	e.attempt(func() { r.letNext() })
	e.attempt(r.release)
}

// neverLaunched ends a request that no backend has heard of.
func (r *request) neverLaunched() {
	for i := range r.legs {
		r.e.attempt(r.legs[i].neverRan)
	}
	if r.message.Exists() {
		r.message.Cancel()
	}
	r.leaveOverlaps()
}

// forgoAnswer leaves the client without a backend's answer.
func (r *request) forgoAnswer() {
	r.disposeOf(r.forgo())
	r.endPromising()
}

// endPromising does what is left to do by a goroutine that has panicked while writing an intent:
// the last leg may have left its part to it.
func (r *request) endPromising() {
	if r.dropIntent() {
		r.settleSafely((*request).settleJournal)
	}
}

// failUnlaunched ends the legs that launch did not get to.
func (r *request) failUnlaunched() {
	if l := r.unlaunchedDecider(); l != nil {
		go l.fail() // which ends the others
		return
	}
	for i := r.started; i < r.launched; i++ {
		l := &r.legs[i]
		go l.fail()
	}
}

// recoverLeg ends the leg on whose goroutine it is deferred, if that has panicked before the leg
// had its vote. That may be a poller's goroutine, which must not wait.
func (l *leg) recoverLeg() {
	if p := recover(); p != nil {
		l.r.e.warnOfPanic(p, "running a leg")
		if !l.voted {
			go l.fail()
		}
	}
}

// fail ends a leg whose own way to its end has panicked, or was never begun.
func (l *leg) fail() {
	l.arrived = false // this goroutine may wait
	l.abort(errPanicked)
	if l.sending {
		l.stopSending()
	}
	l.r.message.Detach(l.index)
	l.state, l.err, l.outcome = voteFailed, errPanicked, OutcomeFailed
	l.r.e.attempt(func() { l.finish(false) })
	if next := l.r.legEnded(l); next != nil {
		next()
	}
}

// recoverSend ends sending that has panicked: the goroutine that reads the answer must not be left
// waiting.
func (l *leg) recoverSend() {
	if p := recover(); p != nil {
		l.r.e.warnOfPanic(p, "sending to a backend")
		l.sendErr = errPanicked
		l.abort(errPanicked)
		select {
		case l.begun <- false:
		default:
		}
		l.sent <- struct{}{}
	}
}

// finishStreamed is finish for a goroutine of the server's, which does not recover.
func (l *leg) finishStreamed(reuse bool) {
	defer l.r.e.recoverStep("ending an answer")
	l.finish(reuse)
}

// countLegsEnded is for settle, which must go on whatever happens to it.
func (r *request) countLegsEnded() {
	defer r.e.recoverStep("settling a request")
	whole := r.head.age()
	r.e.o.Metrics.LegsEnded(whole)
	if whole >= slowAtLeast && r.e.slow.watched.Load() {
		r.noteSlow(whole)
	}
}

// settleSafely runs settle, or a part of it, so that a panic leaves nothing behind that others
// wait for.
func (r *request) settleSafely(settle func(*request)) {
	defer func() {
		if p := recover(); p != nil {
			r.e.warnOfPanic(p, "settling a request")
			r.neverSettled()
		}
	}()
	settle(r)
}

// neverSettled ends a write whose end could not be written down: nobody is told that it succeeded.
// The goroutine that answers is not kept waiting.
func (r *request) neverSettled() {
	if r.forceSettled() {
		r.leaveOverlaps()
	}
}

// recoverAnswer settles what a detached request owes its client if answering has panicked: it
// closes the connection, because part of the answer may have been sent.
func (r *request) recoverAnswer() {
	p := recover()
	if p == nil {
		return
	}
	r.e.warnOfPanic(p, "answering a request")
	if r.client.isAnswered() {
		return // and let go of
	}
	r.e.attempt(r.forgoAnswer)
	r.e.attempt(func() { r.letNext() })
	r.e.attempt(func() { r.answerDone(errPanicked, true) })
}
