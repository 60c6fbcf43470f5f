package metrics

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
	"github.com/akubra/akubra/synclog"
	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/repair"
)

func scrape(t testing.TB, m *Metrics) map[string]float64 {
	t.Helper()
	var b bytes.Buffer
	m.Write(&b)
	return testkit.MustParseMetrics(t, b.String())
}

func TestMetricsCount(t *testing.T) {
	m := New("v1.2", []string{"a:9000", "b:9000"})
	m.RequestBegun()
	m.RequestBegun()
	m.RequestBegun()
	m.RequestEnded("PUT", 200, 4096, 3*time.Millisecond)
	m.RequestEnded("PUT", 204, 1, 3*time.Millisecond)
	m.RequestEnded("GET", 503, 0, 0)
	m.RequestEnded("PROPFIND", 0, 0, 0)
	m.LegEnded(0, engine.LegEnd{
		Class: engine.ClassWrite, Outcome: engine.OutcomePositive, Result: engine.Result2xx, Sent: 4000, Received: 90,
		First: 2 * time.Millisecond, Total: time.Second,
	})
	m.LegEnded(1, engine.LegEnd{Class: engine.ClassWrite, Outcome: engine.OutcomeStalled, Result: engine.ResultStalled, Sent: 30})
	m.LegSkipped(1, engine.ClassWrite, engine.ResultDeferred)
	m.Refused("journal")
	m.Refused("nonsense")
	m.LegEnded(1, engine.LegEnd{Class: engine.ClassGet, Outcome: "exploded", Result: engine.ResultReset, Sent: 1})
	m.LegsEnded(2 * time.Second)
	m.RingWaited(250 * time.Millisecond)
	m.RingWaited(500 * time.Millisecond)
	m.Diverged(1, engine.OpStoring, engine.OutcomeStalled)
	m.Diverged(1, engine.OpStoring, "sunspots")
	m.Diverged(1, engine.OpReading, "missing")
	m.Diverged(1, engine.OpReading, engine.OutcomeStalled)
	m.Diverged(1, "guessing", "missing")
	got := scrape(t, m)
	testkit.WantSamples(t, got, map[string]float64{
		`akubra_build_info{version="v1.2"}`:                                                    1,
		`akubra_requests_begun_total`:                                                          3,
		`akubra_requests_total{method="PUT",code="2xx"}`:                                       2,
		`akubra_requests_total{method="GET",code="5xx"}`:                                       1,
		`akubra_requests_total{method="other",code="other"}`:                                   1,
		`akubra_requests_total{method="DELETE",code="4xx"}`:                                    0,
		`akubra_request_bytes_total`:                                                           4097,
		`akubra_first_answer_seconds_count`:                                                    2, // without the responses that came from no backend
		`akubra_first_answer_seconds_bucket{le="0.0025"}`:                                      0,
		`akubra_first_answer_seconds_bucket{le="0.005"}`:                                       2,
		`akubra_last_leg_seconds_bucket{le="1"}`:                                               0,
		`akubra_last_leg_seconds_bucket{le="2.5"}`:                                             1,
		`akubra_last_leg_seconds_bucket{le="+Inf"}`:                                            1,
		`akubra_last_leg_seconds_sum`:                                                          2,
		`akubra_legs_total{backend="a:9000",outcome="positive"}`:                               1,
		`akubra_legs_total{backend="b:9000",outcome="positive"}`:                               0,
		`akubra_legs_total{backend="b:9000",outcome="stalled"}`:                                1,
		`akubra_legs_total{backend="b:9000",outcome="other"}`:                                  1,
		`akubra_backend_bytes_total{backend="a:9000"}`:                                         4000,
		`akubra_backend_bytes_total{backend="b:9000"}`:                                         31,
		`akubra_backend_results_total{backend="a:9000",class="write",result="2xx"}`:            1,
		`akubra_backend_results_total{backend="b:9000",class="write",result="stalled"}`:        1,
		`akubra_backend_results_total{backend="b:9000",class="write",result="deferred"}`:       1,
		`akubra_backend_results_total{backend="b:9000",class="get",result="reset"}`:            1,
		`akubra_backend_results_total{backend="b:9000",class="list",result="404"}`:             0,
		`akubra_backend_sent_bytes_total{backend="a:9000",class="write"}`:                      4000,
		`akubra_backend_received_bytes_total{backend="a:9000",class="write"}`:                  90,
		`akubra_backend_first_byte_seconds_bucket{backend="a:9000",class="write",le="0.001"}`:  0,
		`akubra_backend_first_byte_seconds_bucket{backend="a:9000",class="write",le="0.0025"}`: 1,
		`akubra_backend_first_byte_seconds_count{backend="b:9000",class="write"}`:              0,
		`akubra_backend_duration_seconds_sum{backend="a:9000",class="write"}`:                  1,
		`akubra_backend_duration_seconds_bucket{backend="a:9000",class="write",le="0.5"}`:      0,
		`akubra_backend_duration_seconds_bucket{backend="a:9000",class="write",le="1"}`:        1,
		`akubra_proxy_errors_total{reason="journal",code="503"}`:                               1,
		`akubra_proxy_errors_total{reason="internal",code="500"}`:                              0,
		`akubra_ring_waits_total`:                                                              2,
		`akubra_ring_wait_seconds_total`:                                                       .75,
		`akubra_divergences_total{backend="b:9000",op="storing",reason="stalled"}`:             1,
		`akubra_divergences_total{backend="b:9000",op="storing",reason="other"}`:               1,
		`akubra_divergences_total{backend="b:9000",op="reading",reason="missing"}`:             1,
		`akubra_divergences_total{backend="b:9000",op="reading",reason="other"}`:               1,
		`akubra_divergences_total{backend="b:9000",op="other",reason="other"}`:                 1,
		`akubra_divergences_total{backend="b:9000",op="storing",reason="multipart"}`:           0,
		`akubra_divergences_total{backend="b:9000",op="storing",reason="maintained"}`:          0,
		`akubra_legs_total{backend="a:9000",outcome="` + "aborted" + `"}`:                      0,
	})
	if _, there := got["akubra_requests_in_flight"]; there {
		t.Error("what nobody observes is shown")
	}
	for _, name := range []string{"go_goroutines", "process_cpu_seconds_total", "process_open_fds"} {
		if _, there := got[name]; !there {
			t.Errorf("no %s", name)
		}
	}

	totals := m.Totals()
	want := totals
	want.Requests, want.RequestBytes, want.Divergences, want.RingWaits, want.RingSeconds = 4, 4097, 5, 2, .75
	if totals != want {
		t.Errorf("totals are %+v, want %+v", totals, want)
	}
	if legs, sent := m.Legs(1); legs["stalled"] != 1 || legs["positive"] != 0 || len(legs) != len(metricOutcomes) || sent != 31 {
		t.Errorf("the second backend's legs are %v, sent %d", legs, sent)
	}
}

