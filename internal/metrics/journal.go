package metrics

import (
	"fmt"
	"io"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/repair"
	"github.com/akubra/akubra/synclog/task"
)

// Journal is what a scrape reads from the journal. Any goroutine may call its methods.
type Journal interface {
	Stats() journal.Stats
	// Failed reports whether nothing can be written any more.
	Failed() bool
}

// ObserveJournal lets a scrape read the journal and, if it runs in this process, repair (status
// returns false otherwise). It must be called once, before Write.
func (m *Metrics) ObserveJournal(j Journal, status func() (repair.Status, bool)) {
	m.journal, m.repair = j, status
}

func (m *Metrics) writeJournal(w io.Writer) {
	if m.journal == nil {
		return
	}
	s := m.journal.Stats()
	metrics.WriteMetadataIfNeeded(w, "akubra_journal_pending", "gauge")
	for i, name := range m.names {
		if i < len(s.ByBackend) {
			_, _ = fmt.Fprintf(w, "%s %d\n", series("akubra_journal_pending", "backend", name), s.ByBackend[i])
		}
	}
	gauge := func(name string, n int) { metrics.WriteGaugeUint64(w, name, uint64(max(0, n))) }
	gauge("akubra_journal_keys", s.Pending)
	gauge("akubra_journal_open", s.Open)
	gauge("akubra_journal_parked", s.Parked)
	metrics.WriteMetadataIfNeeded(w, "akubra_journal_parked_keys", "gauge")
	for _, why := range task.ParkReasons {
		_, _ = fmt.Fprintf(w, "%s %d\n", series("akubra_journal_parked_keys", "reason", string(why)), s.ParkedFor[why])
	}
	gauge("akubra_journal_gone", s.Gone)
	gauge("akubra_journal_segments", s.Segments)
	gauge("akubra_journal_bytes", int(s.Bytes))
	metrics.WriteGaugeFloat64(w, "akubra_journal_oldest_seconds", oldestSeconds(s.Oldest, time.Now()))
	metrics.WriteGaugeUint64(w, "akubra_journal_failed", oneIf(m.journal.Failed()))
	metrics.WriteCounterUint64(w, "akubra_journal_written_total", s.Written)
	metrics.WriteCounterUint64(w, "akubra_journal_batches_total", s.Batches)
	metrics.WriteCounterUint64(w, "akubra_journal_syncs_total", s.Syncs)
	metrics.WriteCounterUint64(w, "akubra_journal_failures_total", s.Failures)
	metrics.WriteCounterUint64(w, "akubra_journal_dropped_total", s.Dropped)
	metrics.WriteCounterUint64(w, "akubra_journal_damaged_total", s.Damaged)
	if r, ok := m.repair(); ok {
		metrics.WriteCounterUint64(w, "akubra_repair_repaired_total", r.Resolved)
		metrics.WriteCounterUint64(w, "akubra_repair_failed_total", r.Failed)
		metrics.WriteCounterUint64(w, "akubra_repair_parked_total", r.Parked)
		metrics.WriteCounterUint64(w, "akubra_repair_bytes_total", r.Bytes)
		metrics.WriteMetadataIfNeeded(w, "akubra_repair_backend_out", "gauge")
		for i := range r.Backends {
			b := &r.Backends[i]
			_, _ = fmt.Fprintf(w, "%s %d\n", series("akubra_repair_backend_out", "backend", b.Name), oneIf(b.Out))
		}
	}
}

// oldestSeconds is the age of the oldest pending entry, or 0 if nothing is pending.
func oldestSeconds(seq uint64, now time.Time) float64 {
	if seq == 0 {
		return 0
	}
	return max(0, now.Sub(time.Unix(0, int64(seq))).Seconds())
}
