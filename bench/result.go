package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/akubra/akubra/bench/histogram"
)

// resultSchema is increased with every change that readers of the JSON must know about.
// 2: bytes are counted in powers of two everywhere (mib_per_s, cpu_s_per_gib, peak_mib).
const resultSchema = 2

// Results is what -json writes. README.md documents it.
type Results struct {
	Schema   int               `json:"schema"`
	Started  time.Time         `json:"started"`
	Command  []string          `json:"command"`
	Machine  Machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	Runs     []*Run            `json:"runs"`
}

// Run is one case with one peer in one round.
type Run struct {
	Round   int       `json:"round"`
	Peer    string    `json:"peer"`
	Case    Case      `json:"case"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"` // the window's

	Sent      int64            `json:"sent"` // begun within the window, however they ended
	Succeeded int64            `json:"succeeded"`
	Failed    int64            `json:"failed"`
	Unsent    int64            `json:"unsent"` // open loop: due, but no connection was free until the end
	Errors    map[string]int64 `json:"errors,omitempty"`
	Bytes     int64            `json:"bytes"` // of bodies, to the last request's end

	// What the window is worth: of a request that ends after it, the share within.
	SucceededWithin float64 `json:"succeeded_within"`
	FailedWithin    float64 `json:"failed_within"`
	BytesWithin     int64   `json:"bytes_within"`

	Latency *histogram.Histogram `json:"latency"`              // of the successes
	First   *histogram.Histogram `json:"first_byte,omitempty"` // to the answer's first byte, of the same
	LateP99 int64                `json:"late_p99_ns"`
	FaultAt float64              `json:"fault_at_seconds,omitempty"`
	Before  *histogram.Histogram `json:"latency_before_fault,omitempty"`
	Settled *histogram.Histogram `json:"latency_settled,omitempty"` // in the window's last third

	Operations map[string]*Operation `json:"operations,omitempty"` // of a mix, by name

	Wan      *wanSeen           `json:"wan,omitempty"`
	Usage    usage              `json:"usage"`
	Syscalls *Syscalls          `json:"syscalls,omitempty"`
	Series   *Series            `json:"series"`
	Figures  map[string]float64 `json:"figures"` // what the tables show, by the metrics' names
	Wrong    string             `json:"wrong,omitempty"`
}

// Series is a run over time, in steps of Seconds. Requests are successes. Durations
// are nanoseconds, of requests that began in the step.
type Series struct {
	Seconds  float64 `json:"seconds"`
	Requests []int64 `json:"requests"`
	Failed   []int64 `json:"failed"`
	Bytes    []int64 `json:"bytes"`
	P50      []int64 `json:"p50_ns"`
	P99      []int64 `json:"p99_ns"`
	Max      []int64 `json:"max_ns"`
	RSS      []int64 `json:"rss_bytes"` // 0 where nothing was sampled
}

// metric is one figure of a run.
type metric struct {
	name, title string
	unit        string // "" is a plain number
	better      int    // 1: more is better, -1: less is
	proxyOnly   bool
	of          func(r *Run) float64 // NaN where there is none
}

func (r *Run) per(total float64) float64 {
	if r.Sent == 0 || r.Case.Cut {
		return math.NaN() // a broken off request is none
	}
	return total / float64(r.Sent)
}

func (r *Run) at(p float64) float64 {
	if r.Latency == nil || r.Latency.Count() == 0 {
		return math.NaN()
	}
	return r.Latency.At(p).Seconds()
}

// firstAt is NaN if no request waits for a body: then it would be the latency once more.
func (r *Run) firstAt(p float64) float64 {
	if m := r.Case.Method; r.First == nil || r.First.Count() == 0 || m != "GET" && m != "LIST" && m != methodMix {
		return math.NaN()
	}
	return r.First.At(p).Seconds()
}

func (r *Run) cpu() time.Duration { return r.Usage.User + r.Usage.System }

