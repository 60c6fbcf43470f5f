package admin

import (
	"embed"

	"github.com/valyala/fasthttp"
)

//go:embed page/index.html page/page.js page/page.css
var pageFiles embed.FS

// pagePolicy lets the page load what this listener itself serves, and nothing else; no other page
// may frame it.
const pagePolicy = "default-src 'self'"

// pageTypes are the page's files, by path.
var pageTypes = map[string]struct{ file, contentType string }{
	"/":         {"page/index.html", "text/html; charset=utf-8"},
	"/page.js":  {"page/page.js", "text/javascript; charset=utf-8"},
	"/page.css": {"page/page.css", "text/css; charset=utf-8"},
}

// isPage reports whether a path is one of the page's own files: they contain no data, and a
// browser requests them without the token.
func isPage(path string) bool {
	_, is := pageTypes[path]
	return is
}

func (a *Admin) page(ctx *fasthttp.RequestCtx, _ string) {
	f := pageTypes[string(ctx.URI().PathOriginal())]
	body, err := pageFiles.ReadFile(f.file)
	if err != nil {
		panic(err) // it is embedded
	}
	h := &ctx.Response.Header
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache") // another version's page would not understand this one's events
	ctx.SetContentType(f.contentType)
	ctx.SetBody(body)
}

// events is the stream that feeds the page.
func (a *Admin) events(ctx *fasthttp.RequestCtx, _ string) {
	if ctx.IsHead() {
		ctx.SetContentType("text/event-stream")
		return
	}
	w, err := a.live.watch(ctx.Conn())
	if err != nil {
		ctx.Response.Header.Set("Retry-After", "5")
		adminError(ctx, fasthttp.StatusServiceUnavailable, err.Error())
		return
	}
	if !a.token.isIn(ctx) { // it has been changed just now, and the streams that there were have been ended
		_ = w.Close()
		a.askToken(ctx)
		return
	}
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.Response.Header.Set("X-Accel-Buffering", "no") // of an nginx in between
	ctx.SetContentType("text/event-stream")
	ctx.SetBodyStream(w, -1)
}
