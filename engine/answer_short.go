package engine

import (
	"strconv"

	"github.com/akubra/akubra/http1"
)

// An answer that is whole in memory goes to a client of plain HTTP/1.1 as the backend
// sent it, in one write that never waits: no second parsing of its head, no copy of it.
// What is still coming, what ends a connection, and what goes over TLS or to HTTP/1.0 is
// left to answer_pass.go.

// isShort reports whether the answer is such a one. The handler's goroutine calls it, once
// the request is decided.
func (r *request) isShort() bool {
	if !r.direct || r.winner < 0 || r.e.stopping.Load() || r.client.interrupted() || r.method == "OPTIONS" {
		return false
	}
	l := &r.legs[r.winner]
	return !l.open && !r.ownerMayBeOut(l) && !r.sourceIsOwed(l)
}

// answerShort sends it, and lets go of the request for the handler.
func (r *request) answerShort() error {
	r.client.void = true
	r.client.endRequest(r.bodySize.Load())
	answer := r.makeShort(false)
	n, err := r.client.sendNow(answer)
	if err == nil && n < len(answer) {
		_, err = r.client.send(answer[n:])
	}
	r.notServing()
	r.release()
	return err
}

// makeShort gives the winner's answer as it is to be sent: where it need not change, in
// the leg's memory, else in out. To metrics and access log it is as good as sent then.
func (r *request) makeShort(last bool) []byte {
	l := &r.legs[r.winner]
	a := &l.answer
	if r.isListing() {
		r.learnPages(new(pageScanner), l.body, l.backend)
	}
	r.answeredWith(a.Status)
	r.unhandle(int64(len(l.body)))
	framed := a.Length >= 0 || http1.Bodyless(r.method, a.Status)
	if r.e.passesOn(a) && framed && !last && !r.old {
		return l.buf
	}
	r.out = r.appendHead(r.out[:0], last, false)
	if !framed {
		r.out = append(r.out[:len(r.out)-2], "Content-Length: "...)
		r.out = strconv.AppendInt(r.out, int64(len(l.body)), 10)
		r.out = append(r.out, "\r\n\r\n"...)
	}
	r.out = append(r.out, l.body...)
	return r.out
}

// appendHead appends the head of the winner's answer, with what the proxy has to say of
// the connection and of the body's coding.
func (r *request) appendHead(dst []byte, last, chunked bool) []byte {
	dst = r.e.appendAnswerHead(dst, &r.legs[r.winner].answer, r.method)
	dst = dst[:len(dst)-2] // the blank line
	switch {
	case last:
		dst = appendField(dst, "Connection", "close")
	case r.old:
		dst = appendField(dst, "Connection", "keep-alive")
	}
	if chunked {
		dst = appendField(dst, "Transfer-Encoding", "chunked")
	}
	return append(dst, "\r\n"...)
}
