package metrics

import (
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/health"
	"github.com/akubra/akubra/limiter"
	"github.com/akubra/akubra/synclog"
	"github.com/akubra/akubra/synclog/repair"
)

// Metrics counts for /metrics and /status. Any goroutine may call the engine's methods, which
// allocate nothing: every counter exists from the start, and unknown values are counted as
// labelOther, so that no client can create a series. Each instance has its own set.
type Metrics struct {
	set   *metrics.Set
	names []string // of the backends

	begun        *metrics.Counter
	requests     [len(metricMethods)][len(metricCodes)]*metrics.Counter
	requestBytes *metrics.Counter
	firstAnswer  *metrics.PrometheusHistogram
	lastLeg      *metrics.PrometheusHistogram
	backends     []backendMetrics
	divergences  [len(metricDivergences)]*metrics.Counter
	reads        [len(metricReads)]*metrics.Counter
	ringWaits    *metrics.Counter
	ringSeconds  *metrics.FloatCounter

	// Set by Observe; nil before.
	status   func() []limiter.Status
	records  func() synclog.Counts
	inFlight func() int

	// Set by ObserveHealth; nil before.
	health func() []health.Status
	// Set by ObserveClients; nil before.
	clients func() engine.Clients
	// Set by ObserveLogs; nil before.
	logs func() []LogState

	// Set by ObserveJournal; nil before.
	journal Journal
	repair  func() (repair.Status, bool)
}

type backendMetrics struct {
	legs  [len(metricOutcomes)]*metrics.Counter
	bytes *metrics.Counter
}

var _ engine.Metrics = (*Metrics)(nil)

// labelOther stands for every label value without a counter of its own.
const labelOther = "other"

// The values of labels; labelOther is the last of each list.
var (
	metricMethods  = [...]string{"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", labelOther}
	metricCodes    = [...]string{"2xx", "3xx", "4xx", "5xx", labelOther}
	metricOutcomes = [...]string{
		engine.OutcomePositive, engine.OutcomeNegative, engine.OutcomeFailed,
		engine.OutcomeStalled, engine.OutcomeDeferred, engine.OutcomeAborted, labelOther,
	}
)

// metricDivergences are the engine's reasons, by operation.
var metricDivergences = [...]struct{ op, reason string }{
	{engine.OpStoring, engine.OutcomePositive}, // a multi-object delete that succeeded for all but some keys (R24)
	{engine.OpStoring, engine.OutcomeNegative},
	{engine.OpStoring, engine.OutcomeFailed},
	{engine.OpStoring, engine.OutcomeStalled},
	{engine.OpStoring, engine.OutcomeDeferred},
	{engine.OpStoring, engine.OutcomeAborted},
	{engine.OpStoring, limiter.StateDemoted},
	{engine.OpStoring, limiter.StateMaintained},
	{engine.OpStoring, "etag"},
	{engine.OpStoring, "concurrent"},
	{engine.OpStoring, "multipart"},
	{engine.OpStoring, "version"},
	{engine.OpStoring, "key"},
	{engine.OpStoring, engine.ReasonSource},
	{engine.OpStoring, labelOther},
	{engine.OpReading, "missing"},
	{engine.OpReading, "etag"},
	{engine.OpReading, "size"},
	{engine.OpReading, labelOther},
	{labelOther, labelOther},
}

// metricReads are what the engine does about reads (R30).
var metricReads = [...]string{
	engine.ReadAvoided, engine.ReadRefused, engine.ReadStale, engine.ReadFailover, engine.ReadHedged,
	engine.ReadHedgeWon, engine.ReadResumed, labelOther,
}

// latencyBuckets are in seconds: from a small object nearby to a large one far away.
var latencyBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}

