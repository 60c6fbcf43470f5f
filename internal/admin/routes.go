package admin

import (
	"encoding/json"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/internal/text"
)

// adminRoute is one thing that the admin listener does. NAME in a path stands for a backend's
// host:port, which may be percent-encoded; a * at the end for anything. HEAD is served wherever GET
// is.
type adminRoute struct {
	method string
	path   string
	serve  func(a *Admin, ctx *fasthttp.RequestCtx, name string)
}

var adminRoutes = []adminRoute{
	{"GET", "/health", (*Admin).health},
	{"GET", "/ready", (*Admin).ready},
	{"GET", "/metrics", (*Admin).metrics},
	{"GET", "/", (*Admin).page},
	{"GET", "/page.js", (*Admin).page},
	{"GET", "/page.css", (*Admin).page},
	{"GET", "/events", (*Admin).events},
	{"GET", "/status", (*Admin).status},
	{"GET", "/debug/pprof", (*Admin).pprofIndex},
	{"GET", "/debug/pprof/*", (*Admin).pprof},
	{"POST", "/backends/NAME/maintenance", (*Admin).beginMaintenance},
	{"DELETE", "/backends/NAME/maintenance", (*Admin).endMaintenance},
	{"POST", "/configuration/validate", (*Admin).validate},
	{"POST", "/configuration/reload", (*Admin).reload},
	{"GET", "/journal", (*Admin).journal},
	{"POST", "/parked/resolve", (*Admin).settle},
}

// metricsRoutes are those of a listener for metrics alone.
var metricsRoutes = adminRoutes[:3:3]

// journalRoutes are the calls of the protocol behind JournalCalls, for `akubra repair` and `akubra
// verify` beside this proxy.
func (a *Admin) journalRoutes() (routes []adminRoute) {
	for _, call := range a.o.JournalCalls {
		routes = append(routes, adminRoute{"POST", "/journal/" + call, func(a *Admin, ctx *fasthttp.RequestCtx, _ string) {
			status, answer, err := a.o.JournalCall(call, ctx.PostBody(), remoteHost(ctx.RemoteAddr()))
			if err != nil {
				adminError(ctx, status, err.Error())
				return
			}
			adminJSON(ctx, status, answer)
		}})
	}
	return routes
}

// match reports whether path matches the route, and returns what NAME stands for.
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

// routeForAnyone answers health checks that do not know this listener's name or send none
// (HTTP/1.0), revealing nothing but the state itself. It returns false for all other requests.
func (a *Admin) routeForAnyone(ctx *fasthttp.RequestCtx, method, path string) bool {
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

func (a *Admin) route(ctx *fasthttp.RequestCtx) {
	method := string(ctx.Method())
	// As sent: in the server's own form "%2F" is already "/".
	path := string(ctx.URI().PathOriginal())
	ctx.Response.Header.Set("Cross-Origin-Resource-Policy", "same-origin") // R37, for browsers that do not name the site
	if status, why := a.ownRequest(ctx); status != 0 {
		if !a.routeForAnyone(ctx, method, path) {
			adminError(ctx, status, why)
		}
		return
	}
	if path != "/metrics" && !isPage(path) && !a.token.isIn(ctx) {
		if !a.routeForAnyone(ctx, method, path) {
			a.askToken(ctx)
		}
		return
	}
	var allowed []string
	for i := range a.routes {
		r := &a.routes[i]
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
		adminJSON(ctx, fasthttp.StatusNotFound, map[string]any{"error": "cannot find this path", "routes": a.routeList()})
		return
	}
	slices.Sort(allowed)
	ctx.Response.Header.Set("Allow", strings.Join(allowed, ", "))
	adminError(ctx, fasthttp.StatusMethodNotAllowed, "cannot use this method here: allowed are "+strings.Join(allowed, ", "))
}

func (a *Admin) routeList() []string {
	var list []string
	for i := range a.routes {
		list = append(list, a.routes[i].method+" "+a.routes[i].path)
	}
	return list
}

// adminJSON answers with v as indented JSON, for people who use curl.
func adminJSON(ctx *fasthttp.RequestCtx, status int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // can only be a type of this package
	}
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json")
	ctx.SetBody(append(text.EscapeControls(body), '\n')) // protects terminals
}

func adminError(ctx *fasthttp.RequestCtx, status int, message string) {
	adminJSON(ctx, status, map[string]string{"error": message})
}

// remoteHost is the client's host, for the log.
func remoteHost(addr net.Addr) string {
	if host, _, err := net.SplitHostPort(addr.String()); err == nil {
		return host
	}
	return addr.String()
}
