package engine

import (
	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/internal/words"
	"github.com/akubra/akubra/s3"
)

// maxUploads bounds how many multipart uploads are remembered. If one was forgotten, every backend
// is asked, and it is learnt again (R26).
const maxUploads = 1 << 16

// learnUpload remembers the upload that a backend's answer to
// CreateMultipartUpload names.
func (e *Engine) learnUpload(body []byte, backend int) bool {
	id := s3.UnescapeText(s3.Text(body, "UploadId"))
	if id == "" {
		return false
	}
	e.uploads.Put(id, backend)
	return true
}

// The Limiter's words for a backend in the pool, and for one that has been demoted.
const (
	stateActive  = words.StateActive
	stateDemoted = words.StateDemoted
)

// retryElsewhere sends a CreateMultipartUpload whose backend failed to the next one (R26). It
// reports whether it took the request over. Errors that the client is to blame for go to the
// client; an answer without an upload is a failure.
func (r *request) retryElsewhere(ctx *fasthttp.RequestCtx) bool {
	l := &r.legs[0]
	if l.state == votePositive || l.state == voteNegative && l.answer.Status >= 300 && l.answer.Status < 500 {
		return false
	}
	tried := r.head.tried | 1<<l.backend
	if r.head.hasBody() || r.primaryOf(r.head.bucket(), tried) == 0 {
		return false
	}
	next := func() *request {
		defer r.handled() // also where that panics
		return r.e.beginAttempt(ctx, tried)
	}()
	if next != nil { // else it was answered
		r.e.serve(ctx, next)
	}
	return true
}
