package engine

import "strconv"

// An answer that is whole in memory goes to a client of plain HTTP/1.1 as the backend
// sent it, in one write past the server's own writer: no second parsing of its head, no
// copy of it. The server makes an answer for each request all the same, and writes it
// into the void (clientConn.void). What is still coming, what ends a connection, and
// what goes over TLS or to HTTP/1.0 is left to the server.

// isShort tells whether the answer is such a one. The handler's goroutine calls it, once
// the request is decided.
func (r *request) isShort() bool {
	if !r.direct || r.winner < 0 || r.e.stopping.Load() || r.client.interrupted.Load() || r.method == "OPTIONS" {
		return false
	}
	l := &r.legs[r.winner]
	return !l.open && !r.ownerMayBeOut(l)
}

// answerShort sends it, and lets go of the request for the handler.
func (r *request) answerShort() error {
	r.client.void = true
	r.client.endRequest(r.bodySize.Load())
	r.makeShort(false)
	n, err := r.client.sendNow(r.out)
	if err == nil && n < len(r.out) {
		_, err = r.client.send(r.out[n:])
	}
	r.release()
	return err
}

// makeShort puts the winner's answer into out, which is as good as sent from then on to
// metrics and access log.
func (r *request) makeShort(last bool) {
	l := &r.legs[r.winner]
	a := &l.answer
	r.out = r.e.appendAnswerHead(r.out[:0], a, r.method)
	r.out = r.out[:len(r.out)-2] // the blank line
	if a.contentLength < 0 && !bodyless(r.method, a.status) {
		r.out = append(r.out, "Content-Length: "...)
		r.out = strconv.AppendInt(r.out, int64(len(l.body)), 10)
		r.out = append(r.out, "\r\n"...)
	}
	if last {
		r.out = append(r.out, "Connection: close\r\n"...)
	}
	r.out = append(r.out, "\r\n"...)
	r.out = append(r.out, l.body...)
	if r.isListing() {
		r.learnPages(new(pageScanner), l.body, l.backend)
	}
	r.answeredWith(a.status)
	r.unhandle(int64(len(l.body)))
}
