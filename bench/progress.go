package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// showProgress draws a bar on a terminal until the function it returns is called.
// Elsewhere it does nothing. r is nil while it warms up.
func showProgress(w io.Writer, c *Case, r *recorder) (stop func()) {
	f, ok := w.(*os.File)
	if !ok {
		return func() {}
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 || os.Getenv("TERM") == "dumb" {
		return func() {}
	}
	ended, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		t := time.NewTicker(200 * time.Millisecond)
		defer t.Stop()
		for {
			fmt.Fprint(f, "\r\x1b[K", progressLine(c, r))
			select {
			case <-t.C:
			case <-ended:
				fmt.Fprint(f, "\r\x1b[K")
				return
			}
		}
	}()
	return func() { close(ended); <-gone }
}

const progressWidth = 24

func progressLine(c *Case, r *recorder) string {
	if r == nil {
		return fmt.Sprintf("%s  warming up", c)
	}
	passed := min(max(time.Since(r.start), time.Millisecond), r.window)
	full := int(progressWidth * passed / r.window)
	n := float64(r.succeeded.Load()) / passed.Seconds()
	line := fmt.Sprintf("%s  [%s%s] %.1f/%.1f s  %s requests/s  %s MiB/s", c, strings.Repeat("█", full), strings.Repeat("·", progressWidth-full),
		passed.Seconds(), r.window.Seconds(), formatNumber(n), formatNumber(float64(r.moved.Load())/mib/passed.Seconds()))
	if failed := r.failed.Load(); failed > 0 {
		line += fmt.Sprintf("  %d failed", failed)
	}
	return line
}

// printSummary says in words how the targets did.
func printSummary(w io.Writer, runs []*Run) {
	for _, g := range groups(runs) {
		for _, peer := range g.peers {
			summarize(w, g, peer)
		}
	}
}

func summarize(w io.Writer, g *group, peer string) {
	all := g.runs[peer]
	v := func(name string) string { m := metricOf(name); return m.say(medianOf(all, m)) }
	var sent int64
	for _, r := range all {
		sent += r.Sent
	}
	errors, unsent := shortfall(all)
	name := g.c.String()
	if len(g.peers) > 1 {
		name = peer + ", " + name
	}
	fmt.Fprintf(w, "\n%s: %s requests/s, %s; half of them answered within %s, 99 %% within %s, the slowest took %s.\n", name,
		formatNumber(medianOf(all, metricOf("ok_per_s"))), v("mib_per_s"), v("p50_s"), v("p99_s"), v("max_s"))
	switch failed := failures(all); {
	case failed == 0:
		fmt.Fprintf(w, "All %d requests succeeded.\n", sent)
	default:
		fmt.Fprintf(w, "%d of %d requests failed:\n", failed, sent)
		for _, kind := range slices.Sorted(maps.Keys(errors)) {
			fmt.Fprintf(w, "  %8d  %s\n", errors[kind], kind)
		}
	}
	if unsent > 0 {
		fmt.Fprintf(w, "%d requests were due but never sent: the rate is more than it takes with %d connections.\n", unsent, g.c.Conns)
	}
}
