package service

import (
	"time"

	"github.com/rs/zerolog"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/health"
	"github.com/akubra/akubra/limiter"
)

var _ engine.Health = (*health.Health)(nil)

// lookInterval is how often to look for requests that wait for a backend.
const lookInterval = time.Second

// healthWatch makes Health look regularly, and reports its findings in the main log (R36).
type healthWatch struct {
	*health.Health
	*watch
	status func() []limiter.Status
	log    *zerolog.Logger
}

func newHealthWatch(names []string, status func() []limiter.Status, log *zerolog.Logger) *healthWatch {
	w := &healthWatch{status: status, log: log}
	w.watch = newWatch(w.lookAtWaiting, lookInterval)
	w.Health = health.New(health.Options{Names: names, Failing: w.failing, Over: w.over})
	return w
}

func (w *healthWatch) lookAtWaiting() {
	all := w.status()
	waiting := make([]health.Waiting, len(all))
	for i := range all {
		waiting[i] = health.Waiting{Requests: all[i].Stalled, Longest: time.Duration(all[i].Waiting * float64(time.Second))}
	}
	w.Look(waiting)
}

func (w *healthWatch) failing(e health.Event) {
	line, msg := w.log.Warn(), "backend still fails: "+e.Means
	if e.First {
		msg = "backend fails: " + e.Means
		if e.Cause != health.Slow { // some requests are simply slow
			line = w.log.Error()
		}
	}
	line.Str("backend", e.Name).Str("cause", string(e.Cause)).Str("error", e.Error).Uint64("failures", e.Count).
		Time("since", e.Since.UTC()).Msg(msg)
}

func (w *healthWatch) over(e health.Event) {
	msg := "backend has recovered from: "
	if !e.Proven {
		msg = "backend has not failed again, but nobody has asked it for the same: "
	}
	w.log.Warn().Str("backend", e.Name).Str("cause", string(e.Cause)).Uint64("failures", e.Count).
		Time("since", e.Since.UTC()).Str("for", e.For.Round(time.Millisecond).String()).Str("error", e.Error).
		Msg(msg + e.Means)
}

// returner is the prober's Returner: the limiter decides about demoted backends (R13), Health about
// those that may or may not answer (R36).
type returner struct {
	*limiter.Limiter
	health *healthWatch
}

func (r returner) Returnable(backend int) bool {
	if r.Limiter.Returnable(backend) {
		return true
	}
	// A backend in maintenance gets nothing (R14), and a demoted one waits until it is idle.
	return r.health.Doubtful(backend) && r.State(backend) == limiter.StateActive
}

func (r returner) Return(backend int) bool {
	r.health.Reached(backend)
	return r.Limiter.Return(backend)
}

func (r returner) Unreached(backend int, err error) { r.health.Unreached(backend, err) }

func (p *Proxy) demoted(e limiter.Event) {
	line := p.logs.Main.Error().Str("backend", e.Name).Str("reason", e.Reason).Interface("counts", e.Counts)
	if last := p.health.StatusOf(e.Backend).LastError; last != nil && time.Since(last.Last) < lastErrorAge { // R36
		line = line.Str("cause", string(last.Cause)).Str("means", last.Means).Str("error", last.Error).
			Uint64("failures", last.Count).Time("last", last.Last)
	}
	line.Msg("backend demoted: it gets no requests until it answers again")
	p.silence.demoted(e)
}

// strayed says that a backend sends bytes that nobody asked for (R32).
func (p *Proxy) strayed(backend string) {
	p.logs.Main.Warn().Str("backend", backend).
		Msg("backend sends what nobody asked for: so that no client gets another one's answer, each request goes out on a new connection for some time")
}

func (p *Proxy) returned(e limiter.Event) {
	p.logs.Main.Warn().Str("backend", e.Name).Msg("backend is back in the pool")
	if r := p.repairer.Load(); r != nil {
		r.Kick()
	}
}
