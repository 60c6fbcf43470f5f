package engine

import (
	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/s3"
)

// The server waits for the first byte of a body before it calls the handler. A request that will
// be refused whatever its body must not wait for that: its client may be waiting for the answer.

// headerReceived is called by the server between the head and the body.
func (e *Engine) headerReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if n := int64(h.ContentLength()); n > 0 && e.refusesBody(e.current(), h, n) {
		// No byte is read: the server believes there is no body. The handler knows the length from
		// the raw head and refuses the request, and the connection is closed (R7).
		h.SetContentLength(0)
	}
	return fasthttp.RequestConfig{}
}

// refusesBody reports whether a request with a body of n bytes is refused because of its head
// alone, as far as that can be told without parsing it again.
func (e *Engine) refusesBody(g *generation, h *fasthttp.RequestHeader, n int64) bool {
	if g.tooLarge(n) || e.closing.Load() || e.isFull(e.handling.Load()+1, g) {
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
