package metrics

import "github.com/akubra/akubra/internal/health"

// writeHealth reports why backends fail (R36): by cause, for alerts, and with the error's text
// while a failure lasts.
func (m *Metrics) writeHealth(p *page) {
	if m.sources.Health == nil {
		return
	}
	all := m.sources.Health()
	p.begin("akubra_backend_errors_total")
	for i := range all {
		for _, cause := range health.Causes {
			p.count(all[i].Errors[cause], m.names[i], string(cause))
		}
	}
	p.begin("akubra_backend_failing")
	for i := range all {
		for _, cause := range health.Causes {
			p.count(oneIf(all[i].Is(cause)), m.names[i], string(cause))
		}
	}
	p.begin("akubra_backend_failure_info")
	for i := range all {
		for _, f := range all[i].Failing {
			p.count(1, m.names[i], string(f.Cause), f.Means, f.Error)
		}
	}
	p.begin("akubra_backend_last_error_timestamp_seconds")
	for i := range all {
		if last := all[i].LastError; last != nil {
			p.value(float64(last.Last.Unix()), m.names[i])
		}
	}
}
