package engine

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/akubra/akubra/http1"
	"github.com/akubra/akubra/s3"
)

// maxKeptAnswer is the largest answer body that is kept in memory rather than streamed;
// maxWholeAnswer bounds those that must be read to their end before they count.
const (
	maxKeptAnswer  = 16 << 10
	maxWholeAnswer = 4 << 20
	keptBuffer     = 64 << 10
)

// firstRead is how much of an answer is read at first: all of a short one, or of one with an
// object of 4 KiB. It is one of the allocator's size classes.
const firstRead = 5376

// receive reads the answer's head, and its body if that is short. It fails if there is no answer.
func (l *leg) receive(c Conn) error {
	if l.arrived || !l.tried && l.receiveShort(c, true) {
		if l.timedOut(c) {
			return errTimedOut
		}
		if l.sending {
			l.answers(l.r.e.now())
		}
		if err := l.endSending(c); err != nil {
			return err
		}
		l.reusable = l.reusable && l.leavesUsable(c)
		return nil
	}
	return l.receiveLong(c)
}

// errTimedOut: see timedOut.
var errTimedOut = errors.New("answered 408 on a kept-alive connection")

// timedOut reports whether the answer is a 408 that a backend most likely sent before it had
// anything of the request, as some do before they close an idle connection (HAProxy, Apache).
// Whether it was sent before cannot be known: the server need not have read what its kernel has
// accepted. But a 408 says in any case that there was no complete request to act on, so sending
// the request once more, on a fresh connection, does no harm (RFC 9110 §15.5.9), and the second
// answer counts. If the request cannot be sent again, so much of it has been sent that the backend
// must have seen some: then it is a slow client's body.
func (l *leg) timedOut(c Conn) bool {
	return l.answer.Status == 408 && c.Reused() && l.r.message.Rewindable(l.index)
}

// surelyRead is how much of a body with a length backends read even if they refuse it. Some
// versions of versitygw take the rest for another request, as they do with chunks (endsConn).
const surelyRead = 8 << 10

// leavesUsable reports whether another request can be sent once the answer is read, as far as can
// be told by now (R32).
func (l *leg) leavesUsable(c Conn) bool {
	a := &l.answer
	switch {
	case a.Close || l.sendErr != nil || l.r.head.endsConn():
		return false
	case a.Status >= 300 && l.r.head.contentLength > surelyRead:
		return false // what is left of a body that it refused may be another request to it
	case !l.r.head.bodyless(a.Status):
		return true
	case a.Status == 204 && (a.Chunked || a.Length > 0):
		return false // it announces a body that it may not have, and which may come (RFC 9110 §8.6)
	}
	// With HEAD and 304 that would be another answer's body, but some backends send it all the
	// same.
	return c.Alive()
}

// receiveShort reads an answer that arrives complete, with nothing behind it, into buf. Any other
// answer is left in the connection's Reader. Without wait it may find that nothing has arrived.
func (l *leg) receiveShort(c Conn, wait bool) bool {
	if cap(l.buf) < firstRead {
		l.buf = make([]byte, 0, firstRead)
	}
	n, err := c.ReadFirst(l.buf[:firstRead], wait)
	p := l.buf[:n]
	l.gotBytes = n > 0
	if n == 0 && err == nil {
		return false
	}
	if head := http1.HeadEnd(p); err == nil && head > 0 && l.answer.Parse(p[:head]) == nil && l.isWhole(n-head) {
		l.buf = p
		l.received += int64(n)
		l.setBuf(head)
		return true
	}
	l.answer = http1.Answer{}
	c.Unread(p, err)
	l.tried = true
	return false
}

// isWhole reports whether the answer, with so many bytes behind its head, is final and complete.
func (l *leg) isWhole(body int) bool {
	a := &l.answer
	switch {
	case a.Status < 200:
		return false
	case l.r.head.bodyless(a.Status):
		return body == 0
	}
	return int64(body) == a.Length
}

// receiveHead reads the next answer's head into buf and parses it.
func (l *leg) receiveHead(c Conn, br *bufio.Reader) error {
	n, err := l.awaitHead(c, br)
	if err != nil {
		return err
	}
	raw, _ := br.Peek(n)
	l.buf = append(l.buf[:0], raw...)
	_, _ = br.Discard(n)
	l.received += int64(n)
	if err := l.answer.Parse(l.buf); err != nil {
		return err
	}
	l.headAt = l.r.e.now()
	l.answers(l.headAt)
	return nil
}

// answers notes that the backend has made progress. Before it has the whole message that is for
// whoever sends to say, for it may be the client that is waited for (R13).
func (l *leg) answers(at int64) {
	if l.sentAll.Load() {
		l.r.e.o.Limiter.Progress(l.backend, l.slot, at)
	}
}

func (l *leg) receiveLong(c Conn) error {
	br := c.Reader()
	for {
		if err := l.receiveHead(c, br); err != nil {
			return err
		}
		if l.timedOut(c) {
			return errTimedOut
		}
		if l.answer.Status >= 200 {
			break
		}
		status := l.answer.Status
		l.answer = http1.Answer{} // an interim one is no answer, in records neither
		switch status {
		case 100:
			l.r.legReady()
		case 101:
			return fmt.Errorf("%w: it switches protocols unasked", http1.ErrAnswer)
		}
	}
	if err := l.endSending(c); err != nil {
		return err
	}
	l.reusable = l.reusable && l.leavesUsable(c)
	if err := l.readBody(c, br); err != nil {
		return err
	}
	if !l.open && c.Reused() && br.Buffered() > 0 && !c.Alive() {
		return errSurplus
	}
	return nil
}

