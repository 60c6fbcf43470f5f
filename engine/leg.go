package engine

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/akubra/akubra/engine/ring"
)

// leg is one request on its way to one backend. Its own goroutine (run) reads
// the answer; while the message does not fit into the socket at once, a second
// one (send) writes, so that an answer is seen before the body's end (R9).
type leg struct {
	r       *request
	index   int // among the request's legs, and the ring's reader
	backend int
	slot    int32 // of the limiter

	mu    sync.Mutex
	conn  Conn  // nil before it is acquired and after it was given back
	cause error // why the leg was aborted, or nil

	// run and send, made once: new ones a request would be allocations.
	runFn, sendFn func()

	// The sending side.
	inline  bool // the whole message went out at once
	sending bool // the send goroutine runs; the leg's goroutine only
	// retryable: if the connection turns out to be stale, the leg will want to
	// start again, so it stays in the ring.
	retryable bool
	sendTo    Conn // what it writes to
	sent      chan struct{}
	sentAll   atomic.Bool
	sendErr   error // valid once sent was received from
	sentSize  atomic.Int64

	// The answer. buf holds its head, and its body where that is whole.
	buf      []byte
	answer   answerHead
	body     []byte // in buf
	open     bool   // the body is still to be read from conn
	gotBytes bool
	unsent   int  // bytes that the kernel held when they were last looked at; valid once sentAll
	reusable bool // conn can be used again once the answer is read

	state    voteState
	err      error // why state is not votePositive
	outcome  string
	finished bool
}

