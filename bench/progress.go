package main

import (
	"fmt"
	"io"
	"os"
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
	line := fmt.Sprintf("%s  [%s%s] %.1f/%.1fs  %s req/s  %s MB/s", c, strings.Repeat("█", full), strings.Repeat("·", progressWidth-full),
		passed.Seconds(), r.window.Seconds(), formatNumber(n), formatNumber(float64(r.moved.Load())/1e6/passed.Seconds()))
	if failed := r.failed.Load(); failed > 0 {
		line += fmt.Sprintf("  %d failed", failed)
	}
	return line
}

// printSummary says in words how an endpoint did.
func printSummary(w io.Writer, runs []*Run) {
	for _, g := range groups(runs) {
		all := g.runs["target"]
		v := func(name string) float64 { return medianOf(all, metricOf(name)) }
		var sent, failed, unsent int64
		errors := map[string]int64{}
		for _, r := range all {
			sent, failed, unsent = sent+r.Sent, failed+r.Failed, unsent+r.Unsent
			for kind, n := range r.Errors {
				errors[kind] += n
			}
		}
		fmt.Fprintf(w, "\n%s: %s requests/s, %s MB/s; half of them answered within %s, 99 %% within %s, the slowest took %s.\n", g.c,
			formatNumber(v("ok_per_s")), formatNumber(v("mb_per_s")), formatSeconds(v("p50_s")), formatSeconds(v("p99_s")), formatSeconds(v("max_s")))
		switch {
		case failed == 0:
			fmt.Fprintf(w, "All %d requests succeeded.\n", sent)
		default:
			fmt.Fprintf(w, "%d of %d requests failed:\n", failed, sent)
			for kind, n := range errors {
				fmt.Fprintf(w, "  %8d  %s\n", n, kind)
			}
		}
		if unsent > 0 {
			fmt.Fprintf(w, "%d requests were due but never sent: the rate is more than it takes with %d connections.\n", unsent, g.c.Conns)
		}
	}
}
