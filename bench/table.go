package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// line is what is printed about a run when it has ended.
func (r *Run) line() string {
	v := func(name string) string { m := metricOf(name); return m.format(r.figure(m)) }
	s := fmt.Sprintf("%-7s %-24s %8s ok/s %8s MiB/s  p50 %s p99 %s max %s ms", r.Peer, &r.Case, v("ok_per_s"), v("mib_per_s"), v("p50_s"), v("p99_s"), v("max_s"))
	if r.Usage.Peak > 0 {
		s += fmt.Sprintf("  CPU %s µs  peak %s MiB", v("cpu_us"), v("peak_mib"))
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

// printTable prints the medians of each case's rounds, a line for each peer, and below it
// one for each operation of a mix. Each column has its one unit.
func printTable(w io.Writer, runs []*Run) {
	columns := usedMetrics(runs)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\n\t")
	for _, m := range columns {
		fmt.Fprint(t, m.head(), "\t")
	}
	fmt.Fprintln(t, "errors\t")
	for _, g := range groups(runs) {
		fmt.Fprintln(t, g.c.String()+"\t"+strings.Repeat("\t", len(columns)+1))
		for _, peer := range g.peers {
			printRow(t, peer, columns, g.runs[peer])
			for _, name := range operations {
				if runs := operationRuns(g.runs[peer], name); runs != nil {
					printRow(t, peer+" "+name, columns, runs)
				}
			}
		}
	}
	_ = t.Flush()
	if !slices.Contains(columns, metricOf("cpu_us")) {
		return
	}
	fmt.Fprintln(w, "\nCPU, user, system, allocs, alloc, switches and syscalls are of the proxy, for each request.")
}

func printRow(t io.Writer, name string, columns []*metric, runs []*Run) {
	fmt.Fprint(t, name, "\t")
	for _, m := range columns {
		fmt.Fprint(t, m.format(medianOf(runs, m)), "\t")
	}
	fmt.Fprintf(t, "%d\t\n", failures(runs))
}

func failures(runs []*Run) (n int64) {
	for _, r := range runs {
		n += r.Failed
	}
	return n
}

// shortfall is what did not succeed: errors by kind, and requests that were never sent.
func shortfall(runs []*Run) (errors map[string]int64, unsent int64) {
	errors = map[string]int64{}
	for _, r := range runs {
		for kind, n := range r.Errors {
			errors[kind] += n
		}
		unsent += r.Unsent
	}
	return errors, unsent
}

// usedMetrics are the metrics that any of the runs has.
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

// ratios are the metrics that are printed as ratios of akubra to its peers.
var ratios = []ratio{
	{"cpu_us", "nginx"}, {"cpu_s_per_gib", "nginx"}, {"ok_per_s", "nginx"}, {"p99_s", "nginx"}, {"peak_mib", "nginx"},
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
		fmt.Fprintf(t, "%s / %s\t", metricOf(of.metric).head(), of.over)
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
