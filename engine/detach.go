package engine

import (
	"errors"
	"io"
	"slices"
)

// Once the body of a request has been read, and its answer is most likely to be short, its handler
// leaves it before it is decided. The leg that decides the request answers the client from its own
// goroutine. So the answer waits for no other goroutine to be scheduled, and the server's
// goroutine already waits for the client's next request.
//
// The client's connection knows about the answer that is still owed: until that is sent, the next
// request does not begin, no other answer is written, and Close is postponed.

// detach leaves the request to whoever decides it, unless it is decided already. If it returns
// true, the handler must not touch the request any more.
func (r *request) detach() bool {
	if r.client.way != detachable || !r.head.isAnsweredShortly() || r.e.stopping.Load() || r.client.wasInterrupted() {
		return false
	}
	// No leg may wait for a disk here: its connection may carry another request already.
	if r.mayWaitForIntent() {
		return false
	}
	return r.tryDetach()
}

// answerDetached answers on the goroutine of the leg that decided the request. That goroutine must
// not wait, neither for the client nor for what another leg writes to the journal.
func (r *request) answerDetached() {
	defer r.recoverAnswer()
	waits, unwritten := r.beginPromise()
	if waits {
		go func() { r.sendDetached(r.awaitSettled()) }()
		return
	}
	r.sendDetached(unwritten)
}

func (r *request) sendDetached(unwritten error) {
	defer r.recoverAnswer()
	last := r.e.stopping.Load()
	var answer []byte
	var instead *s3Error
	if l := r.winner(); l != nil {
		instead = r.overruled(l)
	}
	switch {
	case unwritten != nil:
		r.winner().dispose() // not to be acknowledged (R20)
		last = true
		answer = r.makeError(errJournal, last)
	case r.winner() == nil:
		answer = r.makeError(r.noAnswer(), last)
	case instead != nil:
		r.winner().dispose()
		answer = r.makeError(instead, last)
	case r.winner().open:
		go r.streamFn()
		return
	default:
		answer = r.makeShort(last)
	}
	n, err := r.client.conn.sendNow(answer)
	if err == nil && n < len(answer) {
		r.client.out = append(r.client.out[:0], answer[n:]...)
		r.client.last = last
		go r.sendRestFn()
		return
	}
	r.answerDone(err, last)
}

// sendRest sends the part of a short answer that the socket did not take at once.
func (r *request) sendRest() {
	defer r.recoverAnswer()
	_, err := r.client.conn.send(r.client.out)
	r.answerDone(err, r.client.last)
}

// makeError is makeShort for an answer of the proxy's own.
func (r *request) makeError(problem *s3Error, last bool) []byte {
	var size int
	r.client.out, size = r.e.telling(problem).append(r.client.out[:0], r.head.name(), r.head.resource(), r.head.method, last)
	r.answeredWith(problem.status)
	r.unhandle(int64(size))
	return r.client.out
}

// stream answers with what is still arriving from the winner.
func (r *request) stream() {
	defer r.recoverAnswer()
	last := r.e.stopping.Load()
	r.answerDone(r.sendOpen(senderTo{r.client.conn}, last), last)
}

// sendOpen sends it as the backend does, except for hop-by-hop fields; in chunks if its length is
// not known (RFC 9112 §7.1).
func (r *request) sendOpen(client io.Writer, last bool) error {
	l := r.winner()
	chunked := l.answer.Length < 0 && !r.client.isOld()
	body := newAnswerBody(l, l.conn, l.conn.Reader())
	body.onEnd, body.onClose, body.listing = r.letNextFn, r.logAccessFn, r.head.isListing()
	defer func() { _ = body.Close() }()
	r.answeredWith(l.answer.Status)
	r.client.out = r.appendHead(r.client.out[:0], last, chunked)
	if _, err := client.Write(r.client.out); err != nil {
		return err
	}
	to := client
	if chunked {
		to = &chunkWriter{to: client}
	}
	_, err := body.WriteTo(to)
	if err == nil && chunked {
		_, err = client.Write([]byte("0\r\n\r\n"))
	}
	if errors.Is(err, errAnswerCut) {
		r.e.o.Log.Warn("cannot send an answer to its end", "error", err.Error(), "id", r.head.name())
	}
	return err
}

// chunkWriter turns each Write, which must not be empty, into a chunk.
type chunkWriter struct {
	to  io.Writer
	buf []byte
}

func (w *chunkWriter) Write(p []byte) (int, error) {
	w.buf = slices.Grow(w.buf[:0], len(p)+chunkFrame)[:len(p)+chunkFrame]
	copy(w.buf[chunkDigits+2:], p)
	if _, err := w.to.Write(w.buf[:frameChunk(w.buf, len(p))]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// answerDone records that the client has its answer, or can no longer get it.
func (r *request) answerDone(err error, last bool) {
	r.client.served = wasAnswered
	r.client.conn.answerSent(err != nil || last)
	r.release()
}

// senderTo writes to a client past the server.
type senderTo struct{ c *clientConn }

func (s senderTo) Write(p []byte) (int, error) { return s.c.send(p) }
