package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	rs := newResults(mustOptions(t), []string{"-json", "<script>alert(1)</script>"})
	for _, c := range []Case{putOf(4<<10, 2, 1), putOf(4<<10, 2, 32), putOf(4<<10, 3, 32), hungCase, idleCase, {Scenario: "mix", Method: methodMix, Backends: 2, Conns: 32}} {
		rs.Runs = append(rs.Runs, someRuns(c, 2, 1.2)...)
	}
	rs.Runs[0].Errors = map[string]int64{"status 503": 3}
	var out bytes.Buffer
	if err := writeReport(&out, rs); err != nil {
		t.Fatal(err)
	}
	page := out.String()
	for _, want := range []string{"<svg", "Latency by percentile", "Throughput over time", "one storage hangs", "Resident memory over time",
		"by connections", "by storages", "3 × status 503", "prefers-color-scheme: dark", "1.20", "&lt;script&gt;"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing", want)
		}
	}
	for _, bad := range []string{"NaN", "Inf", "<script", "http://", "https://", "ZgotmplZ"} {
		if strings.Contains(page, bad) {
			t.Errorf("%q is in it", bad)
		}
	}
	if open, shut := strings.Count(page, "<svg"), strings.Count(page, "</svg>"); open != shut || open < 15 {
		t.Errorf("%d charts begin, %d end", open, shut)
	}
}

func TestReportOfNothing(t *testing.T) {
	rs := newResults(mustOptions(t), nil)
	c := putOf(0, 2, 1)
	run := newRun(&c, "direct", 0, newRecorder(time.Second), usage{})
	run.setFigures()
	rs.Runs = []*Run{run}
	var out bytes.Buffer
	if err := writeReport(&out, rs); err != nil || strings.Contains(out.String(), "NaN") {
		t.Fatal(err, out.String())
	}
	printTable(&out, rs.Runs)
}
