package metrics

import (
	"maps"
	"slices"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/health"
	"github.com/akubra/akubra/limiter"
	"github.com/akubra/akubra/synclog"
	"github.com/akubra/akubra/synclog/repair"
)

// Sources are what a scrape reads of the parts that count for themselves. The functions may be called
// on any goroutine. What is nil is not shown; Status comes with Records and InFlight, Journal with Repair.
type Sources struct {
	Status   func() []limiter.Status
	Records  func() synclog.Counts
	InFlight func() int
	Health   func() []health.Status
	Clients  func() engine.Clients
	Journal  Journal
	Repair   func() (status repair.Status, ok bool) // of the repair in this process, if there is one
	Logs     func() []LogState
	Lanes    func() []engine.LaneStatus
	Process  func() Process
}

// Observe lets a scrape read them. It must be called once, before Write.
func (m *Metrics) Observe(s Sources) { m.sources = s }

// writeClients reports the connections of clients (R23).
func (m *Metrics) writeClients(p *page) {
	if m.sources.Clients == nil {
		return
	}
	c := m.sources.Clients()
	p.oneSize("akubra_requests_waiting", int64(c.Requests))
	p.oneSize("akubra_requests_limit", int64(c.RequestsBound))
	p.oneSize("akubra_deletes_memory_bytes", c.Deletes)
	p.oneSize("akubra_deletes_memory_limit_bytes", c.DeletesBound)
	p.oneSize("akubra_client_connections", int64(c.Open))
	p.oneSize("akubra_client_connections_max", int64(c.Bound))
	p.one("akubra_accept_failures_total", c.AcceptFailures)
	p.begin("akubra_client_connections_cut_total")
	for _, reason := range slices.Sorted(maps.Keys(c.Cut)) {
		p.count(c.Cut[reason], reason)
	}
}

// writeCounted reports what is counted here.
func (m *Metrics) writeCounted(p *page) {
	p.begin("akubra_build_info")
	p.count(1, m.version)
	p.one("akubra_requests_begun_total", m.begun.Load())
	p.begin("akubra_requests_total")
	for i, method := range metricMethods {
		for j, code := range metricCodes {
			p.count(m.requests[i][j].Load(), method, code)
		}
	}
	p.one("akubra_request_bytes_total", m.requestBytes.Load())
	p.begin("akubra_first_answer_seconds")
	p.histogram(&m.firstAnswer)
	p.begin("akubra_last_leg_seconds")
	p.histogram(&m.lastLeg)
	p.begin("akubra_proxy_errors_total")
	for i := range m.refused {
		p.count(m.refused[i].count.Load(), m.refused[i].reason, m.refused[i].code)
	}
	p.begin("akubra_reads_total")
	for i, event := range metricReads {
		p.count(m.reads[i].Load(), event)
	}
	p.one("akubra_ring_waits_total", m.ringWaits.Load())
	p.oneValue("akubra_ring_wait_seconds_total", m.ringSeconds())
	m.writeLegs(p)
}

// writeLegs reports what is counted by backend.
func (m *Metrics) writeLegs(p *page) {
	class := func(name string, sample func(c *classMetrics, values ...string)) {
		p.begin(name)
		for i := range m.backends {
			for c := range engine.Classes {
				sample(&m.backends[i].classes[c], m.names[i], engine.Class(c).String())
			}
		}
	}
	class("akubra_backend_results_total", func(c *classMetrics, values ...string) {
		for r := engine.ResultNone + 1; int(r) < engine.Results; r++ {
			p.count(c.results[r].Load(), append(values, r.String())...)
		}
	})
	class("akubra_backend_first_byte_seconds", func(c *classMetrics, values ...string) { p.histogram(&c.first, values...) })
	class("akubra_backend_duration_seconds", func(c *classMetrics, values ...string) { p.histogram(&c.total, values...) })
	class("akubra_backend_sent_bytes_total", func(c *classMetrics, values ...string) { p.count(c.sent.Load(), values...) })
	class("akubra_backend_received_bytes_total", func(c *classMetrics, values ...string) { p.count(c.received.Load(), values...) })
	p.begin("akubra_backend_bytes_total")
	for i := range m.backends {
		p.count(m.backends[i].sent(), m.names[i])
	}
	p.begin("akubra_legs_total")
	for i := range m.backends {
		for j, outcome := range metricOutcomes {
			p.count(m.backends[i].legs[j].Load(), m.names[i], outcome)
		}
	}
	p.begin("akubra_divergences_total")
	for i := range m.backends {
		for j, d := range &metricDivergences {
			p.count(m.backends[i].divergences[j].Load(), m.names[i], d.op, d.reason)
		}
	}
}

