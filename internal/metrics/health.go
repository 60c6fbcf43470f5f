package metrics

import (
	"fmt"
	"io"

	"github.com/VictoriaMetrics/metrics"

	"github.com/akubra/akubra/internal/health"
)

// ObserveHealth lets a scrape read why backends fail. It must be called once, before Write.
func (m *Metrics) ObserveHealth(status func() []health.Status) { m.health = status }

// writeHealth reports why backends fail (R36): by cause, for alerts, and with the error's text
// while a failure lasts.
func (m *Metrics) writeHealth(w io.Writer) {
	if m.health == nil {
		return
	}
	all := m.health()
	line := func(value any, name string, labels ...string) {
		_, _ = fmt.Fprintf(w, "%s %v\n", series(name, labels...), value)
	}
	metrics.WriteMetadataIfNeeded(w, "akubra_backend_errors_total", "counter")
	for i := range all {
		for _, cause := range health.Causes {
			line(all[i].Errors[cause], "akubra_backend_errors_total", "backend", m.names[i], "cause", string(cause))
		}
	}
	metrics.WriteMetadataIfNeeded(w, "akubra_backend_failing", "gauge")
	for i := range all {
		for _, cause := range health.Causes {
			line(oneIf(all[i].Is(cause)), "akubra_backend_failing", "backend", m.names[i], "cause", string(cause))
		}
	}
	metrics.WriteMetadataIfNeeded(w, "akubra_backend_failure_info", "gauge")
	for i := range all {
		for _, f := range all[i].Failing {
			line(1, "akubra_backend_failure_info", "backend", m.names[i], "cause", string(f.Cause), "means", f.Means, "error", f.Error)
		}
	}
	metrics.WriteMetadataIfNeeded(w, "akubra_backend_last_error_timestamp_seconds", "gauge")
	for i := range all {
		if last := all[i].LastError; last != nil {
			line(last.Last.Unix(), "akubra_backend_last_error_timestamp_seconds", "backend", m.names[i])
		}
	}
}
