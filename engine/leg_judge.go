package engine

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/akubra/akubra/engine/body"
	"github.com/akubra/akubra/s3"
)

// conclude turns what has come of the leg into its vote.
func (l *leg) conclude(err error) {
	cause := l.why()
	limiter := l.r.e.o.Limiter
	switch {
	case err == nil:
		limiter.Succeeded(l.backend)
		l.noteEnd()
		l.judge()
		l.tellAnswer()
	case errors.Is(cause, errClientGone) || errors.Is(err, body.ErrCanceled):
		l.state, l.err, l.outcome = voteFailed, errClientGone, OutcomeAborted
	case errors.Is(err, errBeingDecided) && cause == nil:
		l.state, l.err, l.outcome = voteFailed, err, OutcomeAborted
	case (errors.Is(err, errDeferred) || errors.Is(err, errSourceless)) && cause == nil:
		l.state, l.err, l.outcome = voteFailed, err, OutcomeDeferred
	case errors.Is(cause, errUndecided):
		l.state, l.err, l.outcome = voteFailed, cause, OutcomeAborted
	case errors.Is(cause, errShutdown):
		l.state, l.err, l.outcome = voteFailed, cause, OutcomeAborted
	case errors.Is(cause, errDemoted), errors.Is(err, errDemoted): // it was told of already
		l.state, l.err, l.outcome, l.failure = voteFailed, errDemoted, OutcomeFailed, ResultDropped
	case errors.Is(cause, errPanicked):
		l.state, l.err, l.outcome, l.failure = voteFailed, cause, OutcomeFailed, ResultOwn
	case cause != nil:
		l.state, l.err, l.outcome = voteFailed, l.whyCut(cause, err), OutcomeStalled
		l.tellFailure(nil) // before a demotion, which gives it as the reason
		if !l.isMerelySlow() {
			limiter.Failed(l.backend, l.r.e.now())
		}
	case outOfFiles(err): // the backend is not to blame (R23)
		l.state, l.err, l.outcome, l.failure = voteFailed, &ownFailure{l.describe(err)}, OutcomeFailed, ResultOwn
		l.r.e.relieve()
	default:
		l.state, l.err, l.outcome, l.failure = voteFailed, l.describe(err), OutcomeFailed, failureOf(err)
		l.tellFailure(err)
		limiter.Failed(l.backend, l.r.e.now())
	}
	if err != nil && l.answer.Status == 0 && l.mayHaveActed() && !errors.Is(l.err, errClientGone) && !errors.Is(l.err, errUndecided) {
		l.err = fmt.Errorf("outcome unknown: %w", l.err)
	}
	l.observe()
	l.noteFailing()
	if err != nil && !l.isOutdated() || !l.open {
		l.finish(l.reusable && err == nil)
		return
	}
	// Until its answer is picked, or is not, it waits for others (R13).
	limiter.Progress(l.backend, l.slot, farFuture)
}

// whyCut says of a leg that was cut for cause whether there was a connection to cut.
func (l *leg) whyCut(cause, err error) error {
	var unconnected *connectError
	if errors.Is(cause, errStalled) && errors.As(err, &unconnected) {
		return fmt.Errorf("stalled: cannot connect to backend %q: no connection within StallTimeout", l.name())
	}
	return cause
}

// mayHaveActed reports whether the backend may have done what the leg asks for, which had
// no answer. To repeat a POST would do it twice: a CompleteMultipartUpload that was done
// is answered 404 the second time (R33).
func (l *leg) mayHaveActed() bool { return l.sentSize > 0 && !l.r.head.isRepeatable() }

// hadObject reports whether the leg may have sent all bytes of the object, although the
// message that frames it in chunks has not come to its end: some storages have stored it by
// then.
func (l *leg) hadObject() bool {
	size := l.r.head.decodedLength
	return size > 0 && l.sentSize >= int64(l.r.head.length)+size
}

// mayHaveStored reports whether the backend may have done what the leg asks for, now or later: it
// had all of the message, on this connection or on one before it (R12), or so much that it need
// not wait for the rest.
func (l *leg) mayHaveStored() bool {
	return l.acted || l.sentAll.Load() || l.mayHaveActed() || l.hadObject()
}

// mayLandLate reports whether the backend may yet carry the write out although the leg has ended
// (R19): it has given no answer, or a gateway before it has given up waiting for that.
func (l *leg) mayLandLate() bool {
	switch l.state {
	case voteFailed:
		return l.mayHaveStored()
	case voteNegative:
		return l.answer.Status == 502 || l.answer.Status == 504
	}
	return false
}

// describe puts an error into the words of the synclog.
func (l *leg) describe(err error) error {
	var unconnected *connectError
	switch {
	case errors.As(err, &unconnected):
		if isTimeout(err) {
			return fmt.Errorf("cannot connect to backend %q: timeout: no connection within ConnectionDialTimeout", l.name())
		}
	case isTimeout(err):
		return errors.New("timeout: no progress within ConnectionTimeout")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("connection closed before the answer's end")
	}
	// The addresses of one connection would make every record another one.
	if op, ok := errors.AsType[*net.OpError](err); ok {
		inner := strings.TrimPrefix(op.Err.Error(), op.Op+": ")
		return errors.New(strings.Replace(err.Error(), op.Error(), op.Op+": "+inner, 1))
	}
	return err
}

// redirects reports whether an answer sends the client elsewhere (RFC 9110 §15.4). A backend does so
// whose region or name is not what clients take it for, and another one may have the object.
func redirects(status int) bool { return status/100 == 3 && status != 304 }

// judge says whether the answer is positive (R3, R25).
func (l *leg) judge() {
	r, status := l.r, l.answer.Status
	positive := l.mayBePositive() || !r.head.write && !redirects(status) && status < 400
	switch {
	case !positive || !r.head.write || l.open:
	case r.head.is(s3.KindInitiate):
		if positive = r.e.learnUpload(l.body, l.backend); !positive {
			l.err = errors.New("no UploadId in the answer")
		}
	case r.head.is(s3.KindDelete): // what has failed of it is read later (deletes.go)
	default:
		if code := s3.ErrorCode(l.body); code != "" {
			positive, l.err = false, fmt.Errorf("error in a %d answer: %s", status, code)
		}
	}
	if positive {
		l.state, l.outcome = votePositive, OutcomePositive
		if id := r.head.uploadID(); id != "" {
			r.e.uploads.Put(id, l.backend)
			if r.head.is(s3.KindPart) {
				r.learnPart()
			}
		}
		return
	}
	l.state, l.outcome = voteNegative, OutcomeNegative
	if l.err == nil {
		l.err = fmt.Errorf("answered %d", status)
	}
}
