package engine

import (
	"errors"
	"io"
	"slices"

	"github.com/akubra/akubra/s3"
)

// A request whose body has been read, and whose answer is most likely a short one, is
// left by its handler before it is decided. The leg that decides it answers the client
// from its own goroutine, so that the answer waits for no other one to be scheduled, and
// the server's goroutine waits for the client's next request meanwhile.
//
// The client's connection knows of the answer that is still owed: until that is paid,
// the next request does not begin, no other answer is written, and Close is put off.

// detach leaves the request to who decides it, unless that has happened already. After
// a true the handler may not touch the request any more.
func (r *request) detach() bool {
	if !r.direct || r.kind != s3.KindPlain || r.method == "GET" || r.target.Selects || r.method == "OPTIONS" || r.e.stopping.Load() {
		return false
	}
	// Nobody's leg is to wait for a disk: its connection may have another request already.
	if r.journaled() && r.e.o.Journal.Waits() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.decided || !r.bodyRead { // each leg may have left before the body's end (R9)
		return false
	}
	r.client.owe()
	r.client.endRequest(r.bodySize.Load())
	r.detached = true
	r.notServing()
	return true
}

// answerDetached answers, on the goroutine of the leg that decided the request. That
// one must not wait for the client, either, nor for what another leg writes down.
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
	switch {
	case unwritten != nil:
		r.legs[r.winner].dispose() // not to be acknowledged (R20)
		last = true
		answer = r.makeError(errJournal, last)
	case r.winner < 0:
		answer = r.makeError(r.noAnswer(), last)
	case r.legs[r.winner].open:
		go r.streamFn()
		return
	default:
		answer = r.makeShort(last)
	}
	n, err := r.client.sendNow(answer)
	if err == nil && n < len(answer) {
		r.out = append(r.out[:0], answer[n:]...)
		r.last = last
		go r.sendRestFn()
		return
	}
	r.paid(err, last)
}

// sendRest sends what of a short answer the socket has not taken at once.
func (r *request) sendRest() {
	defer r.recoverAnswer()
	_, err := r.client.send(r.out)
	r.paid(err, r.last)
}

// makeError is makeShort for an answer of the proxy's own.
func (r *request) makeError(problem *s3Error, last bool) []byte {
	var size int
	r.out, size = problem.append(r.out[:0], r.id.String(), string(r.raw), r.method, last)
	r.answeredWith(problem.status)
	r.unhandle(int64(size))
	return r.out
}

// stream answers with what is still coming from the winner.
func (r *request) stream() {
	defer r.recoverAnswer()
	last := r.e.stopping.Load()
	r.paid(r.sendOpen(senderTo{r.client}, last), last)
}

// sendOpen sends it as the backend does, but for what is hop-by-hop, and in chunks where
// its length is not known (RFC 9112 §7.1).
func (r *request) sendOpen(client io.Writer, last bool) error {
	l := &r.legs[r.winner]
	chunked := l.answer.Length < 0 && !r.old
	body := newAnswerBody(l, l.conn, l.conn.Reader())
	body.onEnd, body.onClose, body.listing = r.letNextFn, r.logAccessFn, r.isListing()
	defer func() { _ = body.Close() }()
	r.answeredWith(l.answer.Status)
	r.out = r.appendHead(r.out[:0], last, chunked)
	if _, err := client.Write(r.out); err != nil {
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
		r.e.o.Log.Warn("cannot send an answer to its end", "error", err.Error(), "id", r.id.String())
	}
	return err
}

// chunkWriter makes a chunk of each Write, which must not be empty.
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

// paid notes that the client has its answer, or cannot have it.
func (r *request) paid(err error, last bool) {
	r.isPaid = true
	r.client.pay(err != nil || last)
	r.release()
}

// senderTo writes to a client past the server.
type senderTo struct{ c *clientConn }

func (s senderTo) Write(p []byte) (int, error) { return s.c.send(p) }
