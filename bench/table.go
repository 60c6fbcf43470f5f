package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// line is a run as it is told of when it has ended.
func (r *Run) line() string {
	v := func(name string) float64 { return r.figure(metricOf(name)) }
	s := fmt.Sprintf("%-7s %-24s %8s ok/s %8s MB/s  p50 %s p99 %s max %s", r.Peer, &r.Case,
		formatNumber(v("ok_per_s")), formatNumber(v("mb_per_s")), formatSeconds(v("p50_s")), formatSeconds(v("p99_s")), formatSeconds(v("max_s")))
	if r.Usage.Peak > 0 {
		s += fmt.Sprintf("  cpu %s µs  peak %s MB", formatNumber(v("cpu_us")), formatNumber(v("peak_mb")))
	}
	if r.Wan != nil {
		s += r.Wan.line()
	}
	for kind, n := range r.Errors {
		s += fmt.Sprintf("  %d × %s", n, kind)
	}
	if r.Unsent > 0 {
		s += fmt.Sprintf("  %d NEVER SENT", r.Unsent)
	}
	if r.Wrong != "" {
		s += "  WRONG: " + r.Wrong
	}
	return s
}

func formatSeconds(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	return formatDuration(time.Duration(v * float64(time.Second)))
}

// format is a value of a metric as tables have it.
func (m *metric) format(v float64) string {
	switch {
	case math.IsNaN(v):
		return "-"
	case strings.HasSuffix(m.name, "_s"):
		if m.better > 0 {
			return formatNumber(v)
		}
		return formatSeconds(v)
	}
	return formatNumber(v)
}

// printTable prints the medians of each case's rounds, a line for each peer.
func printTable(w io.Writer, runs []*Run) {
	columns := usedMetrics(runs)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\n\t")
	for _, m := range columns {
		fmt.Fprint(t, m.title, "\t")
	}
	fmt.Fprintln(t, "errors\t")
	for _, g := range groups(runs) {
		fmt.Fprintln(t, g.c.String()+"\t"+strings.Repeat("\t", len(columns)+1))
		for _, peer := range g.peers {
			fmt.Fprint(t, peer, "\t")
			failed := int64(0)
			for _, r := range g.runs[peer] {
				failed += r.Failed
			}
			for _, m := range columns {
				fmt.Fprint(t, m.format(medianOf(g.runs[peer], m)), "\t")
			}
			fmt.Fprintf(t, "%d\t\n", failed)
		}
	}
	_ = t.Flush()
	if !slices.Contains(columns, metricOf("cpu_us")) {
		return
	}
	fmt.Fprintln(w, "\nCPU, user, system, allocs, alloc B, switches and syscalls are of the proxy, for each request.")
}

// usedMetrics are those that any run has.
func usedMetrics(runs []*Run) []*metric {
	var used []*metric
	for i := range metrics {
		m := &metrics[i]
		if slices.ContainsFunc(runs, func(r *Run) bool { return !math.IsNaN(r.figure(m)) }) {
			used = append(used, m)
		}
	}
	return used
}

type ratio struct{ metric, over string }

// ratios are what is printed of akubra beside its peers.
var ratios = []ratio{
	{"cpu_us", "nginx"}, {"cpu_s_per_gb", "nginx"}, {"ok_per_s", "nginx"}, {"p99_s", "nginx"}, {"peak_mb", "nginx"},
	{"cpu_us", "nginx-proxy"}, {"ok_per_s", "nginx-proxy"},
	{"p50_s", "akubra-near"}, {"p99_s", "akubra-near"},
	{"ok_per_s", "direct"}, {"p50_s", "direct"}, {"p99_s", "direct"},
}

// printRatios prints the proxy's figures over its peers'. Each ratio is taken
// within one round: a noisy machine is noisy for both.
func printRatios(w io.Writer, runs []*Run) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	ratios := slices.DeleteFunc(slices.Clone(ratios), func(of ratio) bool {
		return !slices.ContainsFunc(runs, func(r *Run) bool { return r.Peer == of.over })
	})
	fmt.Fprint(t, "\nakubra over\t")
	for _, of := range ratios {
		fmt.Fprintf(t, "%s / %s\t", metricOf(of.metric).title, of.over)
	}
	fmt.Fprintln(t)
	some := false
	for _, g := range groups(runs) {
		fmt.Fprint(t, g.c.String(), "\t")
		for _, of := range ratios {
			v := median(ratiosOf(g.runs["akubra"], g.runs[of.over], metricOf(of.metric)))
			if math.IsNaN(v) {
				fmt.Fprint(t, "-\t")
				continue
			}
			some = true
			fmt.Fprintf(t, "%.2f\t", v)
		}
		fmt.Fprintln(t)
	}
	if some {
		_ = t.Flush()
	}
}

// valuesOf are a metric's values in some runs, without those that have none.
func valuesOf(runs []*Run, m *metric) []float64 {
	var values []float64
	for _, r := range runs {
		if v := r.figure(m); !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	return values
}

func medianOf(runs []*Run, m *metric) float64 { return median(valuesOf(runs, m)) }

// ratiosOf are a metric's ratios in the rounds that both have.
func ratiosOf(of, over []*Run, m *metric) []float64 {
	var values []float64
	for _, a := range of {
		for _, b := range over {
			if a.Round != b.Round {
				continue
			}
			if v := a.figure(m) / b.figure(m); !math.IsNaN(v) && !math.IsInf(v, 0) {
				values = append(values, v)
			}
		}
	}
	return values
}
