// Command bench measures the proxy: it starts backends that cost next to nothing
// in processes of their own, the proxy and its peers in front of them, drives
// them in turn, round by round, and prints what each request cost.
//
//	go run ./bench -scenario put -size 4KiB,1MiB -conns 32 -rounds 3
//
// On a noisy machine only ratios within one run mean anything: they are printed
// last, as medians of the rounds. It also drives any S3 endpoint (-target),
// compares results (compare) and plots them (report). README.md says what is
// measured and how.
//
// The parts: options and scenario say what to measure; run and measure do it;
// backend, fault and process are the backends, and wan is a far one; load, client, source and recorder
// are what drives; result, table, bars, compare and report are what comes of it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == backendCommand {
		// Ctrl-C reaches the whole group: the parent ends this, by closing stdin.
		signal.Ignore(os.Interrupt)
		exit(runBackend(os.Args[2], os.Stdin, os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(command(ctx, os.Args[1:]))
}

func exit(err error) {
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func command(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "compare":
			return runCompare(args[1:], os.Stdout)
		case "report":
			return runReport(args[1:])
		}
	}
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	rs, err := newResults(o, args), error(nil)
	switch {
	case len(o.targets) > 0:
		err = o.runTarget(ctx, rs)
	case o.bars:
		err = o.runBars(ctx, rs)
	default:
		err = o.runCases(ctx, rs, o.cases())
	}
	if o.json != "" && len(rs.Runs) > 0 {
		// Also after a failure: what was measured was measured.
		err = errors.Join(err, rs.write(o.json))
	}
	return err
}
