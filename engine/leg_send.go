package engine

import (
	"errors"
	"io"
	"math"
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

// shortMessage is one that the kernel hands over in a piece.
const shortMessage = 16 << 10

// lateAnswerWait is how long the answer of a backend may take that has stopped
// taking the body.
const lateAnswerWait = time.Second

// sendAtOnce sends a whole message on an idle connection, as far as it goes
// without waiting. The handler's goroutine calls it before run.
//
// A POST is left to run, which looks first whether the connection is alive: it
// may not be harmless to send it twice, so stale connections should be rare.
func (l *leg) sendAtOnce(message []byte) {
	if l.r.method == "POST" {
		return
	}
	c, err := l.r.e.o.Backends[l.backend].Acquire(false)
	if err != nil {
		return // run meets the same error
	}
	if l.setConn(c) == nil && c.Reused() {
		l.inline = l.trySend(c, message)
	}
}

// trySend sends a whole message if the socket takes it at once. What it does not
// take is left to send; an error is left to whoever reads.
func (l *leg) trySend(c Conn, message []byte) (all bool) {
	now := time.Now()
	timeout := l.r.e.o.ConnectionTimeout
	_ = c.SetWriteDeadline(now.Add(timeout))
	n, err := c.TryWrite(message)
	l.sentSize.Add(int64(n))
	l.r.ring.Advance(l.index, n)
	if n < len(message) && err == nil {
		return false
	}
	if err != nil {
		l.sendErr = err
		timeout = min(timeout, lateAnswerWait)
	}
	l.noteUnsent(c)
	l.sentAll.Store(err == nil)
	_ = c.SetReadDeadline(now.Add(timeout))
	return true
}

// stopSending ends the send goroutine and waits for it. Its connection has been
// made to fail before.
func (l *leg) stopSending() {
	l.r.ring.Leave(l.index)
	<-l.sent
	l.sending = false
}

// send writes the message from the ring to the connection that exchange has made.
func (l *leg) send() {
	c := l.sendTo
	l.sendErr = l.sendRing(c)
	timeout := l.r.e.o.ConnectionTimeout
	if l.sendErr == nil {
		l.noteUnsent(c)
		l.sentAll.Store(true)
	} else {
		if !l.retryable {
			l.r.ring.Detach(l.index)
		}
		// What the backend has to say to this is there already, or never.
		timeout = min(timeout, lateAnswerWait)
	}
	_ = c.SetReadDeadline(time.Now().Add(timeout))
	l.sent <- struct{}{}
}

func (l *leg) sendRing(c Conn) error {
	limiter := l.r.e.o.Limiter
	piece := sendPiece
	if !l.r.e.o.Backends[l.backend].Plain() {
		piece = tlsPiece
	}
	for {
		// Waiting for the client is not the backend's fault (R13).
		limiter.Progress(l.backend, l.slot, farFuture)
		p, err := l.r.ring.Next(l.index)
		l.progress()
		var n int
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, ring.ErrOutside):
			n, err = l.splice(c, int(l.r.ring.Pending(l.index)))
		case err != nil:
			return err
		default:
			n, err = l.write(c, p[:min(len(p), piece)])
		}
		l.sentSize.Add(int64(n))
		l.r.ring.Advance(l.index, n)
		if err != nil {
			return err
		}
	}
}

// write sends p; the timeout counts from the last byte that the backend took
// (R11).
func (l *leg) write(c Conn, p []byte) (int, error) {
	done := 0
	for {
		_ = c.SetWriteDeadline(time.Now().Add(l.r.e.o.ConnectionTimeout))
		n, err := c.Write(p[done:])
		done += n
		if err == nil || !isTimeout(err) || n == 0 {
			return done, err
		}
		l.progress()
	}
}

// splice sends up to n bytes of what is in the leg's pipe; the timeout counts as
// in write.
func (l *leg) splice(c Conn, n int) (int, error) {
	for unsent := math.MaxInt; ; {
		_ = c.SetWriteDeadline(time.Now().Add(l.r.e.o.ConnectionTimeout))
		sent, err := c.SplicePipe(l.r.pipes.Reader(l.index), n)
		if err == nil || !isTimeout(err) || l.aborted() {
			return sent, err
		}
		left := c.Unsent()
		if left < 0 || left >= unsent {
			return sent, err
		}
		unsent = left
		l.progress()
	}
}

// noteUnsent remembers, at the end of sending, what the kernel still holds. A
// short message is not worth the question: it has gone by the time it matters.
func (l *leg) noteUnsent(c Conn) {
	if l.sentSize.Load() > shortMessage {
		l.unsent = c.Unsent()
	}
}
