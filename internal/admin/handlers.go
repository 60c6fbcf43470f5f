package admin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/pprofhandler"

	"github.com/akubra/akubra/internal/health"
	"github.com/akubra/akubra/internal/metrics"
	"github.com/akubra/akubra/limiter"
	"github.com/akubra/akubra/synclog/repair"
)

// maxProfileSeconds bounds a profile or trace, since a trace is held in memory.
const maxProfileSeconds = 60

func (a *Admin) health(ctx *fasthttp.RequestCtx, _ string) {
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString("ok\n")
}

// readiness says whether clients should be sent here.
type readiness struct {
	Ready    bool           `json:"ready"`
	Reason   string         `json:"reason,omitempty"` // why not
	Backends []backendState `json:"backends,omitempty"`
}

type backendState struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Silent bool   `json:"silent,omitempty"` // it does not answer at all
	Error  string `json:"error,omitempty"`  // why
}

func (a *Admin) readiness(all []limiter.Status) readiness {
	r := readiness{Reason: "no backend is in the pool"}
	how := a.o.Health()
	for i := range all {
		b := backendState{Name: all[i].Name, State: all[i].State, Silent: how[i].Silent}
		if b.Silent {
			b.Error = how[i].LastError.Error
		}
		r.Backends = append(r.Backends, b)
		switch {
		case b.State != limiter.StateActive:
		case b.Silent: // the last backend is never demoted, but counts as out all the same (R36)
			if !r.Ready {
				r.Reason = "no backend in the pool answers"
			}
		default:
			r.Ready, r.Reason = true, ""
		}
	}
	if a.draining.Load() {
		r.Ready, r.Reason = false, "shutting down"
	}
	return r
}

func (a *Admin) ready(ctx *fasthttp.RequestCtx, _ string) {
	answerReadiness(ctx, a.readiness(a.o.Status()))
}

func answerReadiness(ctx *fasthttp.RequestCtx, r readiness) {
	status := fasthttp.StatusOK
	if !r.Ready {
		status = fasthttp.StatusServiceUnavailable
	}
	adminJSON(ctx, status, r)
}

func (a *Admin) metrics(ctx *fasthttp.RequestCtx, _ string) {
	if !a.metricsToken.isIn(ctx) {
		ctx.Response.Header.Set("WWW-Authenticate", `Bearer realm="akubra metrics"`)
		adminError(ctx, fasthttp.StatusUnauthorized, "cannot show metrics without their token (MetricsToken): send it as Authorization: Bearer")
		return
	}
	ctx.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	a.o.Metrics.Write(ctx)
}

// adminStatus is the response to /status.
type adminStatus struct {
	Sentence string          `json:"sentence"` // how things are
	Version  string          `json:"version"`
	Started  time.Time       `json:"started"`
	Uptime   string          `json:"uptime"`
	Ready    bool            `json:"ready"`
	InFlight int             `json:"inflight"`
	Backends []backendStatus `json:"backends"`
	Counters metrics.Totals  `json:"counters"`
	Synclog  synclogStatus   `json:"synclog"`
	Journal  any             `json:"journal"`
	Repair   *repair.Status  `json:"repair,omitempty"` // in this process
	// Certificates are those in use.
	Certificates []metrics.Certificate `json:"certificates"`
}

type backendStatus struct {
	limiter.Status
	URL    string            `json:"url"`
	Health health.Status     `json:"health"`
	Legs   map[string]uint64 `json:"legs"`  // by outcome
	Bytes  uint64            `json:"bytes"` // sent
}

type synclogStatus struct {
	Written uint64 `json:"written"`
	Failed  uint64 `json:"failed"`
	Skipped uint64 `json:"skipped"`
}

func (a *Admin) status(ctx *fasthttp.RequestCtx, _ string) {
	all := a.o.Status()
	s := adminStatus{
		Version:  a.o.Version,
		Started:  a.started.UTC(),
		Uptime:   time.Since(a.started).Round(time.Second).String(),
		Ready:    a.readiness(all).Ready,
		InFlight: a.o.InFlight(),
		Counters: a.o.Metrics.Totals(),
		Synclog:  synclogStatus(a.o.Records()),
		Journal:  a.o.JournalStatus(),

		Certificates: a.certificates(),
	}
	if r, ok := a.o.Repair(); ok {
		s.Repair = &r
	}
	for i := range all {
		s.Backends = append(s.Backends, a.backendStatus(all, i))
	}
	s.Sentence, _ = a.sentence(all, a.o.Health(), a.o.Owed())
	adminJSON(ctx, fasthttp.StatusOK, s)
}

func (a *Admin) backendStatus(all []limiter.Status, i int) backendStatus {
	b := backendStatus{Status: all[i], URL: a.o.URLs[i], Health: a.o.Health()[i]}
	b.Legs, b.Bytes = a.o.Metrics.Legs(i)
	return b
}

// pprofIndex redirects to the page; its links are relative.
func (a *Admin) pprofIndex(ctx *fasthttp.RequestCtx, _ string) {
	ctx.Response.Header.Set("Location", "/debug/pprof/")
	ctx.SetStatusCode(fasthttp.StatusMovedPermanently)
}

