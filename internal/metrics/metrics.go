package metrics

import (
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/limiter"
)

// Metrics counts for /metrics and /status. Any goroutine may call the engine's methods, which
// allocate nothing and take no lock: every counter exists from the start, and unknown values are
// counted as labelOther, so that no client can create a series.
//
// What different processors change at once is in cache lines of its own: each backend's counters, and
// those of requests.
type Metrics struct {
	version  string
	names    []string // of the backends
	backends []backendMetrics
	recent   []recent  // by backend
	refused  []refusal // ascending by reason

	_            [64]byte
	begun        atomic.Uint64
	requestBytes atomic.Uint64
	requests     [len(metricMethods)][len(metricCodes)]atomic.Uint64
	firstAnswer  latencies
	lastLeg      latencies
	reads        [len(metricReads)]atomic.Uint64
	ringWaits    atomic.Uint64
	ringWaited   atomic.Int64 // nanoseconds
	_            [64]byte

	sources Sources // see Observe
}

// backendMetrics are one backend's.
type backendMetrics struct {
	classes     [engine.Classes]classMetrics
	legs        [len(metricOutcomes)]atomic.Uint64
	divergences [len(metricDivergences)]atomic.Uint64
	_           [64]byte
}

// classMetrics are those of one class of requests.
type classMetrics struct {
	results        [engine.Results]atomic.Uint64
	sent, received atomic.Uint64
	first, total   latencies
}

// refusal is one kind of error of the proxy's own.
type refusal struct {
	reason, code string
	count        atomic.Uint64
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
	{engine.OpStoring, engine.ReasonRemoval},
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

// New makes the counters for backends with these names, by index; version is the proxy's own.
func New(version string, names []string) *Metrics {
	metrics.ExposeMetadata(true) // the library's only global switch: # TYPE lines
	m := &Metrics{version: version, names: names, backends: make([]backendMetrics, len(names)), recent: make([]recent, len(names))}
	reasons := engine.Refusals()
	m.refused = make([]refusal, len(reasons))
	for i, reason := range slices.Sorted(maps.Keys(reasons)) {
		m.refused[i].reason, m.refused[i].code = reason, strconv.Itoa(reasons[reason])
	}
	return m
}

// RequestBegun counts a request that has arrived.
func (m *Metrics) RequestBegun() { m.begun.Add(1) }

// RequestEnded counts a request that is finished for its client. If no backend's response was used,
// firstAnswer is 0 and does not count as a latency.
func (m *Metrics) RequestEnded(method string, status int, bytesIn int64, firstAnswer time.Duration) {
	m.requests[methodIndex(method)][codeIndex(status)].Add(1)
	if bytesIn > 0 {
		m.requestBytes.Add(uint64(bytesIn))
	}
	if firstAnswer > 0 {
		m.firstAnswer.observe(firstAnswer)
	}
}

// LegEnded counts how a request to one backend has ended.
func (m *Metrics) LegEnded(backend int, l engine.LegEnd) {
	b := &m.backends[backend]
	b.legs[outcomeIndex(l.Outcome)].Add(1)
	c := &b.classes[l.Class]
	c.results[l.Result].Add(1)
	if l.Sent > 0 {
		c.sent.Add(uint64(l.Sent))
	}
	if l.Received > 0 {
		c.received.Add(uint64(l.Received))
	}
	if l.Total > 0 {
		c.first.observe(l.First)
		c.total.observe(l.Total)
	}
}

// LegSkipped counts a backend that a request did without.
func (m *Metrics) LegSkipped(backend int, class engine.Class, why engine.Result) {
	m.backends[backend].classes[class].results[why].Add(1)
}

// LegsEnded records how long a request took until its last leg ended.
func (m *Metrics) LegsEnded(lastLeg time.Duration) { m.lastLeg.observe(lastLeg) }

// RingWaited counts a request whose ring was full for some time.
func (m *Metrics) RingWaited(d time.Duration) {
	m.ringWaits.Add(1)
	m.ringWaited.Add(int64(d))
}

// Diverged counts a divergence.
func (m *Metrics) Diverged(backend int, op, reason string) {
	m.backends[backend].divergences[divergenceIndex(op, reason)].Add(1)
}

// Refused counts an answer of the proxy's own.
func (m *Metrics) Refused(reason string) {
	for i := range m.refused {
		if m.refused[i].reason == reason {
			m.refused[i].count.Add(1)
			return
		}
	}
}

// Read counts what was done about a read.
func (m *Metrics) Read(event string) {
	for i, known := range metricReads {
		if event == known {
			m.reads[i].Add(1)
			return
		}
	}
	m.reads[len(metricReads)-1].Add(1)
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