// errSurplus: something follows the answer directly on a connection that was used before. Either
// of the two may be unasked for, if it came after the last look at the connection; nothing shows
// which of them answers the request (R32).
var errSurplus = errors.New("more than one answer to a request")

// endSending brings the sending side in line with the answer that has arrived: sending is done, or
// this is an early answer (R9).
func (l *leg) endSending(c Conn) error {
	l.reusable = true
	if l.sending && l.r.head.hasBody() && !l.needsWholeBody() && !l.sentAll.Load() {
		// A rejection, or it is done without the body: the leg leaves the ring at once. (A head that was answered has
		// been sent, even if the goroutine that sent it has not said so yet.)
		c.AbortWrite()
		l.leave()
		l.reusable = false
	}
	if l.sending {
		// An early 2xx counts only once the backend has taken the whole body.
		<-l.sent
		l.sending = false
	}
	if !l.inline && !l.sentAll.Load() { // or the ring is complete, and nobody waits for it
		l.r.message.Detach(l.index)
	}
	if l.sendErr != nil && l.needsWholeBody() {
		return fmt.Errorf("answered %d before it had the whole body: %w", l.answer.Status, l.sendErr)
	}
	return nil
}

// needsWholeBody reports whether the answer counts only once the backend has taken the whole body.
func (l *leg) needsWholeBody() bool { return l.mayBePositive() && l.r.head.takesBody() }

// awaitHead waits for a complete head and returns its length.
func (l *leg) awaitHead(c Conn, br *bufio.Reader) (int, error) {
	have := 0
	for {
		b, err := br.Peek(have + 1)
		if len(b) > 0 {
			l.gotBytes = true
		}
		switch {
		case err == nil:
			b, _ = br.Peek(br.Buffered())
			from := max(have-len("\n\r"), 0) // before that there was no end
			if n := http1.HeadEnd(b[from:]); n > 0 {
				return from + n, nil
			}
			have = len(b)
		case errors.Is(err, bufio.ErrBufferFull):
			return 0, fmt.Errorf("%w: its head is larger than %d bytes", http1.ErrAnswer, br.Size())
		case l.keepWaiting(c, err):
		case errors.Is(err, io.EOF) && len(b) > 0:
			return 0, io.ErrUnexpectedEOF
		default:
			return 0, err
		}
	}
}

// keepWaiting reports whether a read that timed out may go on because the backend has taken bytes
// meanwhile that the kernel still held (R11); if so it sets a new deadline.
func (l *leg) keepWaiting(c Conn, err error) bool {
	if !isTimeout(err) || l.aborted.Load() || !l.sentAll.Load() {
		return false
	}
	unsent := c.Unsent()
	if unsent < 0 || unsent >= l.unsent {
		return false
	}
	l.unsent = unsent
	c.ReadTimeout(l.r.o.ConnectionTimeout)
	return true
}

// readBody reads the answer's body into buf if it is there already or must be known before it
// counts; otherwise the body stays open.
func (l *leg) readBody(c Conn, br *bufio.Reader) error {
	a := &l.answer
	switch {
	case l.r.head.bodyless(a.Status) || a.Length == 0:
		return nil
	case l.r.head.wantsWhole() || l.mayHideError():
		return l.readWhole(c, br)
	case a.Length > 0 && a.Length <= maxKeptAnswer && a.Length <= int64(br.Buffered()):
		b, _ := br.Peek(int(a.Length))
		head := len(l.buf)
		l.buf = append(l.buf, b...)
		l.setBuf(head)
		_, _ = br.Discard(len(b))
		l.received += int64(len(b))
		return nil
	}
	l.open = true
	return nil
}

// mayHideError reports whether a yes to a PUT, a DELETE or an upload by form has a body that may be an error
// document (R25): in S3 it has none, or says where the object is. One that ends with the connection is not waited for.
func (l *leg) mayHideError() bool {
	a, h := &l.answer, &l.r.head
	alone := h.method == "PUT" || h.method == "DELETE" || h.is(s3.KindForm)
	return a.Status < 300 && alone && (a.Chunked || a.Length > 0 && a.Length <= maxKeptAnswer)
}

// setBuf makes answer and body point into buf, whose first head bytes are the answer's head.
func (l *leg) setBuf(head int) {
	l.answer.Raw, l.body = l.buf[:head], l.buf[head:]
}

func (l *leg) readWhole(c Conn, br *bufio.Reader) error {
	head := len(l.buf)
	l.noteHead()
	l.open = true
	body := newAnswerBody(l, c, br)
	defer body.free()
	for {
		if len(l.buf) == cap(l.buf) {
			l.buf = append(l.buf, 0)[:len(l.buf)]
		}
		n, err := body.Read(l.buf[len(l.buf):cap(l.buf)])
		l.buf = l.buf[:len(l.buf)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if len(l.buf)-head > maxWholeAnswer {
			return fmt.Errorf("%w: its body is larger than %d bytes", http1.ErrAnswer, maxWholeAnswer)
		}
	}
	l.open = false
	l.setBuf(head)
	return nil
}
