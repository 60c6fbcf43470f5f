package engine

import (
	"errors"
	"io"
	"math/bits"
	"syscall"
	"time"
)

// What metrics are told about each leg. Words used in their labels are small numbers here, so that
// counting is an index into an array.

// Class is a kind of request whose latencies can be compared.
type Class uint8

// The classes. The first ones are readClass's.
const (
	ClassHead = Class(classHead)
	ClassGet  = Class(classGet)
	ClassList = Class(classList)
	// ClassWrite is every PUT, POST and DELETE.
	ClassWrite = Class(readClasses)
	ClassOther = ClassWrite + 1 // OPTIONS, and methods that S3 does not have
	Classes    = int(ClassOther) + 1
)

var classNames = [Classes]string{"head", "get", "list", "write", "other"}

func (c Class) String() string { return classNames[c] }

// class is the request's.
func (h *requestHead) class() Class {
	switch h.method {
	case "GET", "HEAD":
		return Class(h.readClass())
	case "PUT", "POST", "DELETE":
		return ClassWrite
	}
	return ClassOther
}

// Result is how a leg has ended, in more detail than its outcome.
type Result uint8

// The results.
const (
	ResultNone       Result = iota // none yet; as a failure, any that is no other one
	Result2xx                      // the answer's status
	Result3xx                      //
	Result404                      //
	Result4xx                      // any other of 400 to 499
	Result5xx                      //
	ResultErrorIn2xx               // an error in an answer of 200 (R25)
	ResultDial                     // no connection
	ResultTimeout                  // no answer, or no progress, in time (R11)
	ResultReset                    // the connection ended before the answer did
	ResultMalformed                // what has come is no answer
	ResultStalled                  // cut, for it held the others back (R10)
	ResultDropped                  // cut, for its backend left the pool (R13)
	ResultSkipped                  // not begun: its backend is demoted, in maintenance, or owes the source
	ResultDeferred                 // not begun: its backend would only have held it up (R10, R13, R19)
	ResultAborted                  // the client went away (R6), or nobody needs the answer any more
	ResultOwn                      // the proxy itself is to blame: it is out of files, or has panicked
	Results          = int(ResultOwn) + 1
)

var resultNames = [Results]string{
	"none", "2xx", "3xx", "404", "4xx", "5xx", "error_in_2xx", "dial", "timeout", "reset", "malformed", "stalled",
	"dropped", "skipped", "deferred", "aborted", "own",
}

func (r Result) String() string { return resultNames[r] }

// LegEnd is what is known of a leg that has ended.
type LegEnd struct {
	Class    Class
	Outcome  string // one of the Outcome… words
	Result   Result
	Sent     int64 // bytes of the message, its head with it
	Received int64 // bytes of the answer
	// First is the time from the leg's beginning to the head of its answer, Total that to the
	// answer's end. Both are 0 if there was no answer.
	First, Total time.Duration
}

// count tells metrics about the leg, which has ended.
func (l *leg) count() {
	end := LegEnd{Class: l.r.head.class(), Outcome: l.outcome, Result: l.result(), Sent: l.sentSize, Received: l.received}
	if l.answer.Status != 0 && l.asked != 0 && l.state != voteFailed {
		end.Total = time.Duration(l.r.e.now() - l.asked)
		if end.First = end.Total; l.headAt != 0 {
			end.First = time.Duration(l.headAt - l.asked)
		}
	}
	l.r.e.o.Metrics.LegEnded(l.backend, end)
}

func (l *leg) result() Result {
	switch l.outcome {
	case OutcomeAborted:
		return ResultAborted
	case OutcomeStalled:
		return ResultStalled
	case OutcomeDeferred:
		return ResultDeferred
	}
	status := l.answer.Status
	switch {
	case l.failure != ResultNone:
		return l.failure
	case l.outcome == OutcomeFailed:
		return ResultOwn
	case status >= 500:
		return Result5xx
	case status == 404:
		return Result404
	case status >= 400:
		return Result4xx
	case status >= 300:
		return Result3xx
	case l.outcome == OutcomeNegative:
		return ResultErrorIn2xx
	}
	return Result2xx
}

// failureOf says what kept a leg from getting an answer.
func failureOf(err error) Result {
	var unconnected *connectError
	switch {
	case errors.Is(err, errClientGone), errors.Is(err, errShutdown):
		return ResultAborted
	case errors.As(err, &unconnected):
		return ResultDial
	case isTimeout(err):
		return ResultTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return ResultReset
	}
	return ResultMalformed
}

// countSkipped tells metrics which backends the request does without.
func (r *request) countSkipped(set uint64, why Result) {
	for ; set != 0; set &= set - 1 {
		r.e.o.Metrics.LegSkipped(bits.TrailingZeros64(set), r.head.class(), why)
	}
}
