package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are the options of the command line.
type options struct {
	proxy    string // the proxy's binary
	scenario string
	sizes    []int64 // nil: the scenario's own, and so on
	backends []int
	conns    []int
	rate     float64
	mix      mix
	cut      bool
	rounds   int
	long     bool // -duration is given
	duration time.Duration
	warmUp   time.Duration
	timeout  time.Duration
	peers    []string
	config   []string
	fault    *fault // rate and period of faults
	syscalls bool
	bars     bool
	json     string
	profile  string
	targets  []*s3Target

	out io.Writer // tables
	log io.Writer // progress
}

func parseOptions(args []string) (*options, error) {
	o := &options{fault: newFault(faultNone), out: os.Stdout, log: os.Stderr}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // the error is reported below, without secrets
	fs.Usage = func() {
		fs.SetOutput(os.Stderr)
		usageText(fs)
	}
	var sizes, backends, conns, peers, trickle, mixed string
	fs.StringVar(&o.scenario, "scenario", "put", "what to measure: "+strings.Join(scenarioNames(), ", "))
	fs.StringVar(&sizes, "size", "", "object `sizes`, with commas: 0,4KiB,16MiB (default: the scenario's)")
	fs.StringVar(&mixed, "mix", defaultMix, "`shares` of the operations of mix; also head and list")
	fs.StringVar(&backends, "backends", "", "`numbers` of backends behind the proxy, with commas (default: the scenario's, mostly 2)")
	fs.StringVar(&conns, "conns", "", "`numbers` of connections, with commas (default 32, less for sizes from 64MiB)")
	fs.Float64Var(&o.rate, "rate", 0, "open loop: `requests` per second, latency from when each is due (0: closed loop)")
	fs.BoolVar(&o.cut, "cut", false, "break off what is still under way when the time is over")
	fs.IntVar(&o.rounds, "rounds", 3, "`number` of rounds, over which medians are taken")
	fs.DurationVar(&o.duration, "duration", 3*time.Second, "measured `time` per case, peer and round")
	fs.DurationVar(&o.warmUp, "warmup", time.Second, "`time` before it that is not measured")
	fs.DurationVar(&o.timeout, "timeout", 30*time.Second, "longest `time` for one request")
	fs.StringVar(&peers, "peers", "direct,nginx,akubra", "what to drive, with commas; also nginx-proxy, akubra-near (default of wan: akubra-near,nginx,akubra)")
	fs.StringVar(&o.proxy, "proxy", "./akubra", "the proxy's `binary`")
	fs.Func("config", "a `line` for the proxy's configuration, as in 'StallTimeout: 1s' (may be repeated)", func(s string) error {
		o.config = append(o.config, s)
		return nil
	})
	fs.StringVar(&trickle, "trickle", "64KiB", "bytes per second of a slow backend, on each connection")
	fs.DurationVar(&o.fault.period, "flap", time.Second, "`period` of a flapping backend: down for half of it, up for the other half")
	fs.BoolVar(&o.syscalls, "syscalls", false, "count system calls in a short extra pass (needs perf or strace, and root)")
	fs.BoolVar(&o.bars, "bars", false, "measure the project's own limits, and say which are kept")
	fs.StringVar(&o.json, "json", "", "write the raw results to this `file`")
	fs.StringVar(&o.profile, "profile", "", "write a CPU profile of the proxy to this `file`, of the last case and round")
	var s3 s3Target
	var urls []string
	s3.flags(fs, &urls)
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil, err
	} else if err != nil {
		return nil, errors.New(hideSecret(err.Error()))
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("cannot use %q: flags only, or one of compare, report", hideSecret(fs.Arg(0)))
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	switch o.scenario {
	case "all": // they are many
		o.shorten(given)
	case wanScenario:
		o.long = given["duration"]
		if !given["rounds"] {
			o.rounds = 1
		}
		if !given["peers"] {
			peers = "akubra-near,nginx,akubra"
		}
	}
	var err error
	o.peers = strings.Split(peers, ",")
	if o.fault.rate, err = parseSize(trickle); err != nil {
		return nil, err
	}
	if o.mix, err = parseMix(mixed); err != nil {
		return nil, err
	}
	if o.sizes, err = list(sizes, parseSize); err != nil {
		return nil, err
	}
	if o.backends, err = list(backends, positive); err != nil {
		return nil, err
	}
	if o.conns, err = list(conns, positive); err != nil {
		return nil, err
	}
	if o.targets, err = s3.targets(urls); err != nil {
		return nil, err
	}
	err = o.check()
	return o, err
}

func (o *options) shorten(given map[string]bool) {
	if !given["duration"] {
		o.duration = time.Second
	}
	if !given["warmup"] {
		o.warmUp = 300 * time.Millisecond
	}
	if !given["rounds"] {
		o.rounds = 1
	}
}

func (o *options) check() error {
	switch {
	case !slices.Contains(scenarioNames(), o.scenario):
		return fmt.Errorf("cannot use -scenario %q: it is none of %s", o.scenario, strings.Join(scenarioNames(), ", "))
	case o.rounds < 1 || o.duration < 10*time.Millisecond || o.warmUp < 0 || o.timeout <= 0:
		return errors.New("cannot use -rounds, -duration, -warmup or -timeout: they must be positive, -duration from 10ms")
	case o.rate < 0:
		return errors.New("cannot use a negative -rate")
	case o.fault.rate < 1 || o.fault.period < 10*time.Millisecond:
		return errors.New("cannot use -trickle or -flap: they must be positive, -flap from 10ms")
	}
	for _, p := range o.peers {
		if !slices.Contains(peerNames, p) {
			return fmt.Errorf("cannot use -peers %q: it is none of %s", p, strings.Join(peerNames, ", "))
		}
	}
	return nil
}

// list reads values separated by commas; an empty list is nil.
func list[T any](s string, parse func(string) (T, error)) ([]T, error) {
	if s == "" {
		return nil, nil
	}
	var values []T
	for one := range strings.SplitSeq(s, ",") {
		v, err := parse(strings.TrimSpace(one))
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

func positive(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 1e6 {
		return 0, fmt.Errorf("cannot use %q: want a number from 1 to 1000000", s)
	}
	return n, nil
}

func usageText(fs *flag.FlagSet) {
	fmt.Fprint(os.Stderr, `bench measures the proxy beside its peers, or any S3 endpoint.

  bench [flags]                    starts backends, proxy and peers here, and drives them
  bench -target URL [flags]        drives an S3 endpoint; with several of them, in turn, and compares
  bench compare OLD.json NEW.json  tells what changed, and how sure that is
  bench report IN.json OUT.html    writes a page with plots

Scenarios:
`)
	for i := range scenarios {
		fmt.Fprintf(os.Stderr, "  %-9s %s\n", scenarios[i].name, scenarios[i].about)
	}
	fmt.Fprint(os.Stderr, "  wan       uploads, the last backend is far away, behind a narrow link\n")
	fmt.Fprint(os.Stderr, "  all       each of them, shortened, and 1 to 2000 connections and 2 to 5 backends\n\nFlags:\n")
	fs.PrintDefaults()
}
