package main

import (
	"encoding/json"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/internal/text"
)

// adminRoute is one thing that the admin listener does. NAME in a path stands
// for a backend's host:port, which may be percent-encoded; a * at its end for
// anything. HEAD is served where GET is.
type adminRoute struct {
	method string
	path   string
	serve  func(a *admin, ctx *fasthttp.RequestCtx, name string)
}

var adminRoutes = []adminRoute{
	{"GET", "/health", (*admin).health},
	{"GET", "/ready", (*admin).ready},
	{"GET", "/metrics", (*admin).metrics},
	{"GET", "/status", (*admin).status},
	{"GET", "/debug/pprof", (*admin).pprofIndex},
	{"GET", "/debug/pprof/*", (*admin).pprof},
	{"POST", "/backends/NAME/maintenance", (*admin).beginMaintenance},
	{"DELETE", "/backends/NAME/maintenance", (*admin).endMaintenance},
	{"POST", "/configuration/validate", (*admin).validate},
	{"GET", "/journal", (*admin).journal},
	// For `akubra repair` and `akubra verify` beside this proxy (admin_journal.go).
	{"POST", "/journal/open", journalRoute("open")},
	{"POST", "/journal/live", journalRoute("live")},
	{"POST", "/journal/close", journalRoute("close")},
	{"POST", "/journal/next", journalRoute("next")},
	{"POST", "/journal/add", journalRoute("add")},
	{"POST", "/journal/resolve", journalRoute("resolve")},
	{"POST", "/journal/resolved", journalRoute("resolved")},
	{"POST", "/journal/note", journalRoute("note")},
	{"POST", "/journal/begin", journalRoute("begin")},
	{"POST", "/journal/seal", journalRoute("seal")},
	{"POST", "/journal/unseal", journalRoute("unseal")},
	{"POST", "/journal/end", journalRoute("end")},
}

// match tells whether path is the route's, and what stands for NAME in it.
func (r *adminRoute) match(path string) (name string, ok bool) {
	if prefix, open := strings.CutSuffix(r.path, "*"); open {
		return "", strings.HasPrefix(path, prefix)
	}
	before, after, named := strings.Cut(r.path, "NAME")
	if !named {
		return "", path == r.path
	}
	if path, ok = strings.CutPrefix(path, before); !ok {
		return "", false
	}
	if path, ok = strings.CutSuffix(path, after); !ok || strings.Contains(path, "/") {
		return "", false
	}
	name, err := url.PathUnescape(path)
	return name, err == nil
}

// routeForAnyone answers health checks that do not know this listener's name, or have
// none (HTTP/1.0), with nothing but the fact. It is false for all other requests.
func (a *admin) routeForAnyone(ctx *fasthttp.RequestCtx, method, path string) bool {
	switch {
	case method != "GET" && method != "HEAD":
		return false
	case path == "/health":
		a.health(ctx, "")
	case path == "/ready":
		r := a.readiness(a.o.Status())
		r.Backends = nil
		answerReadiness(ctx, r)
	default:
		return false
	}
	return true
}

func (a *admin) route(ctx *fasthttp.RequestCtx) {
	method := string(ctx.Method())
	// As it was sent: the server's own form has "%2F" for "/" already.
	path := string(ctx.URI().PathOriginal())
	ctx.Response.Header.Set("Cross-Origin-Resource-Policy", "same-origin") // R37, for browsers that say nothing
	if status, why := a.ownRequest(ctx); status != 0 {
		if !a.routeForAnyone(ctx, method, path) {
			adminError(ctx, status, why)
		}
		return
	}
	var allowed []string
	for i := range adminRoutes {
		r := &adminRoutes[i]
		name, ok := r.match(path)
		if !ok {
			continue
		}
		if method == r.method || method == "HEAD" && r.method == "GET" {
			r.serve(a, ctx, name)
			return
		}
		allowed = append(allowed, r.method)
		if r.method == "GET" {
			allowed = append(allowed, "HEAD")
		}
	}
	if allowed == nil {
		adminJSON(ctx, fasthttp.StatusNotFound, map[string]any{"error": "cannot find this path", "routes": routeList()})
		return
	}
	slices.Sort(allowed)
	ctx.Response.Header.Set("Allow", strings.Join(allowed, ", "))
	adminError(ctx, fasthttp.StatusMethodNotAllowed, "cannot do that here: allowed are "+strings.Join(allowed, ", "))
}

func routeList() []string {
	var list []string
	for i := range adminRoutes {
		list = append(list, adminRoutes[i].method+" "+adminRoutes[i].path)
	}
	return list
}

// adminJSON answers with v, spread over lines, for people with curl.
func adminJSON(ctx *fasthttp.RequestCtx, status int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // only types of this package come here
	}
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json")
	ctx.SetBody(append(text.EscapeControls(body), '\n')) // for people's terminals
}

func adminError(ctx *fasthttp.RequestCtx, status int, message string) {
	adminJSON(ctx, status, map[string]string{"error": message})
}

// remoteHost is who asked, for the log.
func remoteHost(addr net.Addr) string {
	if host, _, err := net.SplitHostPort(addr.String()); err == nil {
		return host
	}
	return addr.String()
}