// Each of the engine's words has a counter of its own.
func TestMetricsKnowTheEnginesWords(t *testing.T) {
	for _, outcome := range []string{
		engine.OutcomePositive, engine.OutcomeNegative, engine.OutcomeFailed, engine.OutcomeStalled, engine.OutcomeAborted,
	} {
		if got := metricOutcomes[outcomeIndex(outcome)]; got != outcome {
			t.Errorf("outcome %q counts as %q", outcome, got)
		}
		if got := metricDivergences[divergenceIndex(engine.OpStoring, outcome)]; got.op != engine.OpStoring || got.reason != outcome {
			t.Errorf("divergence by %q counts as %+v", outcome, got)
		}
	}
	for _, state := range []string{limiter.StateDemoted, limiter.StateMaintained} { // R15
		if got := metricDivergences[divergenceIndex(engine.OpStoring, state)]; got.reason != state {
			t.Errorf("divergence by %q counts as %+v", state, got)
		}
	}
	for status, want := range map[int]string{
		-1: labelOther, 0: labelOther, 100: labelOther, 199: labelOther, 200: "2xx", 299: "2xx", 304: "3xx",
		404: "4xx", 500: "5xx", 599: "5xx", 600: labelOther, 9999: labelOther,
	} {
		if got := metricCodes[codeIndex(status)]; got != want {
			t.Errorf("status %d counts as %q, want %q", status, got, want)
		}
	}
}

