package engine

import (
	"time"

	"github.com/valyala/fasthttp"
)

// continueWait is how long a client that waits for 100 Continue is kept waiting for a backend's
// reply: clients give up after a second.
const continueWait = 750 * time.Millisecond

// expect is the server's handler for a client that waits for 100 Continue. The legs start here
// with the head alone; the body is asked for once a backend asks for it, and not at all if every
// backend rejects the request (R9).
func (e *Engine) expect(ctx *fasthttp.RequestCtx) int {
	defer e.recoverHandler(ctx)
	r := e.begin(ctx)
	if r == nil {
		return ctx.Response.StatusCode()
	}
	if r.head.hidesKeys() { // who gets it, and when, depends on what stands in it (R19, R29)
		r.progress(farFuture) // waiting for the client is not the backends' fault (R13)
		ctx.SetUserValue(pendingKey{}, &pending{request: r})
		return fasthttp.StatusContinue
	}
	r.message.Start()
	timer := time.NewTimer(e.o.continueWait)
	defer timer.Stop()
	select {
	case <-r.ready:
	case <-timer.C:
	case <-r.race.decided():
		r.client.endHere()
		ctx.SetConnectionClose()
		r.answer(ctx)
		return ctx.Response.StatusCode()
	}
	ctx.SetUserValue(pendingKey{}, &pending{request: r})
	return fasthttp.StatusContinue
}

// pending is a request between 100 Continue and its body. The server closes it if the body never
// comes.
type pending struct{ *request }

type pendingKey struct{}

// Close ends a request that nobody has taken over: its client went away between 100 Continue and
// the body. The server then calls refuse, or closes the connection.
func (p *pending) Close() error {
	r := p.request
	if r == nil {
		return nil
	}
	p.request = nil
	answers := r.isDecided() // which has ended the read of the body, and not the client
	if !answers {
		r.abort()
	}
	if !r.client.forsake(r, answers) {
		r.forsaken()
	}
	return nil
}

// forsaken releases a request whose client was not there to be answered.
func (r *request) forsaken() {
	r.disposeOf(r.forgo()) // it may have been decided
	r.answeredWith(errIncompleteBody.status)
	r.unhandle(0)
	r.release()
}

func takePending(ctx *fasthttp.RequestCtx) *request {
	p, ok := ctx.UserValue(pendingKey{}).(*pending)
	if !ok {
		return nil
	}
	r := p.request
	p.request = nil
	return r
}
