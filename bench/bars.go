package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"
)

// barStall is the proxy's StallTimeout in cases where a backend hangs.
const barStall = time.Second

// bar is one limit that the project sets itself.
type bar struct {
	name  string
	limit float64
	least bool // the limit is the least, not the most
	value func(b *barRuns) float64
}

// barRuns finds runs by case and peer.
type barRuns struct{ runs []*Run }

func (b *barRuns) of(peer string, like Case) []*Run {
	var found []*Run
	for _, r := range b.runs {
		if c := &r.Case; r.Peer == peer && c.Scenario == like.Scenario && c.Method == like.Method && c.Size == like.Size &&
			c.Backends == like.Backends && c.Conns == like.Conns {
			found = append(found, r)
		}
	}
	return found
}

// over is the median of akubra's ratios to nginx.
func (b *barRuns) over(like Case, m string) float64 {
	return median(ratiosOf(b.of("akubra", like), b.of("nginx", like), metricOf(m)))
}

func (b *barRuns) median(like Case, m string) float64 {
	return medianOf(b.of("akubra", like), metricOf(m))
}

func putOf(size int64, backends, conns int) Case {
	return Case{Scenario: "put", Method: "PUT", Size: size, Backends: backends, Conns: conns}
}

var (
	idleCase   = Case{Scenario: "idle", Method: "HEAD", Backends: 2, Conns: 2000, Idle: true}
	hungCase   = Case{Scenario: "hung", Method: "PUT", Size: 4 << 10, Backends: 3, Conns: 32, Fault: faultHang, Config: []string{"StallTimeout: " + barStall.String()}}
	crowdCases = []Case{crowd(16 << 20), crowd(256 << 20)}
)

// crowd is many large uploads at once. They are broken off, because only their memory counts.
func crowd(size int64) Case {
	c := putOf(size, 2, 256)
	c.Cut = true
	return c
}

// thirdSizes are the sizes at which the cost of a third backend is measured.
var thirdSizes = []int64{4 << 10, 1 << 20}

// ringSize is the proxy's default RingSize.
const ringSize = 256 << 10

// bars are those of the project's issue on speed.
func bars() []bar {
	var all []bar
	for _, of := range []struct {
		size     int64
		cpu, per float64
	}{{4 << 10, 1.3, .8}, {64 << 10, 1.1, 1}, {1 << 20, .9, 1}, {16 << 20, .5, 1}} {
		like := putOf(of.size, 2, 32)
		all = append(all,
			bar{"CPU per PUT of " + formatSize(of.size) + " / nginx", of.cpu, false, func(b *barRuns) float64 { return b.over(like, "cpu_us") }},
			bar{"requests/s of " + formatSize(of.size) + " / nginx", of.per, true, func(b *barRuns) float64 { return b.over(like, "ok_per_s") }})
	}
	for _, method := range []string{"PUT", "GET"} {
		for _, size := range []int64{4 << 10, 1 << 20} {
			like := putOf(size, 2, 32)
			if method == "GET" {
				like.Scenario, like.Method = "get", "GET"
			}
			all = append(all, bar{"allocations per " + method + " of " + formatSize(size), 2, false,
				func(b *barRuns) float64 { return b.median(like, "allocs") }})
		}
	}
	all = append(all, bar{"memory with 2000 idle connections, MiB", 60e6 / mib, false, func(b *barRuns) float64 { return b.median(idleCase, "peak_mib") }})
	for _, like := range crowdCases {
		all = append(all, bar{"memory with 256 uploads of " + formatSize(like.Size) + ", MiB", (256*ringSize + 60e6) / mib, false,
			func(b *barRuns) float64 { return b.median(like, "peak_mib") }})
	}
	// "A third backend costs at most 35 % more than the second did" can mean two things: the total of
	// three over the total of two, or what the third adds over what the second adds.
	for _, size := range thirdSizes {
		of := func(b *barRuns, backends int) float64 { return b.median(putOf(size, backends, 32), "cpu_us") }
		all = append(all,
			bar{"CPU per PUT of " + formatSize(size) + ", 3 backends / 2", 1.35, false, func(b *barRuns) float64 {
				return median(ratiosOf(b.of("akubra", putOf(size, 3, 32)), b.of("akubra", putOf(size, 2, 32)), metricOf("cpu_us")))
			}},
			bar{"CPU per PUT of " + formatSize(size) + ", what the 3rd adds / the 2nd", 1.35, false, func(b *barRuns) float64 {
				return (of(b, 3) - of(b, 2)) / (of(b, 2) - of(b, 1))
			}})
	}
	return append(all,
		bar{"p99 with a hung backend, once demoted / before", 1.2, false, func(b *barRuns) float64 { return b.hung(hungRatio) }},
		bar{"longest request with a hung backend, s", barStall.Seconds(), false, func(b *barRuns) float64 {
			return b.hung(func(r *Run) float64 { return r.Latency.Max().Seconds() })
		}},
		bar{"failed requests with a hung backend", 0, false, func(b *barRuns) float64 {
			return b.hung(func(r *Run) float64 { return float64(r.Failed) })
		}})
}

