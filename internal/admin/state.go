package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/internal/health"
	"github.com/akubra/akubra/internal/metrics"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/limiter"
)

// pageState is one sample for the page.
type pageState struct {
	Now      time.Time      `json:"now"`
	Version  string         `json:"version"`
	Started  time.Time      `json:"started"`
	Sentence string         `json:"sentence"`
	Tone     string         `json:"tone"`
	Ready    bool           `json:"ready"`
	InFlight int            `json:"inflight"`
	Buttons  bool           `json:"buttons"` // there is a token
	Backends []pageBackend  `json:"backends"`
	Owed     int            `json:"owed"`
	Parked   int            `json:"parked"`
	For      map[string]int `json:"parked_for,omitempty"`
	Jobs     []pageJob      `json:"jobs"`
	Slow     any            `json:"slow"`
	Config   any            `json:"config"`

	Certificates []metrics.Certificate `json:"certificates"`
}

// pageBackend is a backend's lane.
type pageBackend struct {
	Name      string           `json:"name"`
	URL       string           `json:"url"`
	State     string           `json:"state"`
	Seconds   float64          `json:"seconds"` // in this state
	Why       string           `json:"why"`
	Busy      int              `json:"busy"`
	Stalled   int              `json:"stalled"`
	Silent    bool             `json:"silent"`
	Failing   []health.Failure `json:"failing"`
	LastError *health.Failure  `json:"last_error"`
	Millis    *[3]float64      `json:"millis"` // p50, p95, p99; null is not known
	Owed      int              `json:"owed"`
	Bytes     *int64           `json:"bytes"` // owed; null is not known
}

// pageJob is a repair: this process's own, or one beside it.
type pageJob struct {
	Name      string  `json:"name"`
	State     string  `json:"state"`
	Done      uint64  `json:"done"`
	Failed    uint64  `json:"failed"`
	InFlight  int     `json:"inflight"`
	Rate      float64 `json:"rate"`
	ByteRate  float64 `json:"byte_rate"`
	ETA       string  `json:"eta"`
	LastError string  `json:"last_error"`
}

// configEvery is how often the configuration's file is compared while somebody watches.
const configEvery = 5 * time.Second

// liveSample returns the function that takes samples. Only the sampler's goroutine calls it.
func (a *Admin) liveSample() func() any {
	var differs any
	var looked time.Time
	return func() any {
		if a.o.ConfigDiffers != nil && time.Since(looked) >= configEvery {
			differs, looked = a.o.ConfigDiffers(), time.Now()
		}
		s := a.pageState()
		s.Config = differs
		return s
	}
}

func (a *Admin) watched(on bool) {
	if a.o.WatchSlow != nil {
		a.o.WatchSlow(on)
	}
}

func (a *Admin) pageState() *pageState {
	all, how, owed := a.o.Status(), a.o.Health(), a.o.Owed()
	s := &pageState{
		Now: time.Now().UTC(), Version: a.o.Version, Started: a.started.UTC(), Ready: a.readiness(all).Ready, InFlight: a.o.InFlight(),
		Buttons: a.token.isSet(), Owed: owed.Pending, Parked: owed.Parked, For: owed.ParkedFor, Jobs: a.jobs(&owed),
	}
	s.Sentence, s.Tone = a.sentence(all, how, owed)
	s.Certificates = a.certificates()
	if a.o.Slow != nil {
		s.Slow = a.o.Slow()
	}
	for i := range all {
		l, h := &all[i], &how[i]
		b := pageBackend{
			Name: l.Name, URL: a.o.URLs[i], State: l.State, Seconds: l.Since, Why: why(l, h), Busy: l.Busy, Stalled: l.Stalled,
			Silent: h.Silent, Failing: h.Failing, LastError: h.LastError,
		}
		if i < len(owed.ByBackend) {
			b.Owed = owed.ByBackend[i]
		}
		if i < len(owed.Bytes) {
			b.Bytes = &owed.Bytes[i]
		}
		if a.o.Latency != nil {
			if took := a.o.Latency(i); took[0] > 0 {
				b.Millis = &[3]float64{}
				for j, d := range took {
					b.Millis[j] = float64(d) / float64(time.Millisecond)
				}
			}
		}
		s.Backends = append(s.Backends, b)
	}
	return s
}

// why says in words why a backend is as it is.
func why(l *limiter.Status, h *health.Status) string {
	switch {
	case l.State == limiter.StateMaintained:
		return "somebody has taken it into maintenance: it gets no requests"
	case len(h.Failing) > 0:
		return h.Failing[0].Means
	case l.State == limiter.StateDemoted:
		return l.Reason
	}
	return ""
}

// sentence is how things are now.
func (a *Admin) sentence(all []limiter.Status, how []health.Status, owed Owed) (said, tone string) {
	r, _ := a.o.Repair()
	return sentence(a.readiness(all).Ready, all, how, a.certificates(), &owed, r.ETA, time.Now())
}

func (a *Admin) certificates() []metrics.Certificate {
	if a.o.Certificates == nil {
		return nil
	}
	return a.o.Certificates()
}

func (a *Admin) jobs(owed *Owed) []pageJob {
	jobs := []pageJob{}
	if r, ok := a.o.Repair(); ok {
		j := pageJob{
			Name: "repair in the proxy", State: "waiting for something to do", Done: r.Resolved, Failed: r.Failed, InFlight: r.InFlight,
			Rate: r.Rate, ByteRate: r.ByteRate, ETA: r.ETAText, LastError: r.LastError,
		}
		switch {
		case r.InFlight > 0 || r.Rate > 0:
			j.State = "repairing"
		case owed.Pending > owed.Parked:
			j.State = "waiting for a backend, or until it tries again"
		}
		jobs = append(jobs, j)
	}
	if owed.Repairing {
		jobs = append(jobs, pageJob{Name: "akubra repair or akubra resolve, beside the proxy", State: "running"})
	}
	return jobs
}

// Decision is what a person decides about a parked key, on the page; one of the fields below Key is set.
type Decision struct {
	Bucket string `json:"bucket"`
	Key    []byte `json:"key"` // base64 in JSON, since a key may be any bytes
	Take   string `json:"take"`
	Newest bool   `json:"newest"`
	Delete bool   `json:"delete"`
	Accept bool   `json:"accept"`
	Retry  bool   `json:"retry"`
}

// action is the decision in the words of the command.
func (d *Decision) action() string {
	switch {
	case d.Retry:
		return "retry"
	case d.Take != "":
		return "resolve --take " + d.Take
	case d.Newest:
		return "resolve --newest"
	case d.Delete:
		return "resolve --delete"
	}
	return "resolve --accept"
}

// settle carries out what somebody has decided about a parked key (R35).
func (a *Admin) settle(ctx *fasthttp.RequestCtx, _ string) {
	var d Decision
	if err := json.Unmarshal(ctx.PostBody(), &d); err != nil {
		adminError(ctx, fasthttp.StatusBadRequest, fmt.Sprintf("cannot read the decision: %v", err))
		return
	}
	result, err := "", errors.New("cannot settle anything: there is no journal")
	if a.o.Settle != nil {
		result, err = a.o.Settle(d)
	}
	what := text.Printable(d.Bucket + "/" + string(d.Key))
	if err != nil {
		a.audit(ctx, d.action(), what, "refused: "+err.Error())
		adminError(ctx, fasthttp.StatusConflict, err.Error())
		return
	}
	a.audit(ctx, d.action(), what, result)
	adminJSON(ctx, fasthttp.StatusOK, map[string]string{"result": result})
}
