package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const methodMix = "MIX"

// Case is one thing to be measured; every peer is driven with it in each round.
type Case struct {
	Scenario string        `json:"scenario"`
	Method   string        `json:"method"`        // MIX is the production mix
	Mix      string        `json:"mix,omitempty"` // if it is not the production mix
	Size     int64         `json:"size"`
	Backends int           `json:"backends"`
	Conns    int           `json:"conns"`
	Rate     float64       `json:"rate,omitempty"`  // open loop, requests a second
	Fault    string        `json:"fault,omitempty"` // of the last backend, from a third of the window on
	TLS      bool          `json:"tls,omitempty"`
	NoAlive  bool          `json:"noalive,omitempty"`
	Idle     bool          `json:"idle,omitempty"`
	Cut      bool          `json:"cut,omitempty"`     // what is on its way at the window's end is broken off
	Way      *Way          `json:"way,omitempty"`     // to the last backend
	Limit    int64         `json:"limit,omitempty"`   // no more requests than so many, within Duration
	OneKey   bool          `json:"one_key,omitempty"` // all go to one
	Missing  bool          `json:"missing,omitempty"` // no backend has what is asked for
	Duration time.Duration `json:"duration_ns"`
	WarmUp   time.Duration `json:"warmup_ns"`
	Config   []string      `json:"config,omitempty"` // lines of the proxy's configuration beside its defaults
}

// String is a name by which a case is found again in other results.
func (c *Case) String() string {
	var b strings.Builder
	b.WriteString(c.Scenario)
	if c.Mix != "" {
		b.WriteString(" " + c.Mix)
	}
	if c.Method != methodMix && !c.Idle {
		fmt.Fprintf(&b, " %s", formatSize(c.Size))
	}
	if c.Backends > 0 {
		fmt.Fprintf(&b, " ×%d", c.Backends)
	}
	fmt.Fprintf(&b, " c%d", c.Conns)
	if c.Rate > 0 {
		fmt.Fprintf(&b, " %s/s", formatNumber(c.Rate))
	}
	if c.Cut {
		b.WriteString(" cut")
	}
	if c.OneKey {
		b.WriteString(" one key")
	}
	if c.Way != nil {
		b.WriteString(" " + c.Way.String())
	}
	return b.String()
}

// faultAt is when the fault begins, as a share of the window; by settledAt the proxy should have found
// its way around it.
const (
	faultAt   = 1. / 3
	settledAt = 2. / 3
)

// scenario is a kind of case, with its defaults for the flags.
type scenario struct {
	name     string
	about    string
	base     Case
	sizes    []int64
	backends []int
}

var (
	allSizes  = []int64{0, 4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20}
	smallSize = []int64{4 << 10}
)

// scenarios are the values of -scenario. With a fault there are three backends, so that two are left to
// copy to.
var scenarios = []scenario{
	{"put", "uploads", Case{Method: "PUT"}, allSizes, []int{2}},
	{"get", "downloads", Case{Method: "GET"}, allSizes, []int{2}},
	{"head", "HEAD of objects", Case{Method: "HEAD"}, allSizes, []int{2}},
	{"mix", "a production mix: sizes log-normal around 50 KiB, 80 % PUT, 15 % GET, 5 % DELETE (-mix)", Case{Method: methodMix}, []int64{0}, []int{2}},
	{"slow", "uploads, one backend begins to trickle", Case{Method: "PUT", Fault: faultTrickle}, []int64{64 << 10}, []int{3}},
	{"hung", "uploads, one backend hangs", Case{Method: "PUT", Fault: faultHang}, smallSize, []int{3}},
	{"flapping", "uploads, one backend comes and goes", Case{Method: "PUT", Fault: faultFlap}, smallSize, []int{3}},
	{"dead", "uploads, one backend dies", Case{Method: "PUT", Fault: faultDead}, smallSize, []int{3}},
	{"tls", "uploads, TLS on the listener", Case{Method: "PUT", TLS: true}, []int64{4 << 10, 1 << 20}, []int{2}},
	{"noalive", "uploads, a connection for each", Case{Method: "PUT", NoAlive: true}, smallSize, []int{2}},
	{"idle", "connections that do nothing: memory", Case{Method: "HEAD", Idle: true}, []int64{0}, []int{2}},
}

func scenarioNames() []string {
	var names []string
	for i := range scenarios {
		names = append(names, scenarios[i].name)
	}
	return append(names, wanScenario, "all")
}

// inFlightBytes bounds what all connections of a case together have in flight, unless their number is
// given: 32 uploads of 256 MiB would take minutes to end.
const inFlightBytes = 1 << 30

// casesOf are the cases of a scenario, with the values of the flags.
func (o *options) casesOf(s *scenario) []Case {
	sizes, backends, conns := s.sizes, s.backends, o.conns
	if o.sizes != nil && s.base.Method != methodMix && !s.base.Idle {
		sizes = o.sizes
	}
	if o.backends != nil {
		backends = o.backends
	}
	var cases []Case
	for _, size := range sizes {
		for _, n := range backends {
			of := conns
			if of == nil {
				of = []int{o.defaultConns(s, size)}
			}
			for _, conn := range of {
				c := s.base
				c.Scenario, c.Size, c.Backends, c.Conns = s.name, size, n, conn
				cases = append(cases, o.finish(c))
			}
		}
	}
	return cases
}

func (o *options) defaultConns(s *scenario, size int64) int {
	if s.base.Idle {
		return 2000
	}
	return int(max(1, min(32, inFlightBytes/max(1, size))))
}

// finish sets what every case takes from the flags.
func (o *options) finish(c Case) Case {
	if c.Method == methodMix {
		c.Mix = o.mix.String()
	}
	c.Rate, c.Cut = o.rate, c.Cut || o.cut
	c.Duration, c.WarmUp = o.duration, o.warmUp
	c.Config = append(slices.Clone(c.Config), o.config...)
	if c.Fault != "" || c.Cut {
		c.Duration = max(c.Duration, minLong)
	}
	return c
}

// minLong leaves time for a fault to be noticed and seen, and for memory to grow.
const minLong = 3 * time.Second

// cases are all that -scenario asks for.
func (o *options) cases() []Case {
	if o.scenario == wanScenario {
		return o.wanCases()
	}
	var cases []Case
	for i := range scenarios {
		if s := &scenarios[i]; o.scenario == "all" || o.scenario == s.name {
			cases = append(cases, o.casesOf(s)...)
		}
	}
	if o.scenario == "all" {
		put := func(size int64, backends, conns int) {
			cases = append(cases, o.finish(Case{Scenario: "put", Method: "PUT", Size: size, Backends: backends, Conns: conns}))
		}
		for _, conns := range []int{1, 256, 2000} {
			put(4<<10, 2, conns)
		}
		for _, backends := range []int{3, 5} {
			put(4<<10, backends, 32)
			put(1<<20, backends, 32)
		}
	}
	return cases
}