var metrics = []metric{
	{"sent_per_s", "sent", "/s", 1, false, func(r *Run) float64 { return (r.SucceededWithin + r.FailedWithin) / r.Seconds }},
	{"ok_per_s", "ok", "/s", 1, false, func(r *Run) float64 { return r.SucceededWithin / r.Seconds }},
	{"mib_per_s", "bodies", "MiB/s", 1, false, func(r *Run) float64 { return float64(r.BytesWithin) / mib / r.Seconds }},
	{"first_p50_s", "first p50", "ms", -1, false, func(r *Run) float64 { return r.firstAt(.5) }},
	{"first_p99_s", "first p99", "ms", -1, false, func(r *Run) float64 { return r.firstAt(.99) }},
	{"p50_s", "p50", "ms", -1, false, func(r *Run) float64 { return r.at(.5) }},
	{"p90_s", "p90", "ms", -1, false, func(r *Run) float64 { return r.at(.9) }},
	{"p99_s", "p99", "ms", -1, false, func(r *Run) float64 { return r.at(.99) }},
	{"p999_s", "p99.9", "ms", -1, false, func(r *Run) float64 { return r.at(.999) }},
	{"max_s", "max", "ms", -1, false, func(r *Run) float64 { return r.at(1) }},
	{"cpu_us", "CPU", "µs", -1, true, func(r *Run) float64 { return r.per(r.cpu().Seconds() * 1e6) }},
	{"user_us", "user", "µs", -1, true, func(r *Run) float64 { return r.per(r.Usage.User.Seconds() * 1e6) }},
	{"system_us", "system", "µs", -1, true, func(r *Run) float64 { return r.per(r.Usage.System.Seconds() * 1e6) }},
	{"cpu_s_per_gib", "CPU", "s/GiB", -1, true, func(r *Run) float64 {
		if r.Bytes < mib {
			return math.NaN()
		}
		return r.cpu().Seconds() / (float64(r.Bytes) / (1 << 30))
	}},
	{"allocs", "allocs", "", -1, true, func(r *Run) float64 { return r.per(orNaN(r.Usage.Mallocs)) }},
	{"alloc_bytes", "alloc", "B", -1, true, func(r *Run) float64 { return r.per(orNaN(r.Usage.Alloced)) }},
	{"switches", "switches", "", -1, true, func(r *Run) float64 { return r.per(orNaN(r.Usage.Switches)) }},
	{"syscalls", "syscalls", "", -1, true, func(r *Run) float64 {
		if r.Syscalls == nil {
			return math.NaN()
		}
		return r.Syscalls.PerRequest
	}},
	{"diverged", "diverged", "", -1, true, func(r *Run) float64 { return r.wan(func(w *wanSeen) float64 { return float64(w.diverged()) }) }},
	{"link_used", "link", "%", 1, true, func(r *Run) float64 { return r.wan(func(w *wanSeen) float64 { return w.Used }) }},
	{"link_well", "well", "%", 1, true, func(r *Run) float64 { return r.wan((*wanSeen).well) }},
	{"demoted_s", "demoted", "s", -1, true, func(r *Run) float64 { return r.wan(func(w *wanSeen) float64 { return orNaN(int64(w.Demoted)) / 1e9 }) }},
	{"back_s", "back", "s", -1, true, func(r *Run) float64 { return r.wan(func(w *wanSeen) float64 { return orNaN(int64(w.Back)) / 1e9 }) }},
	{"peak_mib", "peak", "MiB", -1, true, func(r *Run) float64 { return orNaN(r.Usage.Peak) / mib }},
}

// mib is what throughput and memory are counted in: powers of two, as objects' sizes are.
const mib = 1 << 20

func orNaN(n int64) float64 {
	if n == 0 {
		return math.NaN()
	}
	return float64(n)
}

func metricOf(name string) *metric {
	for i := range metrics {
		if metrics[i].name == name {
			return &metrics[i]
		}
	}
	panic("no metric " + name)
}

// figure is one metric of a run; a direct run has none of a proxy's.
func (r *Run) figure(m *metric) float64 {
	if m.proxyOnly && r.Usage.Peak == 0 {
		return math.NaN()
	}
	return m.of(r)
}

func (r *Run) setFigures() {
	r.Figures = map[string]float64{}
	for i := range metrics {
		if v := r.figure(&metrics[i]); !math.IsNaN(v) {
			r.Figures[metrics[i].name] = v
		}
	}
}

func (rs *Results) write(path string) error {
	b, err := json.Marshal(rs)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

func readResults(path string) (*Results, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	rs := &Results{}
	if err := json.Unmarshal(b, rs); err != nil {
		return nil, fmt.Errorf("cannot read results %q: %w", path, err)
	}
	if rs.Schema < 1 || rs.Schema > resultSchema {
		return nil, fmt.Errorf("cannot read results %q: their schema is %d, this reads up to %d", path, rs.Schema, resultSchema)
	}
	rs.Command = hideSecrets(rs.Command, "") // of a version that wrote them down
	return rs, nil
}

// Title is the metric's name as people read it, Unit what its values are in.
func (m *metric) Title() string { return m.title }

// Unit is "" where values are plain numbers.
func (m *metric) Unit() string { return m.unit }

// Good says which direction is better, Sign does so with an arrow.
func (m *metric) Good() string {
	if m.better > 0 {
		return "more is better"
	}
	return "less is better"
}

// Sign is an arrow.
func (m *metric) Sign() string {
	if m.better > 0 {
		return "↑"
	}
	return "↓"
}

// head is title and unit, for text.
func (m *metric) head() string {
	if strings.HasPrefix(m.unit, "/") {
		return m.title + m.unit
	}
	return strings.TrimSpace(m.title + " " + m.unit)
}

// scaled is a value in the metric's unit.
func (m *metric) scaled(v float64) float64 {
	switch m.unit {
	case "ms":
		return v * 1e3
	case "%":
		return v * 100
	}
	return v
}

// format is a value as tables have it, in the metric's unit.
func (m *metric) format(v float64) string {
	v = m.scaled(v)
	if m.unit == "ms" && v < 1 {
		return fmt.Sprintf("%.3f", v) // to the microsecond
	}
	return formatNumber(v)
}

// say is format with the unit, for sentences.
func (m *metric) say(v float64) string {
	if m.unit == "" || strings.HasPrefix(m.unit, "/") || math.IsNaN(v) {
		return m.format(v) + m.unit
	}
	return m.format(v) + " " + m.unit
}