// maxKeptAnswer is the largest answer body that is kept in memory rather than
// streamed; maxWholeAnswer bounds those that have to be read before they count.
const (
	maxKeptAnswer  = 16 << 10
	maxWholeAnswer = 4 << 20
	keptBuffer     = 64 << 10
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

// farFuture tells the limiter that a leg does not wait for its backend.
const farFuture = math.MaxInt64

var errStalled = errors.New("stalled: it held the others back for longer than StallTimeout")

func (l *leg) reset(r *request, index, backend int, slot int32) {
	l.r, l.index, l.backend, l.slot = r, index, backend, slot
	if l.sent == nil {
		l.sent = make(chan struct{}, 1)
		l.runFn = l.run
		l.sendFn = l.send
	}
	l.unsent = 0
}

// clear forgets everything but the leg's buffers.
func (l *leg) clear() {
	if cap(l.buf) > keptBuffer {
		l.buf = nil
	}
	l.r, l.conn, l.sendTo, l.cause = nil, nil, nil, nil
	l.inline, l.sending, l.sendErr = false, false, nil
	l.sentAll.Store(false)
	l.sentSize.Store(0)
	l.buf, l.body, l.answer = l.buf[:0], nil, answerHead{}
	l.open, l.gotBytes, l.reusable, l.finished = false, false, false, false
	l.state, l.err, l.outcome = votePending, nil, ""
}

func (l *leg) name() string { return l.r.e.o.Backends[l.backend].Name() }

// progress tells the limiter that bytes have moved.
func (l *leg) progress() { l.r.e.o.Limiter.Progress(l.backend, l.slot, l.r.e.now()) }

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

// setConn makes c the leg's connection, and returns why the leg was aborted if
// it was.
func (l *leg) setConn(c Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = c
	return l.cause
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

// run takes the leg to its end.
func (l *leg) run() {
	defer l.r.release()
	err := l.exchange(false)
	if l.stale(err) && l.r.ring.Rewind(l.index) {
		l.restart()
		err = l.exchange(true)
	}
	l.r.ring.Detach(l.index)
	l.conclude(err)
	l.r.legEnded(l)
}

// exchange sends the message and reads the answer, on an idle connection or a
// fresh one. When it returns, nothing is being sent any more.
func (l *leg) exchange(fresh bool) error {
	c, err := l.connect(fresh)
	if err != nil {
		return err
	}
	if !l.inline {
		if message, ok := l.r.ring.Message(); ok && l.sentSize.Load() == 0 {
			l.inline = l.trySend(c, message)
		}
	}
	if !l.inline {
		l.sending = true
		_ = c.SetReadDeadline(time.Time{})
		l.sendTo, l.retryable = c, c.Reused() && !fresh
		go l.sendFn()
	}
	err = l.receive(c)
	if l.sending {
		c.Abort()
		l.stopSending()
	}
	if err != nil && l.sendErr != nil && !l.gotBytes && !errors.Is(l.sendErr, ring.ErrLeft) && isTimeout(err) {
		return l.sendErr // the reader was only cut short by it
	}
	return err
}

// connect makes the leg's connection: the one that sendAtOnce took, an idle one
// that is alive, or a new one.
func (l *leg) connect(fresh bool) (Conn, error) {
	c := l.conn
	for c == nil {
		next, err := l.r.e.o.Backends[l.backend].Acquire(fresh)
		if err != nil {
			return nil, err
		}
		if next.Reused() && !next.Alive() {
			next.Discard()
			continue
		}
		c = next
	}
	if cause := l.setConn(c); cause != nil {
		return nil, cause
	}
	return c, c.Connect()
}

// stale tells whether err is a kept-alive connection that the backend had closed
// meanwhile (R12): no byte of an answer came, and nobody here ended it.
func (l *leg) stale(err error) bool {
	if err == nil || l.gotBytes {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil || l.conn == nil || !l.conn.Reused() {
		return false
	}
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// restart puts the leg back to where it was before it had a connection.
func (l *leg) restart() {
	l.giveBack(false)
	l.inline, l.sendErr = false, nil
	l.sentAll.Store(false)
	l.sentSize.Store(0)
	l.unsent = 0
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

// receive reads the answer's head, and its body if that is short. It fails
// unless there is an answer.
func (l *leg) receive(c Conn) error {
	br := c.Reader()
	for {
		n, err := l.awaitHead(c, br)
		if err != nil {
			return err
		}
		raw, _ := br.Peek(n)
		l.buf = append(l.buf[:0], raw...)
		_, _ = br.Discard(n)
		if err := l.answer.parse(l.buf); err != nil {
			return err
		}
		l.progress()
		if l.answer.status >= 200 {
			break
		}
		status := l.answer.status
		l.answer = answerHead{} // an interim one is no answer, in records neither
		switch status {
		case 100:
			l.r.legReady()
		case 101:
			return fmt.Errorf("%w: it switches protocols unasked", errBadAnswer)
		}
	}
	if err := l.endSending(c); err != nil {
		return err
	}
	l.reusable = l.reusable && !l.answer.close && l.sendErr == nil
	return l.readBody(c, br)
}

// endSending makes the sending side fit to the answer that has come: it is done,
// or this is an early answer (R9).
func (l *leg) endSending(c Conn) error {
	l.reusable = true
	if l.sending && l.answer.status >= 300 && !l.sentAll.Load() {
		// A rejection: the leg leaves the ring at once.
		c.AbortWrite()
		l.r.ring.Leave(l.index)
		l.reusable = false
	}
	if l.sending {
		// An early 2xx counts only once the backend has taken the whole body.
		<-l.sent
		l.sending = false
	}
	l.r.ring.Detach(l.index)
	if l.sendErr != nil && l.answer.status < 300 {
		return fmt.Errorf("answered %d before it had the whole body: %w", l.answer.status, l.sendErr)
	}
	return nil
}

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
			if n := headEnd(b); n > 0 {
				return n, nil
			}
			have = len(b)
		case errors.Is(err, bufio.ErrBufferFull):
			return 0, fmt.Errorf("%w: its head is larger than %d bytes", errBadAnswer, br.Size())
		case l.keepWaiting(c, err):
		case errors.Is(err, io.EOF) && len(b) > 0:
			return 0, io.ErrUnexpectedEOF
		default:
			return 0, err
		}
	}
}

// keepWaiting tells whether a read that timed out may go on, because the backend
// has taken bytes meanwhile that the kernel still held (R11), and arms the
// deadline anew.
func (l *leg) keepWaiting(c Conn, err error) bool {
	if !isTimeout(err) || l.aborted() || !l.sentAll.Load() {
		return false
	}
	unsent := c.Unsent()
	if unsent < 0 || unsent >= l.unsent {
		return false
	}
	l.unsent = unsent
	_ = c.SetReadDeadline(time.Now().Add(l.r.e.o.ConnectionTimeout))
	return true
}

// readBody reads the answer's body into buf where it is there already, or where
// it has to be known before it counts; else it stays open.
func (l *leg) readBody(c Conn, br *bufio.Reader) error {
	a := &l.answer
	switch {
	case bodyless(l.r.method, a.status) || a.contentLength == 0:
		return nil
	case l.r.whole:
		return l.readWhole(c, br)
	case a.contentLength > 0 && a.contentLength <= maxKeptAnswer && a.contentLength <= int64(br.Buffered()):
		b, _ := br.Peek(int(a.contentLength))
		head := len(l.buf)
		l.buf = append(l.buf, b...)
		l.setBuf(head)
		_, _ = br.Discard(len(b))
		return nil
	}
	l.open = true
	return nil
}

// setBuf points answer and body into buf, the first head bytes of which are the
// answer's head.
func (l *leg) setBuf(head int) {
	l.answer.raw, l.body = l.buf[:head], l.buf[head:]
}

func (l *leg) readWhole(c Conn, br *bufio.Reader) error {
	head := len(l.buf)
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
			return fmt.Errorf("%w: its body is larger than %d bytes", errBadAnswer, maxWholeAnswer)
		}
	}
	l.open = false
	l.setBuf(head)
	return nil
}