func TestMetricsObserve(t *testing.T) {
	names := []string{"a:9000", "b:9000", "c:9000"}
	l := limiter.New(limiter.Options{Backends: names, ConnLimit: 100, FailureLimit: 1})
	l.SetMaintained(1, true)
	l.Failed(2, 0)
	var slots [limiter.MaxBackends]int32
	l.TryBegin(0, 0b111, &slots)
	log := synclog.New(synclog.Options{Out: &bytes.Buffer{}})
	log.Record(&synclog.Record{Method: "PUT"})
	m := New("v1.2", names)
	m.Observe(Sources{
		Status:  func() []limiter.Status { return l.Status(int64(time.Second)) },
		Records: log.Counts, InFlight: func() int { return 7 },
	})
	testkit.WantSamples(t, scrape(t, m), map[string]float64{
		`akubra_requests_in_flight`:                        7,
		`akubra_synclog_records_total`:                     1,
		`akubra_synclog_failed_total`:                      0,
		`akubra_backend_busy{backend="a:9000"}`:            1,
		`akubra_backend_busy{backend="b:9000"}`:            0,
		`akubra_backend_stalled{backend="a:9000"}`:         1, // a second without progress
		`akubra_backend_up{backend="a:9000"}`:              1,
		`akubra_backend_up{backend="b:9000"}`:              0,
		`akubra_backend_up{backend="c:9000"}`:              0,
		`akubra_backend_maintained{backend="b:9000"}`:      1,
		`akubra_backend_maintained{backend="c:9000"}`:      0,
		`akubra_backend_demotions_total{backend="b:9000"}`: 0,
		`akubra_backend_demotions_total{backend="c:9000"}`: 1,
	})
}

// A label can contain anything, but its content cannot create other series.
func TestMetricsQuoteLabels(t *testing.T) {
	names := []string{"[2001:db8::1]:9000", `a"} 1`, `back\slash`, "new\nline", "schön:80", "{brace}"}
	l := limiter.New(limiter.Options{Backends: names})
	m := New("v1.2", names)
	m.Observe(Sources{
		Status:  func() []limiter.Status { return l.Status(0) },
		Records: func() synclog.Counts { return synclog.Counts{} }, InFlight: func() int { return 0 },
	})
	testkit.WantSamples(t, scrape(t, m), map[string]float64{
		`akubra_backend_up{backend="[2001:db8::1]:9000"}`:                  1,
		`akubra_backend_up{backend="a\"} 1"}`:                              1,
		`akubra_backend_up{backend="back\\slash"}`:                         1,
		`akubra_backend_up{backend="new\nline"}`:                           1,
		`akubra_backend_up{backend="schön:80"}`:                            1,
		`akubra_legs_total{backend="new\nline",outcome="positive"}`:        0,
		`akubra_legs_total{backend="a\"} 1",outcome="positive"}`:           0,
		`akubra_backend_bytes_total{backend="{brace}"}`:                    0,
		`akubra_legs_total{backend="[2001:db8::1]:9000",outcome="failed"}`: 0,
	})
}

func TestMetricsConcurrently(t *testing.T) {
	m := New("v1.2", []string{"a", "b"})
	var done sync.WaitGroup
	const each = 500
	for range 4 {
		done.Go(func() {
			for range each {
				hotPath(m)
			}
		})
	}
	done.Go(func() {
		for range 20 {
			scrape(t, m)
			m.Totals()
		}
	})
	testkit.Finish(t, "all goroutines end", done.Wait)
	if got := m.Totals().Requests; got != 4*each {
		t.Errorf("%d requests counted, want %d", got, 4*each)
	}
}

