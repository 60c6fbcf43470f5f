package engine

import (
	"errors"
	"io"
	"time"

	"github.com/akubra/akubra/engine/body"
)

// lateAnswerWait is how long to wait for the answer of a backend that has stopped taking the body.
const lateAnswerWait = time.Second

// sendAtOnce begins to send on an idle connection, a complete message as far as that goes without
// waiting, and leaves the answer to whoever sees it arrive (arrive). If it returns false, the
// caller has to start run.
//
// Acquire has just looked at the connection, so whatever arrives as an answer comes after the
// request (R32).
func (l *leg) sendAtOnce(message body.Chunk, whole bool) (runs bool) {
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
	case l.r.message.IsPassing():
		l.startPushing(c)
	default:
		l.startSending(c, false)
	}
	return !l.refused() && c.Await(l.arriveFn)
}

// refused reports whether a kept-alive connection has taken nothing of the message because the
// backend had closed it before. There is no answer to read, and waiting for one might be in vain,
// because whatever ended the connection may have come earlier.
func (l *leg) refused() bool { return l.inline && l.sendErr != nil && l.conn.Reused() }

// trySend sends a complete message if the socket takes it at once. What the socket does not take
// is left to send, and an error is left to whoever reads.
func (l *leg) trySend(c Conn, message body.Chunk) (all bool) {
	timeout, size := l.r.o.ConnectionTimeout, message.Len()
	// A small message goes out in one write; a larger one must not (R31). Over TLS nothing is sent
	// here, and the connection stays as the last request left it.
	if l.plain() {
		c.Guard(size > body.ShortMessage)
	}
	all, err := l.sendChunks(c, message, 0, false)
	switch {
	case err != nil:
		l.sendErr = err
		timeout = min(timeout, lateAnswerWait)
	case !all:
		return false
	default:
		l.r.message.Emptied(l.index)
	}
	if n := int(l.sentSize); n > body.ShortMessage {
		l.unsent = n // as far as is known without asking
	}
	l.sentAll.Store(err == nil)
	c.ReadTimeout(timeout)
	return true
}

// plain reports whether the connection to the backend is without TLS.
func (l *leg) plain() bool { return l.r.e.o.Backends[l.backend].Plain() }

// startSending leaves what has not been sent yet to the send goroutine.
func (l *leg) startSending(c Conn, fresh bool) {
	l.beginSend(c, c.Reused() && !fresh)
	l.begins = l.sentSize == 0 // first: send looks at it
	go l.sendFn()
}

// awaitBegin waits until the send goroutine has sent something, and reports whether it has.
// Nothing may be read before: it would be taken for an answer, and the send goroutine's look at
// the connection would no longer find it (R32).
func (l *leg) awaitBegin() bool {
	if !l.begins {
		return true
	}
	begun := <-l.begun
	l.begins = false
	return begun
}

// beginSend and endSend bracket what is sent while run reads. Until the whole message has been
// sent there is no deadline for the answer.
func (l *leg) beginSend(c Conn, retryable bool) {
	l.sending = true
	c.Guard(true)
	c.ReadTimeout(0)
	l.sendTo, l.retryable = c, retryable
}

// stopSending ends the send goroutine and waits for it. Its connection must have been made to fail
// before.
func (l *leg) stopSending() {
	l.leave()
	l.awaitBegin()
	<-l.sent
	l.sending = false
}

// errUnasked: the connection turned out to be unusable before anything was sent.
var errUnasked = errors.New("connection closed, or something came on it, before the request was sent")

// send writes the message from the ring to the connection that exchange has opened.
func (l *leg) send() {
	defer l.recoverSend()
	begins, err := l.begins, error(nil)
	if begins && !l.sendTo.Alive() {
		err = errUnasked
	} else {
		_, err = l.sendChunks(l.sendTo, body.Chunk{}, l.r.o.ConnectionTimeout, begins)
	}
	if begins && l.sentSize == 0 {
		l.begun <- false
	}
	l.endSend(err)
}

// endSend records how sending has ended, and sets the deadline for the answer.
func (l *leg) endSend(err error) {
	c := l.sendTo
	l.sendErr = err
	timeout := l.r.o.ConnectionTimeout
	if err == nil {
		l.unsent = c.Unsent()
		l.sentAll.Store(true)
	} else {
		if !l.retryable {
			l.r.message.Detach(l.index)
		}
		// What the backend has to say about this is there already, or never will be.
		timeout = min(timeout, lateAnswerWait)
	}
	c.ReadTimeout(timeout)
	l.sent <- struct{}{}
}

// sendChunks sends the message to its end. It waits for the client, and for patience at a time for
// the backend; that is for the send goroutine. With a patience of 0, for callers that must not
// wait, it sends what the socket takes of chunk at once; all reports whether that was everything.
// begins: the first bytes sent are to be announced through begun.
func (l *leg) sendChunks(c Conn, chunk body.Chunk, patience time.Duration, begins bool) (all bool, err error) {
	m, piece := &l.r.message, body.SendPiece
	if patience > 0 && !l.plain() {
		piece = body.TLSPiece
	}
	for {
		if patience > 0 {
			// Waiting for the client is not the backend's fault (R13).
			l.r.e.o.Limiter.Progress(l.backend, l.slot, farFuture)
			chunk, err = m.Next(l.index)
			l.progress()
			if err == io.EOF {
				return true, nil
			}
			if err != nil {
				return false, err
			}
		}
		var n int
		switch {
		case chunk.Piped > 0:
			n, err = c.SplicePipe(m.Pipe(l.index), chunk.Piped, chunk.More, patience)
		case patience > 0:
			n, err = c.Send(chunk.Bytes[:min(len(chunk.Bytes), piece)], patience)
		default:
			n, err = c.TryWrite(chunk.Bytes)
		}
		l.sentSize += int64(n)
		l.noteLane(n)
		chunk.Skip(n)
		if err == nil && chunk.Whole && chunk.Len() == 0 {
			return true, nil // the ring is complete, and nobody waits for room in it
		}
		if begins && n > 0 {
			begins = false
			l.begun <- true
		}
		m.Advance(l.index, n)
		switch {
		case err != nil:
			return false, err
		case patience > 0:
		case chunk.Len() == 0:
			return true, nil
		case n == 0 || chunk.Piped == 0:
			return false, nil
		}
	}
}
