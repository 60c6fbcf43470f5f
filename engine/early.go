package engine

import (
	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/s3"
)

// The server waits for the first byte of a body before it calls the handler. What is
// going to be refused whatever the body is must not wait for it: the client may be
// waiting for the answer.

// headerReceived is called by the server between head and body.
func (e *Engine) headerReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if n := int64(h.ContentLength()); n > 0 && e.refusesBody(e.current(), h, n) {
		// No byte is read: for the server there is no body. The handler knows the
		// length from the raw head, refuses it, and the connection is closed (R7).
		h.SetContentLength(0)
	}
	return fasthttp.RequestConfig{}
}

// refusesBody reports whether a request with a body of n bytes is refused by its head
// alone, as far as that can be told without parsing it once more.
func (e *Engine) refusesBody(g *generation, h *fasthttp.RequestHeader, n int64) bool {
	if g.tooLarge(n) || e.closing.Load() || e.handling.Load() >= int64(g.MaxConcurrentRequests) {
		return true
	}
	if n <= maxDeleteBody || !h.IsPost() {
		return false
	}
	t := s3.ParseTarget(h.RequestURI(), h.Host(), g.Domains)
	return t.KindOf("POST", false) == s3.KindDelete
}

// tooLarge reports whether a body of n bytes is larger than MaxBodySize.
func (g *generation) tooLarge(n int64) bool { return g.MaxBodySize > 0 && n > g.MaxBodySize }

// withheld reports whether the server was told not to read the body.
func withheld(ctx *fasthttp.RequestCtx, h *head) bool {
	return h.contentLength > 0 && ctx.Request.Header.ContentLength() == 0
}
