package engine

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/akubra/akubra/engine/outcome"
	"github.com/akubra/akubra/http1"
	"github.com/akubra/akubra/s3"
)

// For a share of the reads that one backend has answered, another backend is asked for the same
// object, to compare the two (ReadCheck, R30): under such a read policy a difference would
// otherwise go unnoticed. The client's own request is used, because its signature covers no other;
// for a GET only the first byte is requested.

// maxReadChecks bounds how many are in progress.
const maxReadChecks = 16

// readChecks is how many are in progress.
type readChecks struct{ underWay atomic.Int64 }

// mayCheck reports whether the read, which has ended, is one to compare.
func (r *request) mayCheck() bool {
	share := r.o.ReadCheck
	if share <= 0 || r.plan.n == 0 || r.plan.all || !r.race.askedOne() || !r.head.isRouted() || len(r.head.target.Key) == 0 ||
		r.head.target.Sub || r.head.partial || r.head.hasBody() {
		return false
	}
	l := &r.legs[0]
	dice := float64(mix(uint64(r.head.id)*diceFactor, "check")>>11) / (1 << 53)
	return l.state == votePositive && l.answer.Status == 200 && dice < share
}

// checkRead has another backend asked, on a goroutine of its own.
func (r *request) checkRead() {
	if !r.mayCheck() {
		return
	}
	if r.e.checks.underWay.Add(1) > maxReadChecks {
		r.e.checks.underWay.Add(-1)
		return
	}
	r.refs.Add(1)
	go func() {
		defer r.release()
		defer r.e.checks.underWay.Add(-1)
		defer r.e.recoverStep("comparing a read")
		r.compareRead()
	}()
}

// isSettled reports whether nobody owes the key and nobody is writing it: only then does a
// difference mean anything.
func (r *request) isSettled() bool {
	return r.owedOf() == 0 && !r.e.writes.underWay(hashOfTarget(&r.head.target))
}

func (r *request) compareRead() {
	first := &r.legs[0]
	list := r.appendAnswerers(nil, 1<<first.backend, nil)
	var p readPlan
	if !r.isSettled() {
		return
	}
	// Which of the others is asked is left to chance, so that in the end each one is.
	for i := range list {
		list[i].dice = mix(uint64(r.head.id), r.e.o.Backends[list[i].backend].Name())
	}
	if route(&p, ReadSpread, StaleRefuse, false, list); p.n == 0 {
		return
	}
	l := r.askBeside(int(p.order[0]), func(head []byte) []byte {
		if r.head.method == "GET" {
			return append(head, "Range: bytes=0-0\r\n"...)
		}
		return head
	})
	if l == nil {
		return
	}
	problem, reason := difference(&first.answer, &l.answer)
	status := l.answer.Status
	l.state, l.outcome, l.open = votePositive, OutcomePositive, !r.head.bodyless(status)
	l.drain()
	if !l.finished {
		l.finish(l.reusable)
	}
	if problem == "" || !r.isSettled() {
		return
	}
	d := r.divergence(OpReading)
	d.SuccessHost, d.ETag = first.name(), string(first.etag())
	d.FailedHost, d.Status, d.Error = l.name(), status, problem
	r.record(l.backend, &d, reason)
}

// difference compares another backend's answer with the one to the client; problem is "" if they
// agree, or if nothing can be said.
func difference(a, other *http1.Answer) (problem, reason string) {
	size := other.Length
	switch other.Status {
	case 404:
		return "answered 404", "missing"
	case 206:
		_, total, _ := bytes.Cut(http1.Field(other.Raw, "Content-Range"), []byte("/"))
		n, err := strconv.ParseInt(string(total), 10, 64)
		if err != nil {
			return "", ""
		}
		size = n
	case 416: // there is no first byte
		if a.Length <= 0 {
			return "", ""
		}
		return fmt.Sprintf("size mismatch: none of %d bytes", a.Length), "size"
	case 200:
	default:
		return "", ""
	}
	mine, theirs := s3.Unquote(a.ETag()), s3.Unquote(other.ETag())
	switch {
	case a.Length >= 0 && size >= 0 && a.Length != size:
		return fmt.Sprintf("size mismatch: %d instead of %d bytes", size, a.Length), "size"
	// The ETag of an object made from parts also shows how it was made.
	case outcome.Differs(mine, theirs) && !isOfParts(mine) && !isOfParts(theirs):
		return outcome.ETagMismatch, "etag"
	}
	return "", ""
}

func isOfParts(etag []byte) bool { return strings.Contains(string(etag), "-") }

// askBeside asks a backend for what the client has asked for, with additional fields, and returns
// the leg that has the head of the answer, or nil.
func (r *request) askBeside(backend int, more func(head []byte) []byte) *leg {
	e := r.e
	slots := new([MaxBackends]int32)
	if got, ok := e.o.Limiter.TryBegin(e.now(), 1<<backend, slots); !ok || got == 0 {
		return nil
	}
	l := &leg{}
	l.reset(r, 0, backend, slots[backend])
	r.setSpare(l)
	head := r.head.bytes()
	head = append(more(append([]byte(nil), head[:len(head)-2]...)), "\r\n"...)
	err := r.legs[0].why()
	if err == nil {
		err = l.fetchFresh(head)
	}
	if err == nil {
		return l
	}
	l.outcome, l.failure = OutcomeFailed, failureOf(err)
	l.finish(false)
	return nil
}
