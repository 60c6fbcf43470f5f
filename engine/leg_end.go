package engine

import (
	"errors"
	"time"

	"github.com/akubra/akubra/engine/body"
)

// How a leg is ended from outside, and what becomes of its answer, its connection and its slot.

// abort makes the leg fail with cause, from any goroutine.
func (l *leg) abort(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A backend that leaves the pool ends no answer (resume), but who does that may come after it.
	if l.cause == nil || errors.Is(l.cause, errDemoted) && (errors.Is(cause, errShutdown) || errors.Is(cause, errClientGone)) {
		l.cause = cause
		l.aborted.Store(true)
	}
	if l.conn != nil {
		l.conn.Abort()
	}
	l.leaveLocked()
	if l.unpark() {
		go l.endUnbegun(l.cause)
	}
}

// leave ends sending, from any goroutine: what has not gone by now does not go.
func (l *leg) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaveLocked()
}

func (l *leg) leaveLocked() {
	l.stopPushingLocked(body.ErrLeft)
	l.r.message.Leave(l.index)
}

// why is the cause of an abort, or nil.
func (l *leg) why() error {
	if !l.aborted.Load() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// maxDrained is the largest rest of an answer that nobody reads which is waited
// for, because a new connection costs more; drainTimeout bounds the wait.
const (
	maxDrained   = 1 << 20
	drainTimeout = time.Second
)

// dispose ends a leg whose answer nobody reads: a rest of it that is there already
// is thrown away, so that the connection can be used again (R5).
func (l *leg) dispose() {
	if !l.open || l.finished {
		return
	}
	n := l.answer.Length
	l.disposeOf(n > 0 && n <= int64(l.conn.Reader().Buffered()))
}

// drain is dispose for the leg's own goroutine, which can wait for a short rest.
func (l *leg) drain() {
	if !l.open || l.finished {
		return
	}
	l.conn.ReadTimeout(drainTimeout)
	l.progress()
	l.disposeOf(l.answer.Length > 0 && l.answer.Length <= maxDrained)
}

func (l *leg) disposeOf(short bool) {
	if short = short && l.reusable && !l.aborted.Load() && l.conn.Skip(l.answer.Length) == nil; short {
		l.received += l.answer.Length
	}
	l.finish(short)
}

// finish gives connection and slot back, once.
func (l *leg) finish(reuse bool) {
	if l.finished {
		return
	}
	l.finished, l.open = true, false
	l.giveBack(reuse)
	l.leaveLane()
	l.r.e.o.Limiter.End(l.backend, l.slot)
	l.count()
}

// neverRan ends a leg that was not started.
func (l *leg) neverRan() {
	if l.held {
		return
	}
	l.outcome = OutcomeAborted
	l.finish(false)
}

// giveBack lets go of the connection; an abort cannot reach it any more. Only one that
// has had the whole message, and an answer, may end in another way than by a reset (R31).
func (l *leg) giveBack(reuse bool) {
	l.mu.Lock()
	c := l.conn
	l.conn = nil
	aborted := l.cause != nil
	l.mu.Unlock()
	switch {
	case c == nil:
	case aborted || l.state == votePending || l.state == voteFailed || !l.sentAll.Load():
		c.Reset()
	case reuse:
		c.Release()
	default:
		c.Discard()
	}
}
