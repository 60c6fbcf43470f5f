// Command bench measures the proxy: it starts storages that cost next to nothing
// in processes of their own, the proxy and its peers in front of them, drives
// them in turn, round by round, and prints what each request cost.
//
//	go run ./bench -sizes 4KiB,1MiB -conns 32 -rounds 3
//
// On a noisy machine only ratios within one run mean anything: they are printed
// last, as medians of the rounds. See README.md for what is measured and how.
package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// options are the command line's.
type options struct {
	proxy    string // the proxy's binary
	method   string
	sizes    []int64
	conns    int
	backends int
	rounds   int
	duration time.Duration
	warmUp   time.Duration
	peers    []string
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == storeCommand {
		exit(runStore(os.Args[2]))
	}
	o, err := parseOptions(os.Args[1:])
	if err != nil {
		exit(err)
	}
	exit(run(o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parseOptions(args []string) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("bench", flag.ExitOnError)
	sizes := fs.String("sizes", "4KiB,64KiB,1MiB", "object sizes, with commas")
	peers := fs.String("peers", "direct,nginx,akubra", "what to drive, with commas")
	fs.StringVar(&o.proxy, "proxy", "./akubra", "the proxy's binary")
	fs.StringVar(&o.method, "method", "PUT", "PUT, GET or HEAD")
	fs.IntVar(&o.conns, "conns", 32, "connections")
	fs.IntVar(&o.backends, "backends", 2, "storages behind the proxy")
	fs.IntVar(&o.rounds, "rounds", 3, "rounds; medians are taken over them")
	fs.DurationVar(&o.duration, "duration", 4*time.Second, "measured time a size, peer and round")
	fs.DurationVar(&o.warmUp, "warmup", time.Second, "time before it that does not count")
	_ = fs.Parse(args)
	for _, s := range strings.Split(*sizes, ",") {
		n, err := parseSize(s)
		if err != nil {
			return nil, err
		}
		o.sizes = append(o.sizes, n)
	}
	o.peers = strings.Split(*peers, ",")
	switch {
	case o.method != "PUT" && o.method != "GET" && o.method != "HEAD":
		return nil, fmt.Errorf("cannot use -method %q: it is none of PUT, GET, HEAD", o.method)
	case o.conns < 1 || o.backends < 1 || o.rounds < 1 || o.duration <= 0:
		return nil, fmt.Errorf("-conns, -backends, -rounds and -duration must be positive")
	}
	return o, nil
}

// parseSize reads 0, 4096, 4KiB, 16MiB.
func parseSize(s string) (int64, error) {
	unit := int64(1)
	for suffix, u := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			s, unit = rest, u
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("cannot read size %q: want a number of bytes, or of KiB, MiB or GiB", s)
	}
	return n * unit, nil
}

func formatSize(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

// run drives every peer at every size in every round.
func run(o *options) error {
	var stores []*process
	for range o.backends {
		s, err := startStore()
		if err != nil {
			return err
		}
		defer s.stop()
		stores = append(stores, s)
	}
	var results []result
	for round := range o.rounds {
		for _, size := range o.sizes {
			for _, name := range o.peers {
				r, err := o.measure(name, size, stores)
				if err == errNotInstalled {
					if round == 0 && size == o.sizes[0] {
						fmt.Printf("%s is not installed: left out\n", name)
					}
					continue
				}
				if err != nil {
					return fmt.Errorf("cannot measure %s at %s: %w", name, formatSize(size), err)
				}
				fmt.Println(r.line())
				results = append(results, r)
			}
		}
	}
	printRatios(os.Stdout, results)
	return nil
}

// measure starts a peer, drives it, and stops it.
func (o *options) measure(name string, size int64, stores []*process) (result, error) {
	p, err := startPeer(name, o, stores)
	if err != nil {
		return result{}, err
	}
	defer p.stop()
	before, err := countStores(stores)
	if err != nil {
		return result{}, err
	}
	l := load{addr: p.addr, method: o.method, size: size, conns: o.conns}
	if err := l.run(o.warmUp, func() {}); err != nil {
		return result{}, err
	}
	var usage usage
	err = l.run(o.duration, func() { usage = p.usage() })
	if err != nil {
		return result{}, err
	}
	used := p.usage().since(usage)
	if name != "direct" && o.method == "PUT" {
		if err := checkStores(stores, before, l.sent); err != nil {
			return result{}, err
		}
	}
	return result{peer: name, method: o.method, size: size, load: l.summary(), usage: used}, nil
}
