package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"golang.org/x/perf/benchmath"
)

// compared are the metrics that compare prints for each peer. Those with overNginx are also printed
// as ratios to nginx's in the same round, which hold even if the machine was busier in one of the
// files' runs.
var compared = []struct {
	metric    string
	overNginx bool
}{
	{"ok_per_s", true}, {"p50_s", false}, {"p99_s", false}, {"cpu_us", true}, {"cpu_s_per_gib", false},
	{"allocs", false}, {"alloc_bytes", false}, {"switches", false}, {"syscalls", false}, {"peak_mib", false},
}

// confidence is the probability that a median lies within the interval printed beside it.
const confidence = .95

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
		fmt.Fprintln(t, "\t\told\t±\tnew\t±\tchange\tp\tn\t\t")
		for _, peer := range g.peers {
			for _, of := range compared {
				m := metricOf(of.metric)
				few = printChange(t, peer, m.head(), m, m.format, valuesOf(was.runs[peer], m), valuesOf(g.runs[peer], m)) || few
				if of.overNginx && peer == "akubra" {
					few = printChange(t, peer, m.head()+" / nginx", m, formatNumber, ratiosOf(was.runs[peer], was.runs["nginx"], m),
						ratiosOf(g.runs[peer], g.runs["nginx"], m)) || few
				}
			}
		}
		_ = t.Flush()
	}
	if cases > 0 {
		explain(w, few)
	}
	return cases
}

// printChange prints one line, and reports whether there were too few values for it.
func printChange(w io.Writer, peer, title string, m *metric, format func(float64) string, old, recent []float64) (few bool) {
	if len(old) == 0 || len(recent) == 0 || median(old) == 0 {
		return false
	}
	c := compareSamples(old, recent, m)
	was, is, test := c.was, c.is, c.test
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%+.1f %%\t%.3f\t%d+%d\t%s\t\n", peer, title, format(was.Center), was.PctRangeString(),
		format(is.Center), is.PctRangeString(), 100*(is.Center/was.Center-1), test.P, test.N1, test.N2, c.verdict)
	return c.verdict == tooFew
}

// The verdicts of a comparison.
const (
	better    = "better"
	worse     = "worse"
	uncertain = "~"
	tooFew    = "?" // no outcome at all could be significant
)

// comparison is what two samples of a metric say about a change from one to the other.
type comparison struct {
	was, is benchmath.Summary
	test    benchmath.Comparison
	verdict string
}

func compareSamples(old, recent []float64, m *metric) comparison {
	before, after := benchmath.NewSample(old, &benchmath.DefaultThresholds), benchmath.NewSample(recent, &benchmath.DefaultThresholds)
	c := comparison{
		was: benchmath.AssumeNothing.Summary(before, confidence), is: benchmath.AssumeNothing.Summary(after, confidence),
		test: benchmath.AssumeNothing.Compare(before, after), verdict: uncertain,
	}
	switch {
	case c.test.P < c.test.Alpha && (c.is.Center > c.was.Center) == (m.better > 0):
		c.verdict = better
	case c.test.P < c.test.Alpha:
		c.verdict = worse
	case min(c.test.N1, c.test.N2) < 4:
		c.verdict = tooFew
	}
	return c
}

// printTargets compares each target with the first, over the same rounds: as a whole, and
// by operation.
func printTargets(w io.Writer, runs []*Run, targets []*s3Target) {
	if len(targets) < 2 {
		return
	}
	first, few := targets[0].name, false
	for _, g := range groups(runs) {
		for _, other := range targets[1:] {
			fmt.Fprintf(w, "\n%s: %s over %s\n", g.c, other.name, first)
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
			fmt.Fprintf(t, "\t\t%s\t±\t%s\t±\tchange\tp\tn\t\t\n", first, other.name)
			for _, name := range append([]string{""}, operations[:]...) {
				was, is, title := g.runs[first], g.runs[other.name], "all"
				if name != "" {
					was, is, title = operationRuns(was, name), operationRuns(is, name), name
				}
				for _, metric := range []string{"ok_per_s", "mib_per_s", "first_p50_s", "p50_s", "p99_s"} {
					m := metricOf(metric)
					few = printChange(t, title, m.head(), m, m.format, valuesOf(was, m), valuesOf(is, m)) || few
				}
			}
			_ = t.Flush()
		}
	}
	explain(w, few)
}

// explain prints how to read the lines of printChange.
func explain(w io.Writer, few bool) {
	if few {
		fmt.Fprintln(w, "\n?: too few rounds for any change to be sure (four on each side are the least: -rounds).")
	}
	fmt.Fprintln(w, "\nAs benchstat does it: medians, where they lie with 95 %; p: Mann-Whitney, ~ from 0.05 on; better or worse below.")
}
