package metrics

import (
	"time"

	"github.com/akubra/akubra/engine"
)

// writeFar reports how backends far away keep up (R10).
func (m *Metrics) writeFar(p *page) {
	if m.sources.Lanes == nil {
		return
	}
	all := m.sources.Lanes()
	p.begin("akubra_backend_held_seconds_total")
	for i := range all {
		p.value(all[i].Held.Seconds(), m.names[i])
	}
	family := func(name string, value func(s *engine.LaneStatus) int64) {
		p.begin(name)
		for i := range all {
			p.count(uint64(max(0, value(&all[i]))), m.names[i])
		}
	}
	family("akubra_backend_lane_deferred_total", func(s *engine.LaneStatus) int64 { return s.Deferred })
	family("akubra_backend_lane_over", func(s *engine.LaneStatus) int64 { return int64(oneIf(s.Over)) })
	family("akubra_backend_lane_bodies", func(s *engine.LaneStatus) int64 { return int64(s.Bodies) })
	family("akubra_backend_lane_rate_bytes", func(s *engine.LaneStatus) int64 { return int64(s.Rate) })
}

// Process is what a scrape reads of the rest of the process.
type Process struct {
	Connections int // busy ones to backends, at most
	// RoundTrips are by backend; 0 is not known.
	RoundTrips         []time.Duration
	Certificates       []Certificate
	DataFree, DataSize uint64 // bytes of DataDir's file system; both 0 if it cannot be asked
	Verified           *Verified
}

// Certificate is one that is in use, also for JSON.
type Certificate struct {
	Use   string    `json:"use"` // listener, client, ca or backend
	Key   string    `json:"key"` // where it is configured; the name of the backend that shows it
	Until time.Time `json:"until"`
}

// Verified is what has come of the last verify.
type Verified struct {
	Ended                         time.Time
	Complete                      bool // of all buckets
	Compared, Differences, Errors int
}

func (m *Metrics) writeProcess(p *page) {
	if m.sources.Process == nil {
		return
	}
	s := m.sources.Process()
	p.oneSize("akubra_connections_limit", int64(s.Connections))
	p.begin("akubra_backend_round_trip_seconds")
	for i, d := range s.RoundTrips {
		if d > 0 {
			p.value(d.Seconds(), m.names[i])
		}
	}
	if s.DataSize > 0 {
		p.one("akubra_data_free_bytes", s.DataFree)
		p.one("akubra_data_size_bytes", s.DataSize)
	}
	if v := s.Verified; v != nil {
		p.oneValue("akubra_verify_timestamp_seconds", float64(v.Ended.Unix()))
		p.one("akubra_verify_complete", oneIf(v.Complete))
		p.oneSize("akubra_verify_compared", int64(v.Compared))
		p.oneSize("akubra_verify_differences", int64(v.Differences))
		p.oneSize("akubra_verify_errors", int64(v.Errors))
	}
	p.begin("akubra_certificate_expiry_timestamp_seconds")
	for _, c := range s.Certificates {
		p.value(float64(c.Until.Unix()), c.Use, c.Key)
	}
}
