package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

func TestReport(t *testing.T) {
	rs := newResults(mustOptions(t), []string{"-json", "<script>alert(1)</script>"})
	for _, c := range []Case{putOf(4<<10, 2, 1), putOf(4<<10, 2, 32), putOf(4<<10, 3, 32), hungCase, idleCase, {Scenario: "mix", Method: methodMix, Backends: 2, Conns: 32}} {
		rs.Runs = append(rs.Runs, someRuns(c, 2, 1.2)...)
	}
	rs.Runs[0].Errors = map[string]int64{"status 503": 3}
	var out bytes.Buffer
	testkit.MustDo(t, writeReport(&out, rs))
	page := out.String()
	for _, want := range []string{"<svg", "Latency by percentile", "Throughput over time", "one backend hangs", "Resident memory over time",
		"by connections", "by backends", "3 × status 503", "prefers-color-scheme: dark", "1.20", "&lt;script&gt;"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing", want)
		}
	}
	for _, bad := range []string{"NaN", "Inf", "<script", "http://", "https://", "ZgotmplZ"} {
		if strings.Contains(page, bad) {
			t.Errorf("%q is in it", bad)
		}
	}
	// A line whose style has no colour cannot be seen.
	for _, class := range regexp.MustCompile(`class="line s(\d+)"`).FindAllStringSubmatch(page, -1) {
		for _, scheme := range []string{"light", "dark"} {
			_, styles, _ := strings.Cut(page, map[string]string{"light": ":root {", "dark": "prefers-color-scheme: dark"}[scheme])
			if styles, _, _ = strings.Cut(styles, "}"); !strings.Contains(styles, "--s"+class[1]+":") || !strings.Contains(page, ".s"+class[1]+" {") {
				t.Errorf("s%s has no colour in the %s scheme", class[1], scheme)
			}
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

// TestReportSays: what is compared, how it ended, in which unit, and which way is good.
func TestReportSays(t *testing.T) {
	rs := newResults(mustOptions(t), nil)
	rs.Runs = someRuns(putOf(4<<10, 2, 32), 4, 1.2)
	say := func() string {
		var out bytes.Buffer
		testkit.MustDo(t, writeReport(&out, rs))
		return out.String()
	}
	for _, want := range []string{"<title>akubra beside nginx ·", "<h1>akubra beside nginx</h1>", "CPU time per request", "1.20 × <b>✗ worse</b>",
		"that of nginx", `title="less is better">p50<small>ms ↓</small>`, `title="more is better">ok<small>/s ↑</small>`, "<small>MiB ↓</small>", "of 3600, of all peers"} {
		if !strings.Contains(say(), want) {
			t.Errorf("%q is missing", want)
		}
	}
	// The conclusion says no more than the table.
	rs.Runs = someRuns(putOf(4<<10, 2, 32), 3, 1.2)
	if page := say(); !strings.Contains(page, "1.20 × <b>? too few rounds</b>") || strings.Contains(page, "worse</b>") {
		t.Error("three rounds are enough for a verdict")
	}
	rs.Runs = someRuns(putOf(4<<10, 2, 32), 4, 1.2)
	for i, r := range rs.Runs {
		if r.Peer == "nginx" && i >= len(rs.Runs)*3/4 { // which is worse in the last round
			r.Usage.User, r.Usage.System = 2*r.Usage.User, 2*r.Usage.System
		}
	}
	if page := say(); !strings.Contains(page, "× <b>~ not certain</b>") {
		t.Error("there is a verdict though the last round was another one")
	}
	rs.Runs[0].Wrong = "it is wrong"
	if !strings.Contains(say(), "do not trust this page") {
		t.Error("what does not add up stands at no prominent place")
	}

	// Targets: the first is the one to hold against, whatever they are called.
	c := Case{Scenario: "mix", Method: methodMix, Conns: 1}
	rs.Runs = nil
	for _, peer := range []string{"backend", "akubra"} {
		r := newRecorder(time.Second)
		r.begin()
		for _, method := range []string{"PUT", "GET"} {
			r.done(&request{method: method, firstByte: r.start.Add(time.Millisecond)}, r.start, r.start, r.start.Add(2*time.Millisecond), nil)
		}
		rs.Runs = append(rs.Runs, newRun(&c, peer, 0, r, usage{}))
	}
	for _, want := range []string{"<h1>akubra beside backend</h1>", "time to first byte", "about the same", `<tr class="part"><td>GET</td>`} {
		if !strings.Contains(say(), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if page := say(); strings.Index(page, "<td>backend</td>") > strings.Index(page, "<td>akubra</td>") {
		t.Error("the targets are not in their order")
	}
	if page := say(); strings.Count(page, `class="line s4"`) != strings.Count(page, `class="line s3"`) {
		t.Error("two targets have one colour")
	}
}