// hotPath is what one request to two backends counts, and what is rare.
func hotPath(m *Metrics) {
	m.RequestBegun()
	m.RequestEnded("PUT", 200, 4096, 3*time.Millisecond)
	m.LegEnded(0, engine.LegEnd{
		Class: engine.ClassWrite, Outcome: engine.OutcomePositive, Result: engine.Result2xx, Sent: 4096, Received: 90,
		First: time.Millisecond, Total: time.Millisecond,
	})
	m.LegEnded(1, engine.LegEnd{Class: engine.ClassWrite, Outcome: engine.OutcomeStalled, Result: engine.ResultStalled, Sent: 4096})
	m.LegsEnded(5 * time.Millisecond)
	m.RingWaited(time.Millisecond)
	m.Diverged(1, engine.OpStoring, engine.OutcomeStalled)
}

func BenchmarkMetricsRequest(b *testing.B) {
	m := New("v1.2", []string{"a", "b"})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			hotPath(m)
		}
	})
}

type journalOf journal.Stats

func (j journalOf) Stats() journal.Stats { return journal.Stats(j) }
func (j journalOf) Failed() bool         { return false }
func (j journalOf) Owing() journal.Owing {
	return journal.Owing{Oldest: []uint64{0, j.Oldest}, Bytes: []int64{0, 4096}}
}

func TestMetricsJournal(t *testing.T) {
	m := New("v1.2", []string{"a:9000", "b:9000"})
	if got := scrape(t, m); got["akubra_journal_keys"] != 0 {
		t.Errorf("before it observes: %v", got["akubra_journal_keys"])
	}
	var r *repair.Status
	j := journalOf{
		Pending: 2, ByBackend: []int{1, 2}, Segments: 1, Bytes: 99, Written: 2, Failures: 3, Dropped: 4, Damaged: 5,
		Oldest: uint64(time.Now().Add(-time.Minute).UnixNano()),
	}
	m.Observe(Sources{Journal: j, Repair: func() (repair.Status, bool) {
		if r == nil {
			return repair.Status{}, false
		}
		return *r, true
	}})
	got := scrape(t, m)
	testkit.WantSamples(t, got, map[string]float64{
		`akubra_journal_pending{backend="a:9000"}`:             1,
		`akubra_journal_pending{backend="b:9000"}`:             2,
		`akubra_journal_keys`:                                  2,
		`akubra_backend_owed_bytes{backend="b:9000"}`:          4096,
		`akubra_backend_owed_oldest_seconds{backend="a:9000"}`: 0,
		`akubra_journal_open`:                                  0,
		`akubra_journal_parked`:                                0,
		`akubra_journal_gone`:                                  0,
		`akubra_journal_segments`:                              1,
		`akubra_journal_written_total`:                         2,
		`akubra_journal_failures_total`:                        3,
		`akubra_journal_dropped_total`:                         4,
		`akubra_journal_damaged_total`:                         5,
		`akubra_journal_failed`:                                0,
	})
	if old := got["akubra_journal_oldest_seconds"]; !(old > 0 && old < 3600) || got["akubra_journal_bytes"] == 0 {
		t.Errorf("oldest %v s, %v bytes", old, got["akubra_journal_bytes"])
	}
	if _, there := got["akubra_repair_failed_total"]; there {
		t.Error("no repair runs here, and yet it has metrics")
	}
	r = &repair.Status{Resolved: 4, Failed: 3, Parked: 2, Bytes: 1, Backends: []repair.BackendStatus{{Name: "a:9000"}, {Name: "b:9000", Out: true}}}
	testkit.WantSamples(t, scrape(t, m), map[string]float64{
		`akubra_repair_repaired_total`:                4,
		`akubra_repair_failed_total`:                  3,
		`akubra_repair_parked_total`:                  2,
		`akubra_repair_bytes_total`:                   1,
		`akubra_repair_backend_out{backend="a:9000"}`: 0,
		`akubra_repair_backend_out{backend="b:9000"}`: 1,
	})
}

func TestOldestSeconds(t *testing.T) {
	now := time.Unix(1_900_000_000, 500_000_000)
	for seq, want := range map[uint64]float64{0: 0, uint64(now.Add(-90 * time.Second).UnixNano()): 90, uint64(now.Add(time.Hour).UnixNano()): 0} {
		if got := oldestSeconds(seq, now); got != want {
			t.Errorf("%d: %v, want %v", seq, got, want)
		}
	}
}
