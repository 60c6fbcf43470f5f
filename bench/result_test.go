package main

import (
	"bytes"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/bench/histogram"
	"github.com/akubra/akubra/internal/testkit"
)

func TestMedian(t *testing.T) {
	if m := median([]float64{3, 1, 2}); m != 2 {
		t.Errorf("%v", m)
	}
	if m := median([]float64{4, 1, 2, 3}); m != 2.5 {
		t.Errorf("%v", m)
	}
	if !math.IsNaN(median(nil)) {
		t.Error("nothing has a median")
	}
}

// someRuns are rounds of a case whose proxy takes cpu times as much as nginx.
func someRuns(c Case, rounds int, cpu float64) []*Run {
	var runs []*Run
	for round := range rounds {
		for i, peer := range []string{"direct", "nginx", "akubra"} {
			r := newRecorder(3 * time.Second)
			r.begin()
			for n := range 300 {
				r.done(&request{method: "PUT", size: c.Size, firstByte: r.start.Add(time.Millisecond)}, r.start, r.start, r.start.Add(time.Duration(n+i+1)*time.Millisecond), nil)
			}
			used := usage{}
			if peer != "direct" {
				noise := 1 + .001*float64(round)
				used = usage{User: 10 * time.Millisecond, System: 20 * time.Millisecond, Peak: 30e6, RSS: 20e6, Switches: 600}
				if peer == "akubra" {
					used.User = time.Duration(noise * cpu * float64(used.User))
					used.System = time.Duration(noise * cpu * float64(used.System))
					used.Mallocs, used.Alloced = 600, 60_000
				}
				for i := range r.slots {
					r.slots[i].rss.Store(25e6)
				}
			}
			run := newRun(&c, peer, round, r, used)
			run.setFigures()
			runs = append(runs, run)
		}
	}
	return runs
}

func TestFiguresAndTables(t *testing.T) {
	runs := someRuns(putOf(4<<10, 2, 32), 3, 1.5)
	r := runs[2]
	for name, want := range map[string]float64{"ok_per_s": 100, "sent_per_s": 100, "cpu_us": 150, "user_us": 50, "system_us": 100, "allocs": 2, "alloc_bytes": 200, "switches": 2, "peak_mib": 30e6 / mib} {
		if got := r.Figures[name]; math.Abs(got-want) > 1e-6*want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if _, ok := runs[0].Figures["cpu_us"]; ok {
		t.Error("a direct run has a proxy's CPU time")
	}
	var out bytes.Buffer
	printTable(&out, runs)
	printRatios(&out, runs)
	text := out.String()
	for _, want := range []string{"put 4 KiB ×2 c32", "direct", "nginx", "akubra", "1.50", "p99.9"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Error(text)
	}
}

func TestResultsAsJSON(t *testing.T) {
	rs := newResults(mustOptions(t), []string{"-x"})
	rs.Runs = someRuns(putOf(4<<10, 2, 32), 1, 1)
	path := filepath.Join(t.TempDir(), "out.json")
	testkit.MustDo(t, rs.write(path))
	read, err := readResults(path)
	testkit.MustDo(t, err)
	for i, r := range read.Runs {
		want := rs.Runs[i]
		if r.Latency.Count() != 300 || r.Latency.At(.99) != want.Latency.At(.99) || r.Case.String() != want.Case.String() || len(r.Series.RSS) != recorderSlots {
			t.Errorf("%s is not what was written", r.Peer)
		}
	}
	rs.Schema = 99
	testkit.MustDo(t, rs.write(path))
	if _, err := readResults(path); err == nil {
		t.Error("another schema is read")
	}
}

func TestCompare(t *testing.T) {
	c := putOf(4<<10, 2, 32)
	say := func(rounds int, before, after float64) string {
		var out bytes.Buffer
		if n := printComparison(&out, someRuns(c, rounds, before), someRuns(c, rounds, after)); n != 1 {
			t.Fatalf("%d cases compared", n)
		}
		for line := range strings.Lines(out.String()) {
			if strings.Contains(line, "akubra") && strings.Contains(line, "CPU µs / nginx") {
				return line
			}
		}
		t.Fatal(out.String())
		return ""
	}
	for want, line := range map[string]string{"worse": say(5, 1, 1.5), "better": say(5, 1, .5), "~": say(5, 1, 1), "?": say(3, 1, 2)} {
		if !strings.HasSuffix(strings.TrimSpace(line), want) {
			t.Errorf("want %q: %s", want, line)
		}
	}
	if line := say(5, 1, 1.5); !strings.Contains(line, "+50.0 %") {
		t.Error(line)
	}
	if n := printComparison(&bytes.Buffer{}, someRuns(c, 1, 1), someRuns(putOf(1, 2, 32), 1, 1)); n != 0 {
		t.Error("different cases are compared")
	}
}

func TestBars(t *testing.T) {
	o := mustOptions(t)
	cases := append(o.comparedCases(), o.singleCases()...)
	for name, c := range map[string]struct {
		cpu    float64
		failed bool
	}{"well": {.3, false}, "slow": {1.4, true}} {
		var runs []*Run
		for i := range cases {
			// Each backend costs as much as any other, and a ninth of what does not
			// depend on their number.
			cpu := c.cpu * float64(9+cases[i].Backends) / 11
			for _, r := range someRuns(cases[i], 3, cpu) {
				for _, p := range barPeers(&cases[i]) {
					if r.Peer == p {
						runs = append(runs, r)
					}
				}
			}
		}
		for _, r := range runs {
			if r.Case.Fault != "" { // all that someRuns makes begins at once
				r.Before, r.Settled = &histogram.Histogram{}, &histogram.Histogram{}
				r.Before.Record(10 * time.Millisecond)
				r.Settled.Record(11 * time.Millisecond)
			}
		}
		var out bytes.Buffer
		failed, of := printBars(&out, runs)
		if failed > 0 != c.failed || of < 15 || strings.Contains(out.String(), "not measured") {
			t.Errorf("%s: %d of %d not passed\n%s", name, failed, of, out.String())
		}
	}
	var out bytes.Buffer
	if failed, of := printBars(&out, nil); failed != of {
		t.Error("bars are passed that nobody measured")
	}
}

func TestSyscallCounters(t *testing.T) {
	strace := `strace: Process 12 attached with 3 threads
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 61.20    0.101000          10     10000           writev
 38.00    0.050000           5      9000        17 read
------ ----------- ----------- --------- --------- ----------------
100.00    0.151000                 19000        17 total
`
	got := parseStrace([]byte(strace))
	if len(got) != 2 || got["writev"] != 10000 || got["read"] != 9000 {
		t.Errorf("%v", got)
	}
	if n, err := parsePerf([]byte("# started\n\n45321,,raw_syscalls:sys_enter,1000,100.00,,\n")); err != nil || n != 45321 {
		t.Errorf("%v, %v", n, err)
	}
	if _, err := parsePerf([]byte("no permission")); err == nil {
		t.Error("a refusal is read as a count")
	}
}

// A figure that is the same in every round has not changed, however few rounds there are
// that could show a change.
func TestCompareWithoutChange(t *testing.T) {
	for want, rounds := range map[string]int{"~": 4, "?": 3} {
		values := slices.Repeat([]float64{100}, rounds)
		var out bytes.Buffer
		few := printChange(&out, "akubra", "allocs", metricOf("allocs"), formatNumber, values, values)
		if few != (want == "?") || !strings.HasSuffix(strings.TrimSpace(out.String()), want) {
			t.Errorf("%d rounds: %s", rounds, out.String())
		}
	}
}
