package metrics

import (
	"time"

	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/task"
)

// Journal is what a scrape reads from the journal. Any goroutine may call its methods.
type Journal interface {
	Stats() journal.Stats
	// Owing returns, by backend, approximately how much it is owed, and since when.
	Owing() journal.Owing
	// Failed reports whether nothing can be written any more.
	Failed() bool
}

func (m *Metrics) writeJournal(p *page) {
	if m.sources.Journal == nil {
		return
	}
	s := m.sources.Journal.Stats()
	p.begin("akubra_journal_pending")
	for i, name := range m.names {
		if i < len(s.ByBackend) {
			p.count(uint64(s.ByBackend[i]), name)
		}
	}
	owed := m.sources.Journal.Owing()
	p.begin("akubra_backend_owed_bytes")
	for i, name := range m.names {
		if i < len(owed.Bytes) {
			p.count(uint64(max(0, owed.Bytes[i])), name)
		}
	}
	p.begin("akubra_backend_owed_oldest_seconds")
	for i, name := range m.names {
		if i < len(owed.Oldest) {
			p.value(oldestSeconds(owed.Oldest[i], time.Now()), name)
		}
	}
	gauge := func(name string, n int) { p.oneSize(name, int64(n)) }
	gauge("akubra_journal_keys", s.Pending)
	gauge("akubra_journal_open", s.Open)
	gauge("akubra_journal_parked", s.Parked)
	p.begin("akubra_journal_parked_keys")
	for _, why := range task.ParkReasons {
		p.count(uint64(s.ParkedFor[why]), string(why))
	}
	gauge("akubra_journal_gone", s.Gone)
	gauge("akubra_journal_segments", s.Segments)
	gauge("akubra_journal_bytes", int(s.Bytes))
	p.oneValue("akubra_journal_oldest_seconds", oldestSeconds(s.Oldest, time.Now()))
	p.one("akubra_journal_failed", oneIf(m.sources.Journal.Failed()))
	p.one("akubra_journal_written_total", s.Written)
	p.one("akubra_journal_batches_total", s.Batches)
	p.one("akubra_journal_syncs_total", s.Syncs)
	p.oneValue("akubra_journal_sync_seconds_total", s.SyncTime.Seconds())
	p.one("akubra_journal_failures_total", s.Failures)
	p.one("akubra_journal_dropped_total", s.Dropped)
	p.one("akubra_journal_damaged_total", s.Damaged)
	if r, ok := m.sources.Repair(); ok {
		p.one("akubra_repair_repaired_total", r.Resolved)
		p.one("akubra_repair_failed_total", r.Failed)
		p.one("akubra_repair_parked_total", r.Parked)
		p.one("akubra_repair_bytes_total", r.Bytes)
		p.begin("akubra_repair_backend_out")
		for i := range r.Backends {
			p.count(oneIf(r.Backends[i].Out), r.Backends[i].Name)
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