// New makes the counters for backends with these names, by index; version is the proxy's own.
func New(version string, names []string) *Metrics {
	metrics.ExposeMetadata(true) // the library's only global switch: # TYPE lines
	set := metrics.NewSet()
	m := &Metrics{
		set:          set,
		names:        names,
		begun:        set.NewCounter("akubra_requests_begun_total"),
		requestBytes: set.NewCounter("akubra_request_bytes_total"),
		firstAnswer:  set.NewPrometheusHistogramExt("akubra_first_answer_seconds", latencyBuckets),
		lastLeg:      set.NewPrometheusHistogramExt("akubra_last_leg_seconds", latencyBuckets),
		backends:     make([]backendMetrics, len(names)),
		ringWaits:    set.NewCounter("akubra_ring_waits_total"),
		ringSeconds:  set.NewFloatCounter("akubra_ring_wait_seconds_total"),
	}
	for i, method := range metricMethods {
		for j, code := range metricCodes {
			m.requests[i][j] = set.NewCounter(series("akubra_requests_total", "method", method, "code", code))
		}
	}
	for i, name := range names {
		b := &m.backends[i]
		b.bytes = set.NewCounter(series("akubra_backend_bytes_total", "backend", name))
		for j, outcome := range metricOutcomes {
			b.legs[j] = set.NewCounter(series("akubra_legs_total", "backend", name, "outcome", outcome))
		}
	}
	for i, d := range &metricDivergences {
		m.divergences[i] = set.NewCounter(series("akubra_divergences_total", "op", d.op, "reason", d.reason))
	}
	for i, event := range metricReads {
		m.reads[i] = set.NewCounter(series("akubra_reads_total", "event", event))
	}
	set.NewGauge(series("akubra_build_info", "version", version), func() float64 { return 1 })
	set.RegisterMetricsWriter(m.writeObserved)
	set.RegisterMetricsWriter(m.writeHealth)
	set.RegisterMetricsWriter(m.writeClients)
	set.RegisterMetricsWriter(m.writeJournal)
	set.RegisterMetricsWriter(m.writeLogs)
	return m
}

// RequestBegun counts a request that has arrived.
func (m *Metrics) RequestBegun() { m.begun.Inc() }

// RequestEnded counts a request that is finished for its client. If no backend's response was used,
// firstAnswer is 0 and does not count as a latency.
func (m *Metrics) RequestEnded(method string, status int, bytesIn int64, firstAnswer time.Duration) {
	m.requests[methodIndex(method)][codeIndex(status)].Inc()
	m.requestBytes.AddInt64(bytesIn)
	if firstAnswer > 0 {
		m.firstAnswer.Update(firstAnswer.Seconds())
	}
}

// LegEnded counts one backend's outcome and the bytes that it was sent.
func (m *Metrics) LegEnded(backend int, outcome string, bytesOut int64) {
	b := &m.backends[backend]
	b.legs[outcomeIndex(outcome)].Inc()
	b.bytes.AddInt64(bytesOut)
}

// LegsEnded records how long a request took until its last leg ended.
func (m *Metrics) LegsEnded(lastLeg time.Duration) { m.lastLeg.Update(lastLeg.Seconds()) }

// RingWaited counts a request whose ring was full for some time.
func (m *Metrics) RingWaited(d time.Duration) {
	m.ringWaits.Inc()
	m.ringSeconds.Add(d.Seconds())
}

// Diverged counts a divergence.
func (m *Metrics) Diverged(op, reason string) { m.divergences[divergenceIndex(op, reason)].Inc() }

// Read counts what was done about a read.
func (m *Metrics) Read(event string) {
	for i, known := range metricReads {
		if event == known {
			m.reads[i].Inc()
			return
		}
	}
	m.reads[len(metricReads)-1].Inc()
}

// The index functions loop over a few short strings, which is cheaper than hashing for a map.

func methodIndex(method string) int {
	for i, known := range metricMethods {
		if method == known {
			return i
		}
	}
	return len(metricMethods) - 1
}

func codeIndex(status int) int {
	if status < 200 || status > 599 {
		return len(metricCodes) - 1
	}
	return status/100 - 2
}

func outcomeIndex(outcome string) int {
	for i, known := range metricOutcomes {
		if outcome == known {
			return i
		}
	}
	return len(metricOutcomes) - 1
}

func divergenceIndex(op, reason string) int {
	for i, known := range &metricDivergences {
		if op == known.op && (reason == known.reason || known.reason == labelOther) {
			return i // an operation's labelOther comes after its other reasons
		}
	}
	return len(metricDivergences) - 1
}