// conclude turns what has come of the leg into its vote.
func (l *leg) conclude(err error) {
	l.mu.Lock()
	cause := l.cause
	l.mu.Unlock()
	limiter := l.r.e.o.Limiter
	switch {
	case err == nil:
		limiter.Succeeded(l.backend)
		l.judge()
	case errors.Is(cause, errClientGone) || errors.Is(err, ring.ErrCanceled):
		l.state, l.err, l.outcome = voteFailed, errClientGone, OutcomeAborted
	case errors.Is(cause, errShutdown):
		l.state, l.err, l.outcome = voteFailed, cause, OutcomeAborted
	case cause != nil:
		l.state, l.err, l.outcome = voteFailed, cause, OutcomeStalled
		limiter.Failed(l.backend, l.r.e.now())
	default:
		l.state, l.err, l.outcome = voteFailed, l.describe(err), OutcomeFailed
		limiter.Failed(l.backend, l.r.e.now())
	}
	if err != nil || !l.open {
		l.finish(l.reusable && err == nil)
		return
	}
	// Until its answer is picked, or is not, it waits for others (R13).
	limiter.Progress(l.backend, l.slot, farFuture)
}

// describe puts an error into the words of the synclog.
func (l *leg) describe(err error) error {
	switch {
	case isTimeout(err):
		return errors.New("timeout: no progress within ConnectionTimeout")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("connection closed before the answer's end")
	}
	// The addresses of one connection would make every record another one.
	var op *net.OpError
	if errors.As(err, &op) {
		inner := strings.TrimPrefix(op.Err.Error(), op.Op+": ")
		return errors.New(strings.Replace(err.Error(), op.Error(), op.Op+": "+inner, 1))
	}
	return err
}

// judge says whether the answer is positive (R3, R25).
func (l *leg) judge() {
	r, status := l.r, l.answer.status
	positive := status >= 200 && status < 300 || !r.write && status >= 300 && status < 400
	if positive && r.whole {
		switch r.kind {
		case kindCopy, kindPart, kindComplete:
			if code := errorCode(l.body); code != "" {
				positive, l.err = false, fmt.Errorf("error in a %d answer: %s", status, code)
			}
		case kindInitiate:
			if positive = r.e.learnUpload(l.body, l.backend); !positive {
				l.err = errors.New("no UploadId in the answer")
			}
		}
	}
	if positive {
		l.state, l.outcome = votePositive, OutcomePositive
		if r.target.uploadID != "" {
			r.e.uploads.put(r.target.uploadID, l.backend)
		}
		return
	}
	l.state, l.outcome = voteNegative, OutcomeNegative
	if l.err == nil {
		l.err = fmt.Errorf("answered %d", status)
	}
}

// errorCode returns the Code of an S3 error document, "" if body is none.
func errorCode(body []byte) string {
	body = bytes.TrimLeft(body, " \t\r\n")
	if bytes.HasPrefix(body, []byte("<?xml")) {
		if i := bytes.Index(body, []byte("?>")); i >= 0 {
			body = bytes.TrimLeft(body[i+2:], " \t\r\n")
		}
	}
	if !bytes.HasPrefix(body, []byte("<Error")) || len(body) < 7 || bytes.IndexByte([]byte("> \t\r\n/"), body[6]) < 0 {
		return ""
	}
	_, rest, _ := bytes.Cut(body, []byte("<Code>"))
	code, _, _ := bytes.Cut(rest, []byte("</Code>"))
	if len(code) == 0 || len(code) > 128 {
		return "Error"
	}
	return string(code)
}

// abort makes the leg fail with cause, from any goroutine.
func (l *leg) abort(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause == nil {
		l.cause = cause
	}
	if l.conn != nil {
		l.conn.Abort()
	}
	l.r.ring.Leave(l.index)
}

func (l *leg) aborted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause != nil
}

// dispose ends a leg whose answer nobody reads: a short rest that is there
// already is thrown away, so that the connection can be used again (R5).
func (l *leg) dispose() {
	if !l.open || l.finished {
		return
	}
	reuse := false
	if n := l.answer.contentLength; l.reusable && n > 0 && !l.aborted() {
		br := l.conn.Reader()
		if n <= int64(br.Buffered()) {
			_, _ = br.Discard(int(n))
			reuse = true
		}
	}
	l.finish(reuse)
}

// finish gives connection and slot back, once.
func (l *leg) finish(reuse bool) {
	if l.finished {
		return
	}
	l.finished, l.open = true, false
	l.giveBack(reuse)
	l.r.e.o.Limiter.End(l.backend, l.slot)
	l.r.e.o.Metrics.LegEnded(l.backend, l.outcome, l.sentSize.Load())
}

// neverRan ends a leg that was not started.
func (l *leg) neverRan() {
	l.outcome = OutcomeAborted
	l.finish(false)
}

// giveBack lets go of the connection; an abort cannot reach it any more.
func (l *leg) giveBack(reuse bool) {
	l.mu.Lock()
	c := l.conn
	l.conn = nil
	reuse = reuse && l.cause == nil
	l.mu.Unlock()
	switch {
	case c == nil:
	case reuse:
		c.Release()
	default:
		c.Discard()
	}
}