func hungRatio(r *Run) float64 {
	if r.Before.Count() == 0 || r.Settled.Count() == 0 {
		return math.Inf(1) // nobody was served
	}
	return float64(r.Settled.At(.99)) / float64(r.Before.At(.99))
}

func (b *barRuns) hung(of func(*Run) float64) float64 {
	var values []float64
	for _, r := range b.of("akubra", hungCase) {
		values = append(values, of(r))
	}
	return median(values)
}

// Bars that compare are ratios of what was measured side by side. The machine changes from minute to
// minute, so they take more and shorter rounds.
const (
	moreRounds = 8
	lessTime   = 6
	lessWarmUp = 3
)

// comparedCases are the cases that the bars that compare need.
func (o *options) comparedCases() (cases []Case) {
	for _, size := range []int64{4 << 10, 64 << 10, 1 << 20, 16 << 20} {
		backends := []int{2}
		if slices.Contains(thirdSizes, size) {
			backends = []int{1, 2, 3}
		}
		for _, n := range backends {
			c := o.finish(putOf(size, n, 32))
			c.Duration, c.WarmUp = c.Duration/lessTime, c.WarmUp/lessWarmUp
			cases = append(cases, c)
		}
	}
	return cases
}

// singleCases are the cases that the other bars need.
func (o *options) singleCases() (cases []Case) {
	for _, size := range []int64{4 << 10, 1 << 20} {
		cases = append(cases, o.finish(Case{Scenario: "get", Method: "GET", Size: size, Backends: 2, Conns: 32}))
	}
	for _, c := range append([]Case{idleCase, hungCase}, crowdCases...) {
		cases = append(cases, o.finish(c))
	}
	return cases
}

// barPeers returns the peers that a bar's case is run with.
func barPeers(c *Case) []string {
	if c.Scenario == "put" && c.Backends == 2 && !c.Cut {
		return []string{"nginx", "akubra"}
	}
	return []string{"akubra"}
}

// runBars measures and prints the table, then which bars are met.
func (o *options) runBars(ctx context.Context, rs *Results) error {
	err := o.measureAll(ctx, rs, o.rounds*moreRounds, o.comparedCases(), barPeers)
	if err == nil {
		err = o.measureAll(ctx, rs, o.rounds, o.singleCases(), barPeers)
	}
	if err != nil {
		return err
	}
	printTable(o.out, rs.Runs)
	failed, of := printBars(o.out, rs.Runs)
	if failed > 0 {
		err = fmt.Errorf("%d of %d bars are not passed", failed, of)
	}
	return errors.Join(wrong(rs.Runs), err)
}

func printBars(w io.Writer, runs []*Run) (failed, of int) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nbar\tlimit\tmeasured\t")
	all := bars()
	for _, b := range all {
		v := b.value(&barRuns{runs})
		sign, verdict := "≤", "pass"
		if b.least {
			sign = "≥"
		}
		switch {
		case math.IsNaN(v):
			verdict = "not measured"
			failed++
		case b.least && v < b.limit || !b.least && v > b.limit:
			verdict = "FAIL"
			failed++
		}
		fmt.Fprintf(t, "%s\t%s %s\t%s\t%s\n", b.name, sign, formatNumber(b.limit), formatNumber(v), verdict)
	}
	_ = t.Flush()
	return failed, len(all)
}
