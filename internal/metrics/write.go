package metrics

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/VictoriaMetrics/metrics"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/health"
	"github.com/akubra/akubra/limiter"
	"github.com/akubra/akubra/synclog"
)

// Observe lets a scrape read what others count. It must be called once, before Write. The functions
// may be called on any goroutine.
func (m *Metrics) Observe(status func() []limiter.Status, records func() synclog.Counts, inFlight func() int) {
	m.status, m.records, m.inFlight = status, records, inFlight
}

// ObserveClients is Observe for the connections of clients.
func (m *Metrics) ObserveClients(clients func() engine.Clients) { m.clients = clients }

// writeClients reports the connections of clients (R23).
func (m *Metrics) writeClients(w io.Writer) {
	if m.clients == nil {
		return
	}
	c := m.clients()
	metrics.WriteGaugeUint64(w, "akubra_client_connections", uint64(max(0, c.Open)))
	metrics.WriteGaugeUint64(w, "akubra_client_connections_max", uint64(c.Bound))
	metrics.WriteCounterUint64(w, "akubra_accept_failures_total", c.AcceptFailures)
	const cut = "akubra_client_connections_cut_total"
	metrics.WriteMetadataIfNeeded(w, cut, "counter")
	for _, reason := range slices.Sorted(maps.Keys(c.Cut)) {
		_, _ = fmt.Fprintf(w, "%s %d\n", series(cut, "reason", reason), c.Cut[reason])
	}
}

// Write writes everything in Prometheus's text format.
func (m *Metrics) Write(w io.Writer) {
	m.set.WritePrometheus(w)
	metrics.WriteProcessMetrics(w)
	metrics.WriteFDMetrics(w)
}

// writeObserved asks the limiter once per scrape, because the limiter scans all its slots each
// time; a callback per gauge would repeat that.
func (m *Metrics) writeObserved(w io.Writer) {
	if m.status == nil {
		return
	}
	metrics.WriteGaugeUint64(w, "akubra_requests_in_flight", uint64(max(0, m.inFlight())))
	records := m.records()
	metrics.WriteCounterUint64(w, "akubra_synclog_records_total", records.Written)
	metrics.WriteCounterUint64(w, "akubra_synclog_failed_total", records.Failed)
	all := m.status()
	family := func(name, kind string, value func(s *limiter.Status) uint64) {
		metrics.WriteMetadataIfNeeded(w, name, kind)
		for i := range all {
			_, _ = fmt.Fprintf(w, "%s %d\n", series(name, "backend", all[i].Name), value(&all[i]))
		}
	}
	family("akubra_backend_busy", "gauge", func(s *limiter.Status) uint64 { return uint64(s.Busy) })
	family("akubra_backend_stalled", "gauge", func(s *limiter.Status) uint64 { return uint64(s.Stalled) })
	var how []health.Status
	if m.health != nil {
		how = m.health()
	}
	metrics.WriteMetadataIfNeeded(w, "akubra_backend_up", "gauge")
	for i := range all {
		silent := i < len(how) && how[i].Silent // the last backend is never demoted (R36)
		_, _ = fmt.Fprintf(w, "%s %d\n", series("akubra_backend_up", "backend", all[i].Name), oneIf(all[i].State == limiter.StateActive && !silent))
	}
	family("akubra_backend_maintained", "gauge", func(s *limiter.Status) uint64 { return oneIf(s.Maintained) })
	family("akubra_backend_demotions_total", "counter", func(s *limiter.Status) uint64 { return s.Demotions })
}

// LogState is how well one output of a log keeps up.
type LogState struct {
	Log, Output string
	Waiting     int    // lines
	Lost        uint64 // lines, in total
}

// ObserveLogs lets a scrape read how well the logs keep up. It must be called once, before Write.
func (m *Metrics) ObserveLogs(states func() []LogState) { m.logs = states }

func (m *Metrics) writeLogs(w io.Writer) {
	if m.logs == nil {
		return
	}
	all := m.logs()
	family := func(name, kind string, value func(s *LogState) uint64) {
		metrics.WriteMetadataIfNeeded(w, name, kind)
		for i := range all {
			_, _ = fmt.Fprintf(w, "%s %d\n", series(name, "log", all[i].Log, "output", all[i].Output), value(&all[i]))
		}
	}
	family("akubra_log_lost_lines_total", "counter", func(s *LogState) uint64 { return s.Lost })
	family("akubra_log_waiting_lines", "gauge", func(s *LogState) uint64 { return uint64(max(0, s.Waiting)) })
}

func oneIf(yes bool) uint64 {
	if yes {
		return 1
	}
	return 0
}

// labelEscapes are the escapes of the text format; Go's %q has more.
var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// series is a metric's name with labels, which are given as name, value, name, value …
func series(name string, labels ...string) string {
	var b strings.Builder
	b.WriteString(name)
	for i := 0; i < len(labels); i += 2 {
		b.WriteByte("{,"[min(i, 1)])
		b.WriteString(labels[i] + `="` + labelEscapes.Replace(labels[i+1]) + `"`)
	}
	b.WriteByte('}')
	return b.String()
}

// Totals are the counters shown by /status.
type Totals struct {
	Requests     uint64  `json:"requests"` // answered
	RequestBytes uint64  `json:"requestbytes"`
	Divergences  uint64  `json:"divergences"`
	RingWaits    uint64  `json:"ringwaits"`
	RingSeconds  float64 `json:"ringwaitseconds"`
}

// Totals returns the sums since the start.
func (m *Metrics) Totals() Totals {
	t := Totals{RequestBytes: m.requestBytes.Get(), RingWaits: m.ringWaits.Get(), RingSeconds: m.ringSeconds.Get()}
	for i := range m.requests {
		for _, c := range m.requests[i] {
			t.Requests += c.Get()
		}
	}
	for _, c := range m.divergences {
		t.Divergences += c.Get()
	}
	return t
}

// Legs returns how often each outcome occurred at a backend, and the bytes it was sent.
func (m *Metrics) Legs(backend int) (outcomes map[string]uint64, bytes uint64) {
	outcomes = make(map[string]uint64, len(metricOutcomes))
	for i, c := range m.backends[backend].legs {
		outcomes[metricOutcomes[i]] = c.Get()
	}
	return outcomes, m.backends[backend].bytes.Get()
}
