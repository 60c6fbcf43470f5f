package engine

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/akubra/akubra/engine/body"
	"github.com/akubra/akubra/http1"
)

// An answer that breaks off in the middle of its body is continued from another backend that has
// the same object, by ETag and size, so that the client notices nothing (R30). That backend is
// asked for the rest with Range and If-Match, which a client's signature does not cover unless the
// client sent them: in that case the answer ends where it broke off.

// errNotTheSame: another backend has a different object, or does not send parts of it.
var errNotTheSame = errors.New("it is not the rest of the same object")

// isResumable reports whether the rest of the answer could come from another backend.
func (l *leg) isResumable() bool {
	h, a := &l.r.head, &l.answer
	etag := a.ETag()
	return h.method == "GET" && h.isRouted() && len(h.target.Key) > 0 && !h.target.Sub && !h.partial && !h.hasBody() &&
		a.Status == 200 && a.Length > 0 && !a.Chunked && len(etag) > 2 && etag[0] == '"'
}

// whyOver returns why an answer that was cut must not be continued, or nil: its backend has only
// left the pool (LetGo).
func (l *leg) whyOver() error {
	if why := l.why(); !errors.Is(why, errDemoted) {
		return why
	}
	return nil
}

// resume continues the answer from another backend after cause. It reports whether Read can be
// called again.
func (b *answerBody) resume(cause error) bool {
	if b.left <= 0 || b.first().whyOver() != nil || !b.first().isResumable() {
		return false
	}
	r, winner := b.l.r, b.first()
	b.l.tellBrokenOff(cause)
	b.tried |= 1 << b.l.backend
	owed := r.owedOf() | b.tried
	var p readPlan
	route(&p, r.o.ReadPolicy, StaleRefuse, false, r.appendAnswerers(nil, owed, nil))
	for _, backend := range p.order[:p.n] {
		b.tried |= 1 << backend
		l := r.rest(int(backend), winner, winner.answer.Length-b.left)
		if l == nil {
			continue
		}
		b.l.finish(false)
		b.start = winner
		b.l, b.c, b.br = l, l.conn, l.conn.Reader()
		r.e.o.Metrics.Read(ReadResumed)
		return true
	}
	return false
}

// first is the leg whose answer it was originally.
func (b *answerBody) first() *leg {
	if b.start != nil {
		return b.start
	}
	return b.l
}

// tellBrokenOff tells Health about an answer that has no end.
func (l *leg) tellBrokenOff(cause error) {
	l.err = l.describe(cause)
	l.tellFailure(cause)
}

// rest asks a backend for an object from a given byte on, and returns the leg that has the answer,
// or nil.
func (r *request) rest(backend int, winner *leg, from int64) *leg {
	e := r.e
	slots := new([MaxBackends]int32)
	if got, ok := e.o.Limiter.TryBegin(e.now(), 1<<backend, slots); !ok || got == 0 {
		return nil
	}
	l := &leg{}
	l.reset(r, winner.index, backend, slots[backend])
	r.setSpare(l)
	etag := winner.answer.ETag()
	err := winner.whyOver() // what aborts it looks for the spare one, too
	if err == nil {
		head := r.head.bytes()
		head = fmt.Appendf(append([]byte(nil), head[:len(head)-2]...), "Range: bytes=%d-\r\nIf-Match: %s\r\n\r\n", from, etag)
		err = l.fetchFresh(head)
	}
	if a := &l.answer; err == nil && (a.Status != 206 || a.Chunked || a.Length != winner.answer.Length-from ||
		!bytes.Equal(a.ETag(), etag) || string(http1.Field(a.Raw, "Content-Range")) != contentRange(from, winner.answer.Length)) {
		err = errNotTheSame
	}
	if err != nil {
		l.outcome, l.failure = OutcomeFailed, failureOf(err)
		if l.answer.Status != 0 {
			l.state, l.outcome, l.failure = voteNegative, OutcomeNegative, ResultNone
		}
		l.finish(false)
		return nil
	}
	l.state, l.outcome, l.open = votePositive, OutcomePositive, true
	return l
}

func contentRange(from, size int64) string {
	return "bytes " + strconv.FormatInt(from, 10) + "-" + strconv.FormatInt(size-1, 10) + "/" + strconv.FormatInt(size, 10)
}

// fetchFresh is fetch, started again on a fresh connection if necessary (R12).
func (l *leg) fetchFresh(head []byte) error {
	err := l.fetch(head, false)
	if l.stale(err) {
		l.giveBack(false)
		l.gotBytes, l.sentSize = false, 0
		l.sentAll.Store(false)
		err = l.fetch(head, true)
	}
	return err
}

// fetch sends a request that consists of a head only, and reads the answer's head.
func (l *leg) fetch(head []byte, fresh bool) error {
	c, err := l.connect(fresh)
	if err != nil {
		return err
	}
	timeout := l.r.o.ConnectionTimeout
	if l.plain() {
		c.Guard(len(head) > body.ShortMessage)
	}
	for rest := head; len(rest) > 0; {
		n, err := c.Send(rest, timeout)
		l.sentSize += int64(n)
		if rest = rest[n:]; err != nil {
			return err
		}
	}
	l.sentAll.Store(true)
	c.ReadTimeout(timeout)
	br := c.Reader()
	for {
		if err := l.receiveHead(c, br); err != nil {
			return err
		}
		if l.answer.Status >= 200 {
			l.reusable = l.leavesUsable(c)
			return nil
		}
	}
}

// setSpare makes l a leg that an abort of the request reaches in addition to its own legs.
func (r *request) setSpare(l *leg) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spare, l.asked = l, r.e.now()
}

// abortSpare aborts it. The request's legs have been aborted before.
func (r *request) abortSpare(cause error) {
	r.mu.Lock()
	l := r.spare
	r.mu.Unlock() // leg.mu is not to be taken under it
	if l != nil {
		l.abort(cause)
	}
}