// sent is the bytes that the backend was sent.
func (b *backendMetrics) sent() (n uint64) {
	for i := range b.classes {
		n += b.classes[i].sent.Load()
	}
	return n
}

// writeObserved asks the limiter once per scrape, because the limiter scans all its slots each
// time.
func (m *Metrics) writeObserved(p *page) {
	if m.sources.Status == nil {
		return
	}
	p.oneSize("akubra_requests_in_flight", int64(m.sources.InFlight()))
	records := m.sources.Records()
	p.one("akubra_synclog_records_total", records.Written)
	p.one("akubra_synclog_failed_total", records.Failed)
	all := m.sources.Status()
	family := func(name string, value func(s *limiter.Status) uint64) {
		p.begin(name)
		for i := range all {
			p.count(value(&all[i]), all[i].Name)
		}
	}
	family("akubra_backend_busy", func(s *limiter.Status) uint64 { return uint64(s.Busy) })
	family("akubra_backend_stalled", func(s *limiter.Status) uint64 { return uint64(s.Stalled) })
	family("akubra_backend_limit", func(s *limiter.Status) uint64 { return uint64(s.Limit) })
	p.begin("akubra_backend_lag_floor_seconds")
	for i := range all {
		if s := &all[i]; s.LagKnown {
			p.value(s.LagFloor, s.Name)
		}
	}
	var how []health.Status
	if m.sources.Health != nil {
		how = m.sources.Health()
	}
	p.begin("akubra_backend_up")
	for i := range all {
		silent := i < len(how) && how[i].Silent // the last backend is never demoted (R36)
		p.count(oneIf(all[i].State == limiter.StateActive && !silent), all[i].Name)
	}
	family("akubra_backend_maintained", func(s *limiter.Status) uint64 { return oneIf(s.Maintained) })
	family("akubra_backend_demotions_total", func(s *limiter.Status) uint64 { return s.Demotions })
}

// LogState is how well one output of a log keeps up.
type LogState struct {
	Log, Output string
	Waiting     int    // lines
	Lost        uint64 // lines, in total
}

func (m *Metrics) writeLogs(p *page) {
	if m.sources.Logs == nil {
		return
	}
	all := m.sources.Logs()
	p.begin("akubra_log_lost_lines_total")
	for i := range all {
		p.count(all[i].Lost, all[i].Log, all[i].Output)
	}
	p.begin("akubra_log_waiting_lines")
	for i := range all {
		p.count(uint64(max(0, all[i].Waiting)), all[i].Log, all[i].Output)
	}
}

func oneIf(yes bool) uint64 {
	if yes {
		return 1
	}
	return 0
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
	t := Totals{RequestBytes: m.requestBytes.Load(), RingWaits: m.ringWaits.Load(), RingSeconds: m.ringSeconds()}
	for i := range m.requests {
		for j := range m.requests[i] {
			t.Requests += m.requests[i][j].Load()
		}
	}
	for i := range m.backends {
		for j := range m.backends[i].divergences {
			t.Divergences += m.backends[i].divergences[j].Load()
		}
	}
	return t
}

func (m *Metrics) ringSeconds() float64 { return float64(m.ringWaited.Load()) / 1e9 }

// Legs returns how often each outcome occurred at a backend, and the bytes it was sent.
func (m *Metrics) Legs(backend int) (outcomes map[string]uint64, bytes uint64) {
	b := &m.backends[backend]
	outcomes = make(map[string]uint64, len(metricOutcomes))
	for i := range b.legs {
		outcomes[metricOutcomes[i]] = b.legs[i].Load()
	}
	return outcomes, b.sent()
}
