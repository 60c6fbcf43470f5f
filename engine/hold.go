package engine

import (
	"encoding/xml"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/http1"
	"github.com/akubra/akubra/s3"
)

// A copy or the completion of an upload may take minutes, and its answer counts only when it has
// been read to its end (R25): longer than clients wait for a sign of life. So the client gets what
// S3 would give it: after a while status 200 and the head, then white space, and at the end the
// document, which may be an <Error>.
//
// White space must not precede an XML declaration, so the declaration is sent first and removed
// from the document that follows.

// answerPulse is the time between two signs of life. The first one comes after a tenth of it if a
// backend has begun to answer with 200; if none has, after twice that, so that a backend can still
// refuse with a status of its own.
const answerPulse = 10 * time.Second

// awaitDecision waits until the request is decided and then answers, or begins the answer before
// that.
func (r *request) awaitDecision(ctx *fasthttp.RequestCtx) {
	if !r.head.isLate() {
		<-r.race.decided()
		r.answer(ctx)
		return
	}
	const silent = 20 // tenths of answerPulse
	pulse := time.NewTicker(r.e.o.answerPulse / 10)
	for waited := 1; ; waited++ {
		select {
		case <-r.race.decided():
			pulse.Stop()
			r.answer(ctx)
			return
		case <-pulse.C:
		}
		if !r.isDecided() && (r.begunHead() != nil || waited >= silent) && r.hold(ctx, pulse) {
			return
		}
	}
}

// hold answers from now on, past the server's writer, until the request is decided and the
// document has been sent. The head is the backend's if there is only one.
func (r *request) hold(ctx *fasthttp.RequestCtx, pulse *time.Ticker) bool {
	if !r.client.isThere() {
		return false
	}
	defer pulse.Stop()
	pulse.Reset(r.e.o.answerPulse)
	// HTTP/1.0 has no chunks: the connection's end is the body's (RFC 9112 §6.3).
	last := r.client.isOld() || r.e.stopping.Load() || r.client.wasInterrupted() || ctx.Request.Header.ConnectionClose()
	r.pastServer(ctx, func(to io.Writer) (bool, error) { return last, r.sendHeld(to, pulse, last) })
	return true
}

// sendHeld sends the head, white space until the request is decided, and then the document.
func (r *request) sendHeld(to io.Writer, pulse *time.Ticker, last bool) error {
	_, err := to.Write(r.heldHead(last))
	body, end := to, []byte(nil)
	if !r.client.isOld() {
		body, end = &chunkWriter{to: to}, []byte("0\r\n\r\n")
	}
	size := int64(0)
	send := func(p []byte) {
		if err == nil && len(p) > 0 {
			size += int64(len(p))
			_, err = body.Write(p)
		}
	}
	send([]byte(xml.Header))
	for waits := true; waits; {
		// Even if the client has gone, the write goes on to its end.
		select {
		case <-r.race.decided():
			waits = false
		case <-pulse.C:
			send([]byte{' '})
		}
	}
	document := r.heldDocument()
	r.unhandle(size + int64(len(document)))
	send(document)
	if err == nil {
		_, err = to.Write(end)
	}
	if err != nil && r.client.isOld() {
		r.client.breakOff() // a plain end would be the end of a whole answer
	}
	return err
}

// heldHead is the head of an answer that is held.
func (r *request) heldHead(last bool) []byte {
	var a http1.Answer
	raw := r.begunHead()
	if raw == nil || len(r.legs) > 1 || a.Parse(raw) != nil {
		raw = append([]byte(nil), "HTTP/1.1 200 OK\r\n"...)
		raw = appendField(raw, "Content-Type", "application/xml")
		raw = appendField(raw, "X-Amz-Request-Id", r.head.name())
		_ = a.Parse(append(raw, "\r\n"...))
	}
	// Its length is not known yet, whatever the backend says.
	a.Chunked, a.Length, a.Changes = true, -1, true
	head := r.o.appendAnswerHead(nil, &a)
	head = head[:len(head)-2] // the blank line
	if last {
		head = appendField(head, "Connection", "close")
	}
	if !r.client.isOld() {
		head = appendField(head, "Transfer-Encoding", "chunked")
	}
	return append(head, "\r\n"...)
}

// heldDocument is the rest of the answer, without its declaration: the winner's document, or an
// <Error>. By then what is owed is durable (R20).
func (r *request) heldDocument() []byte {
	unwritten := r.promise()
	r.answeredWith(http.StatusOK)
	problem := r.noAnswer()
	switch l := r.winner(); {
	case unwritten != nil:
		problem = errJournal
	case l == nil:
	default:
		l.dispose() // of what is not read to its end anyway
		if why := r.overruled(l); why != nil {
			problem = why
			break
		}
		if l.state == votePositive || s3.ErrorCode(l.body) != "" {
			return s3.WithoutDeclaration(l.body)
		}
		// A refusal without a document: its status was meant to say everything.
		text := http.StatusText(l.answer.Status)
		if text == "" {
			text = "Internal Error"
		}
		problem = &s3Error{l.answer.Status, strings.ReplaceAll(text, " ", ""), "The backend answered: " + text + ".", ""}
	}
	return []byte(strings.TrimPrefix(r.e.telling(problem).body(r.head.name(), r.head.resource()), xml.Header))
}
