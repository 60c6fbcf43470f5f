package engine

import (
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/engine/body"
	"github.com/akubra/akubra/s3"
)

// handle is the server's handler: a request with or without a body.
func (e *Engine) handle(ctx *fasthttp.RequestCtx) {
	r := takePending(ctx)
	defer e.recoverHandler(ctx)
	if r == nil {
		if r = e.begin(ctx); r == nil {
			return
		}
	}
	e.serve(ctx, r)
}

func (e *Engine) serve(ctx *fasthttp.RequestCtx, r *request) {
	problem := r.readBody(ctx)
	if problem != nil {
		r.abort()
		r.finishHandler(ctx, r.fail(ctx, problem))
		lingerOnClose(ctx)
		return
	}
	r.message.Start()
	if r.detach() {
		return // the request is not the handler's any more
	}
	r.awaitDecision(ctx)
}

// answer sends what was decided.
func (r *request) answer(ctx *fasthttp.RequestCtx) {
	if r.head.is(s3.KindInitiate) && r.retryElsewhere(ctx) {
		return
	}
	unwritten := r.promise()
	bodyRead := r.isBodyRead()
	if unwritten == nil && bodyRead && r.isShort() {
		if r.answerShort() != nil {
			ctx.SetConnectionClose()
		}
		return
	}
	if !bodyRead {
		lingerOnClose(ctx)
	}
	// A read that was interrupted just as the body ended leaves a connection
	// that cannot be read from any more, either.
	last := !bodyRead || r.e.closing.Load() || r.client.wasInterrupted()
	if unwritten == nil && r.passes() {
		r.passOn(ctx, last || r.e.stopping.Load() || ctx.Request.Header.ConnectionClose() || ctx.Response.ConnectionClose())
		return
	}
	var status int
	if unwritten == nil {
		status = r.respond(ctx)
	} else {
		r.winner().dispose() // not to be acknowledged (R20)
		status = r.fail(ctx, errJournal)
	}
	if last {
		ctx.SetConnectionClose()
	}
	r.finishHandler(ctx, status)
}

// finishHandler notes the client's side as done, where ctx has the answer.
func (r *request) finishHandler(ctx *fasthttp.RequestCtx, status int) {
	r.answeredWith(status)
	r.client.endRequest(r.message.BodySize())
	r.unhandle(bodySize(ctx, r.head.method))
	r.notServing()
	r.release()
}

// answeredWith notes what the client is told.
func (r *request) answeredWith(status int) {
	r.client.status = status
	r.learnVersion()
	r.e.o.Metrics.RequestEnded(r.head.method, status, r.message.BodySize(), r.race.duration())
}

// unhandle tells the access log of an answer with a body of so many bytes, and takes the
// request out of those that the client waits for. It is called before the answer's end
// goes out, for the client's next request may come right behind that.
func (r *request) unhandle(size int64) {
	r.letNext()
	r.logAccess(size)
}

func (r *request) letNext() {
	if r.client.served == unserved {
		r.client.served = letGo
		r.e.handling.Add(-1)
		r.client.cede()
	}
}

func (r *request) logAccess(size int64) {
	defer r.e.recoverStep("logging a request")
	if r.o.logsAccess {
		a := Access{
			Time: r.head.begun, ID: r.head.id.String(), Remote: r.client.remote, Method: r.head.method, Path: string(r.head.raw),
			Host: string(r.head.host), UserAgent: string(r.head.userAgent), Status: r.client.status,
			BytesIn: r.message.BodySize(), BytesOut: size, Duration: r.head.age(),
		}
		if l := r.winner(); l != nil {
			a.Backend = l.name()
		}
		r.e.o.Log.Access(&a)
	}
}

// fail makes an error of the proxy's own the answer, and the connection's last.
func (r *request) fail(ctx *fasthttp.RequestCtx, problem *s3Error) int {
	r.e.telling(problem).send(ctx, r.head.id.String())
	ctx.SetConnectionClose()
	return problem.status
}

// refuseEarly answers a request that never had legs.
func (e *Engine) refuseEarly(ctx *fasthttp.RequestCtx, problem *s3Error) {
	e.answerAlone(ctx, problem, methodName(ctx.Method()), string(ctx.RequestURI()))
	// Whether there is a body on its way does not matter: it is not read.
	ctx.SetConnectionClose()
	lingerOnClose(ctx)
}

// begin takes a request's head: checks it, builds the head for the backends,
// chooses them and takes their slots. It returns nil where it has answered.
func (e *Engine) begin(ctx *fasthttp.RequestCtx) *request {
	if c, ok := ctx.Conn().(*clientConn); ok && !c.awaitAnswer() {
		ctx.SetConnectionClose()
		return nil
	}
	e.o.Metrics.RequestBegun()
	if c := clientOf(ctx); c != nil && !c.setQuiet(busy) { // its place is another one's
		e.refuseEarly(ctx, errTooManyConnections)
		return nil
	}
	return e.beginAttempt(ctx, 0)
}

