package engine

import "strconv"

// An answer that is completely in memory goes to a client of plain HTTP/1.1 as the backend sent
// it, in one write that never waits: its head is neither parsed again nor copied. Answers that are
// still arriving, that end the connection, or that go over TLS or to HTTP/1.0 are left to
// answer_pass.go.

// isShort reports whether the answer is of that kind. The handler's goroutine calls it once the
// request is decided.
func (r *request) isShort() bool {
	l := r.winner()
	if r.client.way != detachable || l == nil || r.e.stopping.Load() || r.client.wasInterrupted() || r.head.isOptions() {
		return false
	}
	return !l.open && r.overruled(l) == nil
}

// answerShort sends such an answer and releases the request on the handler's behalf.
func (r *request) answerShort() error {
	r.client.conn.dropNext = true
	r.client.conn.endRequest(r.message.BodySize())
	answer := r.makeShort(false)
	n, err := r.client.conn.sendNow(answer)
	if err == nil && n < len(answer) {
		_, err = r.client.conn.send(answer[n:])
	}
	r.notServing()
	r.release()
	return err
}

// makeShort returns the bytes of the winner's answer: in the leg's memory if it need not be
// changed, else in out. For metrics and the access log it counts as sent from then on.
func (r *request) makeShort(last bool) []byte {
	l := r.winner()
	a := &l.answer
	if r.head.isListing() {
		r.learnPages(new(pageScanner), l.body, l.backend)
	}
	r.answeredWith(a.Status)
	r.unhandle(int64(len(l.body)))
	framed := a.Length >= 0 || r.head.bodyless(a.Status)
	if r.o.passesOn(a) && framed && !last && !r.client.isOld() && !l.isBehind() {
		return l.buf
	}
	r.client.out = r.appendHead(r.client.out[:0], last, false)
	if !framed {
		r.client.out = append(r.client.out[:len(r.client.out)-2], "Content-Length: "...)
		r.client.out = strconv.AppendInt(r.client.out, int64(len(l.body)), 10)
		r.client.out = append(r.client.out, "\r\n\r\n"...)
	}
	r.client.out = append(r.client.out, l.body...)
	return r.client.out
}

// appendHead appends the head of the winner's answer, with what the proxy has to say about the
// connection and the body's coding.
func (r *request) appendHead(dst []byte, last, chunked bool) []byte {
	dst = r.o.appendAnswerHead(dst, &r.winner().answer)
	dst = dst[:len(dst)-2] // the blank line
	if r.winner().isBehind() {
		r.e.o.Metrics.Read(ReadStale)
		dst = appendField(dst, "X-Akubra-Stale", "1")
	}
	switch {
	case last:
		dst = appendField(dst, "Connection", "close")
	case r.client.isOld():
		dst = appendField(dst, "Connection", "keep-alive")
	}
	if chunked {
		dst = appendField(dst, "Transfer-Encoding", "chunked")
	}
	return append(dst, "\r\n"...)
}