func (a *Admin) pprof(ctx *fasthttp.RequestCtx, _ string) {
	if s := string(ctx.QueryArgs().Peek("seconds")); s != "" {
		if n, err := strconv.ParseFloat(s, 64); err != nil || !(n >= 0 && n <= maxProfileSeconds) { // NaN must fail
			adminError(ctx, fasthttp.StatusBadRequest, fmt.Sprintf("cannot profile for %q seconds: must be from 0 to %d", s, maxProfileSeconds))
			return
		}
	}
	pprofhandler.PprofHandler(ctx)
}

func (a *Admin) beginMaintenance(ctx *fasthttp.RequestCtx, name string) { a.maintain(ctx, name, true) }
func (a *Admin) endMaintenance(ctx *fasthttp.RequestCtx, name string)   { a.maintain(ctx, name, false) }

// maintain starts or ends a backend's maintenance, at once (R14). The last backend that is not in
// maintenance cannot be taken in: the limiter would allow it, but whoever posts here may not know
// the state of the others.
func (a *Admin) maintain(ctx *fasthttp.RequestCtx, name string, on bool) {
	a.maintaining.Lock()
	defer a.maintaining.Unlock()
	action := "maintenance on"
	if !on {
		action = "maintenance off"
	}
	all := a.o.Status()
	backend := slices.IndexFunc(all, func(s limiter.Status) bool { return strings.EqualFold(s.Name, name) })
	if backend < 0 {
		names := make([]string, len(all))
		for i := range all {
			names[i] = all[i].Name
		}
		a.audit(ctx, action, name, "refused: there is no such backend")
		adminJSON(ctx, fasthttp.StatusNotFound, map[string]any{"error": fmt.Sprintf("cannot find backend %q", name), "backends": names})
		return
	}
	others := slices.ContainsFunc(all, func(s limiter.Status) bool { return !s.Maintained && s.Name != all[backend].Name })
	if on && !others && !all[backend].Maintained {
		a.audit(ctx, action, all[backend].Name, "refused: every other backend is in maintenance")
		adminError(ctx, fasthttp.StatusConflict, fmt.Sprintf("cannot take backend %q into maintenance: every other one is in maintenance, so no request could be served", all[backend].Name))
		return
	}
	result := "it was so already"
	changed, warnings := a.o.SetMaintained(backend, on)
	if changed {
		result = "done"
	}
	a.audit(ctx, action, all[backend].Name, result)
	all = a.o.Status()
	answer := maintained{backendStatus: a.backendStatus(all, backend)}
	if ready := a.readiness(all); on && !ready.Ready {
		warnings = append(warnings, ready.Reason+": clients get 503")
	}
	answer.Warning = strings.Join(warnings, "; ")
	adminJSON(ctx, fasthttp.StatusOK, answer)
}

// maintained is the response about a backend's maintenance.
type maintained struct {
	backendStatus
	// Warning says if no backend is left that answers (one may be down without being in maintenance), if
	// too few are left for WriteAck, and if the change will not survive a restart.
	Warning string `json:"warning,omitempty"`
}

// validation is the response about a configuration.
type validation struct {
	Valid    bool     `json:"valid"`
	Mistakes []string `json:"mistakes,omitempty"`
	// Unopened are the keys whose files were not checked.
	Unopened []string `json:"unopened,omitempty"`
}

// validate reports what a start with the configuration in the body would report (R21), apart from
// this process's environment and the files it names: a sender must not learn anything about files
// (R37); `akubra check` checks those. Nothing is changed.
func (a *Admin) validate(ctx *fasthttp.RequestCtx, _ string) {
	unopened, mistakes := a.o.CheckConfig(ctx.PostBody())
	if mistakes == nil {
		adminJSON(ctx, fasthttp.StatusOK, validation{Valid: true, Unopened: unopened})
		return
	}
	adminJSON(ctx, fasthttp.StatusBadRequest, validation{Mistakes: mistakes, Unopened: unopened})
}

// reload has the proxy read its own file again, not the body: whoever posts here may decide when, but
// not what (R22).
func (a *Admin) reload(ctx *fasthttp.RequestCtx, _ string) {
	result, ok := a.o.Reload(remoteHost(ctx.RemoteAddr()))
	status, became := fasthttp.StatusOK, "done"
	if !ok {
		status, became = fasthttp.StatusBadRequest, "refused: there is a mistake"
	}
	a.audit(ctx, "reload", "configuration", became)
	adminJSON(ctx, status, result)
}

func (a *Admin) journal(ctx *fasthttp.RequestCtx, _ string) {
	if a.o.JournalPage == nil {
		adminJSON(ctx, fasthttp.StatusOK, a.o.JournalStatus())
		return
	}
	q := ctx.QueryArgs()
	limit := parkedShown
	if s := string(q.Peek("limit")); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			adminError(ctx, fasthttp.StatusBadRequest, fmt.Sprintf("cannot show %q keys: limit must be a number, 0 or more", s))
			return
		}
		limit = n
	}
	ask := string(q.Peek("ask"))
	status, page, err := a.o.JournalPage(limit, string(q.Peek("reason")), q.Has("ask") && ask != "0" && ask != "false")
	if err != nil {
		adminError(ctx, status, err.Error())
		return
	}
	adminJSON(ctx, status, page)
}

// parkedShown is how many parked keys /journal has, unless it is told.
const parkedShown = 100