// beginAttempt is begin for a CreateMultipartUpload that the backends of tried
// have failed at (R26); for every other request there are none.
func (e *Engine) beginAttempt(ctx *fasthttp.RequestCtx, tried uint64) *request {
	// Legs in the background do not count: a backend that hangs would use up the
	// bound. They have one of their own, the limiter's.
	o := e.current()  // the request keeps it (R22)
	e.inFlight.Add(1) // first: Shutdown waits for whoever does not see that it closes
	if n := e.handling.Add(1); e.closing.Load() || e.isFull(n, o) {
		e.handling.Add(-1)
		e.leave(nil)
		e.refuseEarly(ctx, errTooManyRequests)
		return nil
	}
	r := e.requests.Get().(*request) //nolint:forcetypeassert // the pool holds nothing else
	r.refs.Store(1)
	r.o = o
	r.head.begun = time.Now()
	r.head.id = e.newID()
	r.head.tried = tried
	r.serveOn(ctx)
	problem := r.readHead(ctx)
	if problem == nil {
		problem = r.beginAlone()
	}
	if problem == nil {
		problem = r.beginWrite()
	}
	if problem == nil {
		var want uint64
		if want, problem = r.readers(r.route()); problem == nil {
			problem = r.takeSlots(want)
		}
	}
	if problem == nil {
		problem = r.chooseDecider()
	}
	if problem == nil && !r.enterOverlaps() {
		problem = errKeyBusy
	}
	if problem != nil {
		for i := range r.legs {
			r.legs[i].neverRan()
		}
		r.leaveOverlaps()
		r.handled()
		e.refuseEarly(ctx, problem)
		return nil
	}
	r.enterBucket()
	r.noteBegin()
	r.leaveDecider()
	r.makeMessage()
	e.enlist(r)
	if e.closing.Load() { // R22
		r.abort()
		r.handled()
		e.refuseEarly(ctx, errStopping)
		return nil
	}
	return r
}

// readHead checks the request's head and builds the one for the backends.
func (r *request) readHead(ctx *fasthttp.RequestCtx) *s3Error {
	h := &ctx.Request.Header
	if v := h.Protocol(); string(v) != "HTTP/1.1" && string(v) != "HTTP/1.0" {
		return errVersion
	}
	r.head.method = methodName(h.Method())
	if r.head.method == "CONNECT" {
		return errMethod
	}
	h.DisableNormalizing() // of trailer fields, which are yet to come (R2)
	raw, fields := ctx.RequestURI(), h.RawHeaders()
	if !h.IsHTTP11() && len(h.Host()) == 0 {
		fields = addHost(fields, raw, ctx.LocalAddr())
	}
	var problem string
	r.head.buf, r.head.head, problem = buildHead(r.head.buf[:0], r.head.method, raw, fields, r.o.addRequest)
	if problem != "" {
		return badRequest(problem)
	}
	r.head.keep(len(raw))
	if r.o.tooLarge(r.head.contentLength) || r.o.tooLarge(r.head.decodedLength) {
		return errEntityTooLarge
	}
	r.race.begin(r.head.hasBody())
	r.head.target = s3.ParseTarget(r.head.raw, r.head.host, r.o.Domains)
	if r.head.method == "PUT" || r.head.method == "POST" || r.head.method == "DELETE" {
		r.head.target.Sub = r.head.target.IsSubWrite(r.head.method)
		if r.head.method == "PUT" && !r.head.target.Sub {
			r.head.target.Version = false // content can only be put as a new version
		}
	}
	r.head.kind = r.head.target.KindOf(r.head.method, r.head.copySource)
	r.readForm(h.ContentType())
	r.head.write = r.head.target.Writes(r.head.method, r.head.kind)
	if r.head.copies() { // no other request has one (R15)
		r.head.source = s3.ReadCopySource(h.Peek("X-Amz-Copy-Source"), h.Peek("X-Amz-Copy-Source-Range"))
		r.head.source.OwnTags = strings.EqualFold(string(h.Peek("X-Amz-Tagging-Directive")), "REPLACE")
	}
	switch {
	case r.head.kind == s3.KindDelete && r.head.contentLength > maxDeleteBody:
		return errDeleteTooLarge
	case withheld(ctx, &r.head.head): // and there is room now
		return errTooManyRequests
	}
	if r.o.logsAccess {
		r.client.remote = ctx.RemoteAddr().String()
	}
	return nil
}

// makeMessage takes memory for the message and puts the head into it.
func (r *request) makeMessage() {
	r.message.Begin(body.Options{
		Head:         r.head.bytes(),
		Length:       r.head.bodyLength(),
		MaxRing:      r.o.ringSize,
		Readers:      len(r.legs),
		StallTimeout: r.o.StallTimeout,
		Begun:        r.head.begun,
		Watched:      r.head.isConditional(),
		NoPipes:      !r.client.isPlain() || r.head.isWatched() || r.race.isHeld() || r.isHeldBack(),
	})
}

// clientOf finds the client's connection under the server's.
func clientOf(ctx *fasthttp.RequestCtx) *clientConn {
	if t, ok := ctx.Conn().(*tlsConn); ok {
		return t.client
	}
	c, _ := ctx.Conn().(*clientConn)
	return c
}

func lingerOnClose(ctx *fasthttp.RequestCtx) {
	if c := clientOf(ctx); c != nil {
		c.linger = true
	}
}

// methodName returns m as a string, without an allocation for S3's methods.
func methodName(m []byte) string {
	switch string(m) {
	case "GET":
		return "GET"
	case "PUT":
		return "PUT"
	case "HEAD":
		return "HEAD"
	case "POST":
		return "POST"
	case "DELETE":
		return "DELETE"
	case "OPTIONS":
		return "OPTIONS"
	}
	return string(m)
}
