package engine

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/s3"
)

// s3Error is one of the proxy's own answers, in S3's words, so that SDKs know whether to try again
// (S3 API reference, "Error responses").
type s3Error struct {
	status  int
	code    string
	message string
	reason  string // what metrics count it by; "" where it tells what a backend has said
}

// Refusals are the reasons of the proxy's own answers, with their statuses.
func Refusals() map[string]int { return refusals }

var refusals = map[string]int{}

// refusal makes one of the proxy's own answers. Only variables of this package are made with it.
func refusal(reason string, status int, code, message string) *s3Error {
	refusals[reason] = status
	return &s3Error{status, code, message, reason}
}

// telling counts one of the proxy's own answers, which its caller sends.
func (e *Engine) telling(problem *s3Error) *s3Error {
	if problem.reason != "" {
		e.o.Metrics.Refused(problem.reason)
	}
	return problem
}

func (e *s3Error) Error() string { return e.code + ": " + e.message }

var (
	errNoBackend          = refusal("no_backend", 503, "ServiceUnavailable", "No backend answered. Please try again.")
	errTooFewAcks         = refusal("write_ack", 503, "ServiceUnavailable", "Fewer backends have taken this write than it needs. Please try again.")
	errNoPool             = refusal("no_owner", 503, "ServiceUnavailable", "The backend that serves this request is not available. Please try again.")
	errSlowDown           = refusal("no_connection", 503, "SlowDown", "No connection to a backend is free. Please reduce your request rate.")
	errSourceOwed         = refusal("source_owed", 503, "SlowDown", "The backend that would copy this object does not have its latest version yet. Please try again.")
	errSourceElsewhere    = refusal("source_elsewhere", 503, "SlowDown", "The backend that has this upload did not issue the id of the version to copy, and does not know it. Please read the version and upload it as a part.")
	errBehind             = refusal("behind", 503, "SlowDown", "The backends that are available do not have the latest version of this object yet. Please try again.")
	errKeyBusy            = refusal("key_in_repair", 503, "SlowDown", "The object is being repaired. Please try again.")
	errKeyContended       = refusal("key_contended", 503, "SlowDown", "Too many conditional requests are writing this object. Please try again.")
	errNoDecider          = refusal("no_decider", 503, "SlowDown", "No backend that could decide the condition is available and up to date. Please try again.")
	errTooManyRequests    = refusal("requests", 503, "SlowDown", "Too many requests are in flight. Please reduce your request rate.")
	errTooManyWrites      = refusal("writes", 503, "SlowDown", "Too many writes are under way. Please reduce your request rate.")
	errTooManyConnections = refusal("connections", 503, "SlowDown", "Too many connections are open. Please reduce your request rate.")
	errJournal            = refusal("journal", 503, "ServiceUnavailable", "The proxy accepts no writes because its journal cannot be written. Please contact its operator.")
	errStopping           = refusal("stopping", 503, "ServiceUnavailable", "The proxy is shutting down. Please try again.")
	errEntityTooLarge     = refusal("body_too_large", 400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.")
	errKeyTooLong         = refusal("key_too_long", 400, "KeyTooLongError", "Your key is too long.")
	errIncompleteBody     = refusal("incomplete_body", 400, "IncompleteBody", "The request body ended before the number of bytes that was announced.")
	errMalformedBody      = refusal("malformed_body", 400, "InvalidRequest", "The request body's chunked coding is malformed.")
	errRequestTimeout     = refusal("client_timeout", 400, "RequestTimeout", "Your socket connection to the server was not read from or written to within the timeout period.")
	errDeleteTooLarge     = refusal("delete_too_large", 400, "MalformedXML", "The list of objects to delete is larger than 2 MB.")
	errDeleteTooMany      = refusal("delete_too_many", 400, "MalformedXML", "The list of objects to delete has more than 1,000.")
	errDeleteMalformed    = refusal("delete_malformed", 400, "MalformedXML", "The list of objects to delete is not well-formed, or does not have the published form.")
	errDeleteKeyTooLong   = refusal("delete_key_too_long", 400, "KeyTooLongError", "The key of an object to delete is too long.")
	errMethod             = refusal("method", 405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	errHeadTooLarge       = refusal("head_too_large", 431, "RequestHeaderSectionTooLarge", "Your request header exceeds the maximum allowed size.")
	errVersion            = refusal("http_version", 505, "HttpVersionNotSupported", "The HTTP version specified is not supported.")
	errMalformed          = refusal("malformed", 400, "InvalidRequest", "The request is ambiguous or malformed.")
	errInternal           = refusal("internal", 500, "InternalError", "We encountered an internal error. Please try again.")
)

func badRequest(problem string) *s3Error {
	return &s3Error{400, "InvalidRequest", "The request is ambiguous or malformed: " + problem + ".", errMalformed.reason}
}

// resourceOf returns what S3 calls the resource of a request target: its path. A query may hold
// secrets, such as those of a presigned URL, and an absolute target may hold a password (R37).
func resourceOf(target string) string {
	target, _, _ = strings.Cut(target, "?")
	if _, rest, absolute := strings.Cut(target, "://"); absolute && target[0] != '/' {
		_, path, _ := strings.Cut(rest, "/")
		return "/" + path
	}
	return target
}

// body is the answer's XML document.
func (e *s3Error) body(requestID, resource string) string {
	return s3.ErrorDocument(e.code, e.message, resourceOf(resource), requestID)
}

// send answers ctx's request with e.
func (e *s3Error) send(ctx *fasthttp.RequestCtx, requestID string) {
	ctx.Response.Reset()
	ctx.Response.Header.SetNoDefaultContentType(true)
	ctx.Response.SetStatusCode(e.status)
	ctx.Response.Header.SetContentType("application/xml")
	ctx.Response.Header.Set("X-Amz-Request-Id", requestID)
	ctx.Response.SetBodyString(e.body(requestID, string(ctx.RequestURI())))
}

// append appends e as a complete answer, for places where the server does not write it. size is
// that of the body, which an answer to HEAD does not have.
func (e *s3Error) append(dst []byte, requestID, resource, method string, last bool) (out []byte, size int) {
	body := e.body(requestID, resource)
	dst = append(dst, "HTTP/1.1 "+strconv.Itoa(e.status)+" "+fasthttp.StatusMessage(e.status)+"\r\n"...)
	dst = appendField(dst, "Content-Type", "application/xml")
	dst = appendField(dst, "X-Amz-Request-Id", requestID)
	dst = appendField(dst, "Content-Length", strconv.Itoa(len(body)))
	if last {
		dst = appendField(dst, "Connection", "close")
	}
	dst = append(dst, "\r\n"...)
	if method == "HEAD" {
		return dst, 0
	}
	return append(dst, body...), len(body)
}

// ownAnswer returns a complete answer to a request that the server never sees, the size of its
// body, and its id.
func (e *Engine) ownAnswer(problem *s3Error) (answer []byte, size int, id string) {
	id = e.newID().String()
	answer, size = e.telling(problem).append(nil, id, "/", "", true)
	return answer, size, id
}

// told counts such an answer and reports it to the access log (R8). What is not known of the
// request is "".
func (e *Engine) told(remote net.Addr, id, method, target string, status, size int) {
	e.o.Metrics.RequestBegun()
	e.o.Metrics.RequestEnded(method, status, 0, 0)
	if e.current().logsAccess {
		e.o.Log.Access(&Access{
			Time: time.Now(), ID: id, Remote: remote.String(), Method: method, Path: target,
			Status: status, BytesOut: int64(size),
		})
	}
}

// refuse answers what the HTTP server could not read as a request (R8, R23).
func (e *Engine) refuse(ctx *fasthttp.RequestCtx, err error) {
	if c, ok := ctx.Conn().(*clientConn); ok {
		c.awaitAnswer()
	}
	answer := problemOf(err)
	if c := clientOf(ctx); c != nil {
		c.linger = true
		if c.quiet() == evicted {
			answer = errTooManyConnections
		}
		if r := c.forsaken; r != nil {
			c.forsaken = nil
			if c.answers { // all have answered before the first byte of the body (R9)
				<-r.race.decided()
				r.client.endHere()
				ctx.SetConnectionClose()
				r.answer(ctx)
				return
			}
			r.disposeOf(r.forgo())
			r.finishHandler(ctx, r.fail(ctx, answer))
			return
		}
	}
	e.o.Metrics.RequestBegun()
	method, target := requestLineOf(err)
	e.answerAlone(ctx, answer, method, target)
}

// problemOf says what happens to a request that cannot be read.
func problemOf(err error) *s3Error {
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.As(err, &small):
		return errHeadTooLarge
	case isTimeout(err):
		return errRequestTimeout
	}
	return badRequest("it cannot be parsed")
}

// answerAlone answers a request that has no legs, and never had any, with one of the proxy's own
// errors, which is counted and logged like any other answer (R8).
func (e *Engine) answerAlone(ctx *fasthttp.RequestCtx, problem *s3Error, method, target string) {
	id := e.newID().String()
	e.telling(problem).send(ctx, id)
	ctx.Response.SkipBody = method == "HEAD"
	e.o.Metrics.RequestEnded(method, problem.status, 0, 0)
	if e.current().logsAccess {
		e.o.Log.Access(&Access{
			Time: time.Now(), ID: id, Remote: ctx.RemoteAddr().String(), Method: method, Path: target,
			Host: string(ctx.Host()), UserAgent: string(ctx.UserAgent()), Status: problem.status,
			BytesOut: bodySize(ctx, method),
		})
	}
}

// bodySize is how much of the body of ctx's answer will be sent.
func bodySize(ctx *fasthttp.RequestCtx, method string) int64 {
	if method == "HEAD" {
		return 0
	}
	return int64(len(ctx.Response.Body()))
}

// The server's errors end with what could not be parsed, or its beginning and end, quoted.
const quotesHead = ", contents: "

// requestLineOf finds method and target in one of the server's errors: the head itself is gone.
// Both are empty if they cannot be found.
func requestLineOf(err error) (method, target string) {
	_, rest, _ := strings.Cut(err.Error(), quotesHead)
	quoted, _ := strconv.QuotedPrefix(rest)
	head, _ := strconv.Unquote(quoted)
	return parseRequestLine(head)
}

// parseRequestLine finds method and target at the beginning of a request's head, or of what has
// arrived of one.
func parseRequestLine(head string) (method, target string) {
	line, _, _ := strings.Cut(head, "\n")
	method, rest, ok := strings.Cut(strings.TrimSuffix(line, "\r"), " ")
	target, _, _ = strings.Cut(rest, " ")
	if !ok || method == "" || checkRequestLine(method, []byte(target)) != "" {
		return "", ""
	}
	return method, target
}

// withoutHead returns the error's text without what the peer sent, which may contain what does not
// belong in a log (R37).
func withoutHead(err error) string {
	text, _, _ := strings.Cut(err.Error(), quotesHead)
	return text
}
