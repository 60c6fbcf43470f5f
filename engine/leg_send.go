package engine

import (
	"errors"
	"io"
	"time"

	"github.com/akubra/akubra/engine/ring"
)

// sendPiece is the most that one write hands to the socket: the ring's room is
// free again after each. Larger pieces cost less CPU (bench/NOTES.md).
const sendPiece = 256 << 10

// tlsPiece is the same over TLS, where a write that times out spoils the
// connection: it is one record (RFC 8446 §5.1), so that any progress of a slow
// backend is a finished write (R11).
const tlsPiece = 16 << 10

// shortMessage is one that the kernel takes and hands over in a piece: it has gone by
// the time that anybody asks.
const shortMessage = 16 << 10

// lateAnswerWait is how long the answer of a backend may take that has stopped
// taking the body.
const lateAnswerWait = time.Second

// sendAtOnce begins to send on an idle connection, a whole message as far as it
// goes without waiting, and leaves the answer to whoever sees it come (arrive). It is
// false where the caller has to start run.
//
// Acquire has looked at the connection just now, so that whatever comes in answer comes
// after the request (R32).
func (l *leg) sendAtOnce(message []byte, whole bool) (runs bool) {
	c, err := l.r.e.o.Backends[l.backend].Acquire(false)
	if err != nil {
		return false // run meets the same error
	}
	if l.setConn(c); l.aborted.Load() || !c.Reused() {
		return false
	}
	switch {
	case whole && l.trySend(c, message):
		l.inline = true
	case l.r.message.isPassing():
		l.startPushing(c)
	default:
		l.startSending(c, false)
	}
	return !l.refused() && c.Await(l.arriveFn)
}

// refused reports whether a kept-alive connection has taken nothing of the message,
// since the backend had ended it before. There is no answer to read: who waits for
// one may do so in vain, for what ended the connection may have come before.
func (l *leg) refused() bool { return l.inline && l.sendErr != nil && l.conn.Reused() }

// trySend sends a whole message, as message.whole has it, if the socket takes it at
// once. What it does not take is left to send; an error is left to whoever reads.
func (l *leg) trySend(c Conn, message []byte) (all bool) {
	timeout := l.r.e.o.ConnectionTimeout
	var n int
	var err error
	size, piped := len(message), l.r.message.gatheredSize()
	if piped > 0 {
		size = piped
	}
	// A small message goes out in one write; a larger one may not (R31). Over TLS nothing
	// goes out here, and the connection stays as the last request has left it.
	if l.r.e.o.Backends[l.backend].Plain() {
		c.Guard(size > shortMessage)
	}
	if piped > 0 {
		n, err = c.SplicePipe(l.r.message.pipe(l.index), size, false, 0)
		if n == size {
			l.r.message.emptied(l.index)
		}
	} else {
		n, err = c.TryWrite(message)
	}
	l.sentSize += int64(n)
	if n < size && err == nil {
		l.r.message.Advance(l.index, n)
		return false
	}
	if err != nil {
		l.sendErr = err
		timeout = min(timeout, lateAnswerWait)
	}
	if n > shortMessage {
		l.unsent = n // as far as is known without asking
	}
	l.sentAll.Store(err == nil)
	c.ReadTimeout(timeout)
	return true
}

// startSending leaves what is not sent yet to the send goroutine.
func (l *leg) startSending(c Conn, fresh bool) {
	l.beginSend(c, c.Reused() && !fresh)
	l.begins = l.sentSize == 0 // first: send looks at it
	go l.sendFn()
}

// awaitBegin waits until the send goroutine has sent something, and reports whether it
// has. Before that nothing is read: it would be taken for an answer, and the send
// goroutine's look at the connection would find nothing any more (R32).
func (l *leg) awaitBegin() bool {
	if !l.begins {
		return true
	}
	begun := <-l.begun
	l.begins = false
	return begun
}

// beginSend and endSend are around what is sent while run reads. Until the message has
// gone there is no deadline for the answer.
func (l *leg) beginSend(c Conn, retryable bool) {
	l.sending = true
	c.Guard(true)
	c.ReadTimeout(0)
	l.sendTo, l.retryable = c, retryable
}

// stopSending ends the send goroutine and waits for it. Its connection has been
// made to fail before.
func (l *leg) stopSending() {
	l.leave()
	l.awaitBegin()
	<-l.sent
	l.sending = false
}

// errUnasked: the connection cannot be used, which showed before anything was sent.
var errUnasked = errors.New("connection closed, or something came on it, before the request was sent")

// send writes the message from the ring to the connection that exchange has made.
func (l *leg) send() {
	defer l.recoverSend()
	begins, err := l.begins, error(nil)
	if begins && !l.sendTo.Alive() {
		err = errUnasked
	} else {
		err = l.sendRing(l.sendTo, begins)
	}
	if begins && l.sentSize == 0 {
		l.begun <- false
	}
	l.endSend(err)
}

// endSend notes how sending has ended, and arms the deadline for the answer.
func (l *leg) endSend(err error) {
	c := l.sendTo
	l.sendErr = err
	timeout := l.r.e.o.ConnectionTimeout
	if err == nil {
		l.unsent = c.Unsent()
		l.sentAll.Store(true)
	} else {
		if !l.retryable {
			l.r.message.Detach(l.index)
		}
		// What the backend has to say to this is there already, or never.
		timeout = min(timeout, lateAnswerWait)
	}
	c.ReadTimeout(timeout)
	l.sent <- struct{}{}
}

func (l *leg) sendRing(c Conn, begins bool) error {
	limiter, patience := l.r.e.o.Limiter, l.r.e.o.ConnectionTimeout
	piece := sendPiece
	if !l.r.e.o.Backends[l.backend].Plain() {
		piece = tlsPiece
	}
	for {
		// Waiting for the client is not the backend's fault (R13).
		limiter.Progress(l.backend, l.slot, farFuture)
		p, err := l.r.message.Next(l.index)
		l.progress()
		var n int
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, ring.ErrOutside):
			n = int(l.r.message.Pending(l.index))
			n, err = c.SplicePipe(l.r.message.pipe(l.index), n, l.r.goesOn(n), patience)
		case err != nil:
			return err
		default:
			n, err = c.Send(p[:min(len(p), piece)], patience)
		}
		l.sentSize += int64(n)
		if begins && n > 0 {
			begins = false
			l.begun <- true
		}
		l.r.message.Advance(l.index, n)
		if err != nil {
			return err
		}
	}
}
