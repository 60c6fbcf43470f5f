package engine

import "github.com/akubra/akubra/s3"

// tellAnswer tells Health of an answer that was judged.
func (l *leg) tellAnswer() {
	h := l.r.e.o.Health
	switch status := l.answer.Status; {
	case h == nil:
	case l.state == votePositive || !l.r.head.write && status >= 300 && status < 500 && status != 401 && status != 403 && status != 429:
		h.Well(l.backend, l.r.head.write)
	default:
		h.Answered(l.backend, l.r.head.write, status, s3.ErrorCode(l.body))
	}
}

// tellFailure tells Health that there was no answer, and why; a nil err is a leg that was
// cut off as a laggard.
func (l *leg) tellFailure(err error) {
	h := l.r.e.o.Health
	switch {
	case h == nil:
	case err == nil:
		h.Lagged(l.backend, l.r.head.write, l.err.Error())
	default:
		h.Failed(l.backend, l.r.head.write, err, l.err.Error())
	}
}
