package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// result is one peer at one size in one round.
type result struct {
	peer   string
	method string
	size   int64
	load   loadSummary
	usage  usage
}

// cpu is the peer's CPU time a request, in microseconds.
func (r *result) cpu() float64 {
	return float64((r.usage.user + r.usage.system).Microseconds()) / float64(r.load.requests)
}

func (r *result) line() string {
	n := float64(r.load.requests)
	s := fmt.Sprintf("%-7s %s %8s  %8.0f req/s %8.1f MB/s  p50 %7s p90 %7s p99 %7s p99.9 %7s max %7s",
		r.peer, r.method, formatSize(r.size), r.load.perSecond, r.load.perSecond*float64(r.size)/1e6,
		short(r.load.p50), short(r.load.p90), short(r.load.p99), short(r.load.p999), short(r.load.max))
	if r.peer != "direct" {
		s += fmt.Sprintf("  cpu %8.1f µs (user %.1f, system %.1f)  %5.2f switches  peak %4d MB", r.cpu(),
			float64(r.usage.user.Microseconds())/n, float64(r.usage.system.Microseconds())/n, float64(r.usage.switches)/n, r.usage.peak>>20)
	}
	if r.load.errors > 0 {
		s += fmt.Sprintf("  %d ERRORS", r.load.errors)
	}
	return s
}

func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.1fms", float64(d.Microseconds())/1e3)
	}
	return fmt.Sprintf("%.2fs", d.Seconds())
}

// printRatios prints the proxy's medians over its peers'. Each ratio is taken
// within one round: a noisy machine is noisy for both.
func printRatios(w io.Writer, results []result) {
	type key struct {
		peer string
		size int64
	}
	rounds := map[key][]*result{}
	var sizes []int64
	for i := range results {
		k := key{results[i].peer, results[i].size}
		rounds[k] = append(rounds[k], &results[i])
		if !slices.Contains(sizes, k.size) {
			sizes = append(sizes, k.size)
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\nsize\takubra cpu µs\tnginx cpu µs\tcpu / nginx\treq/s / nginx\treq/s / direct\t")
	for _, size := range sizes {
		own, nginx, direct := rounds[key{"akubra", size}], rounds[key{"nginx", size}], rounds[key{"direct", size}]
		if len(own) == 0 {
			continue
		}
		cpu := func(r *result) float64 { return r.cpu() }
		rate := func(r *result) float64 { return r.load.perSecond }
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", formatSize(size), median(own, cpu), median(nginx, cpu),
			medianRatio(own, nginx, cpu), medianRatio(own, nginx, rate), medianRatio(own, direct, rate))
	}
	_ = t.Flush()
}

// median is that of f over the rounds.
func median(of []*result, f func(*result) float64) string {
	var values []float64
	for _, r := range of {
		values = append(values, f(r))
	}
	return middle(values)
}

// medianRatio is the median of f's ratios to the same round of another peer.
func medianRatio(of, over []*result, f func(*result) float64) string {
	var values []float64
	for i := range min(len(of), len(over)) {
		values = append(values, f(of[i])/f(over[i]))
	}
	return middle(values)
}

func middle(values []float64) string {
	if len(values) == 0 {
		return "-"
	}
	slices.Sort(values)
	if v := values[len(values)/2]; v < 20 {
		return fmt.Sprintf("%.2f", v)
	} else {
		return fmt.Sprintf("%.1f", v)
	}
}
