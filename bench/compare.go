package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// compared are the metrics that compare tells of, for each peer, and, where
// overNginx is set, also as ratios to nginx's in the same round: those hold on a
// machine that was busier the one time than the other.
var compared = []struct {
	metric    string
	overNginx bool
}{
	{"ok_per_s", true}, {"p50_s", false}, {"p99_s", false}, {"cpu_us", true}, {"cpu_s_per_gb", false},
	{"allocs", false}, {"alloc_bytes", false}, {"switches", false}, {"syscalls", false}, {"peak_mb", false},
}

// significant is the p-value from which on a change is believed.
const significant = .05

func runCompare(args []string, w io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: bench compare OLD.json NEW.json")
	}
	old, err := readResults(args[0])
	if err != nil {
		return err
	}
	recent, err := readResults(args[1])
	if err != nil {
		return err
	}
	if old.Machine != recent.Machine {
		fmt.Fprintf(w, "The machines differ; believe ratios only:\n  %+v\n  %+v\n", old.Machine, recent.Machine)
	}
	if n := printComparison(w, old.Runs, recent.Runs); n == 0 {
		return errors.New("cannot compare: the two have no case in common")
	}
	return nil
}

func printComparison(w io.Writer, old, recent []*Run) (cases int) {
	before := map[string]*group{}
	for _, g := range groups(old) {
		before[g.c.String()] = g
	}
	few := false
	for _, g := range groups(recent) {
		was := before[g.c.String()]
		if was == nil {
			continue
		}
		cases++
		fmt.Fprintf(w, "\n%s\n", g.c)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "\t\told\tnew\tchange\t95 % from\tto\tp\tn\t\t")
		for _, peer := range g.peers {
			for _, of := range compared {
				m := metricOf(of.metric)
				few = printChange(t, peer, m.title, m, m.format, valuesOf(was.runs[peer], m), valuesOf(g.runs[peer], m)) || few
				if of.overNginx && peer == "akubra" {
					few = printChange(t, peer, m.title+" / nginx", m, formatNumber, ratiosOf(was.runs[peer], was.runs["nginx"], m),
						ratiosOf(g.runs[peer], g.runs["nginx"], m)) || few
				}
			}
		}
		_ = t.Flush()
	}
	if few {
		fmt.Fprintln(w, "\n?: too few rounds for any change to be sure (four on each side are the least: -rounds).")
	}
	if cases > 0 {
		fmt.Fprintln(w, "\nchange: of the medians, with the bootstrap's interval; p: Mann-Whitney, ~ from 0.05 on; better or worse below.")
	}
	return cases
}

// printChange prints one line, and reports whether there were too few values for it.
func printChange(w io.Writer, peer, title string, m *metric, format func(float64) string, old, recent []float64) (few bool) {
	if len(old) == 0 || len(recent) == 0 || median(old) == 0 {
		return false
	}
	change := changeOf(old, recent)
	p := mannWhitney(old, recent)
	percent := func(ratio float64) string { return fmt.Sprintf("%+.1f %%", 100*(ratio-1)) }
	verdict := "~"
	switch {
	case binomial(len(old)+len(recent), len(old)) < 2/significant:
		verdict, few = "?", true // no outcome at all could be significant
	case p < significant && (change.ratio > 1) == (m.better > 0):
		verdict = "better"
	case p < significant && !math.IsNaN(change.ratio):
		verdict = "worse"
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.3f\t%d+%d\t%s\t\n", peer, title, format(median(old)), format(median(recent)),
		percent(change.ratio), percent(change.low), percent(change.high), p, len(old), len(recent), verdict)
	return few
}
