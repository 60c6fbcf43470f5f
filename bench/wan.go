package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

const wanScenario = "wan"

// Way is a long, narrow link to a backend (internal/testkit/link).
type Way struct {
	RoundTrip time.Duration `json:"round_trip_ns"`
	Rate      int64         `json:"rate_bytes"` // a second, each direction
	Queue     int64         `json:"queue_bytes"`
	Loss      float64       `json:"loss,omitempty"`      // a share of packets
	CutAt     time.Duration `json:"cut_at_ns,omitempty"` // silently; 0 is never
	CutFor    time.Duration `json:"cut_for_ns,omitempty"`
	Forgets   bool          `json:"forgets,omitempty"` // it forgets its connections when it is cut

	nginx bool
}

// drives reports whether a peer is driven: nginx would take too long, and a cut means nothing to a peer
// that has only the near backend.
func (w *Way) drives(peer string) bool {
	switch {
	case w == nil:
		return true
	case peer == "nginx":
		return w.nginx
	}
	return w.CutFor == 0 || !drivesOne(peer)
}

func (w *Way) String() string {
	s := fmt.Sprintf("%dms", w.RoundTrip.Milliseconds())
	if w.CutFor > 0 {
		s += " cut"
	}
	if w.Forgets {
		s += " forgotten"
	}
	return s
}

// 100 Mbit/s, of which a packet in a thousand is lost.
const (
	wanRate  = 12_500_000
	wanQueue = 1 << 20
	wanLoss  = .001
)

// wanCases are uploads to a near backend and a far one: more than the link can carry, and less; then a
// link that is cut. The comments say how much of the link's rate a case needs.
func (o *options) wanCases() []Case {
	var cases []Case
	add := func(c Case, roundTrip time.Duration, nginx bool) *Case {
		c.Scenario, c.Backends = wanScenario, 2
		c.Method = cmp.Or(c.Method, "PUT")
		c.Way = &Way{RoundTrip: roundTrip, Rate: wanRate, Queue: wanQueue, Loss: wanLoss, nginx: nginx}
		c.Config = append(slices.Clone(c.Config), o.config...)
		if o.long && c.Limit == 0 {
			c.Duration = o.duration
		}
		if o.sizes == nil || slices.Contains(o.sizes, c.Size) {
			cases = append(cases, c)
			return &cases[len(cases)-1]
		}
		return &c
	}
	const near, far = 30 * time.Millisecond, 80 * time.Millisecond
	const long, short = 5 * time.Second, 4 * time.Second
	const warm = 2 * time.Second
	// One client, one after the other.
	add(Case{Size: 100 << 20, Conns: 1, Limit: 2, Duration: time.Minute}, near, true)
	add(Case{Size: 4 << 10, Conns: 1, Limit: 40, OneKey: true, Duration: time.Minute}, near, true)
	// Twice what the link can carry.
	add(Case{Size: 1 << 20, Conns: 64, Rate: 25, WarmUp: warm, Duration: long}, near, true)
	add(Case{Size: 300 << 10, Conns: 128, Rate: 83, WarmUp: warm, Duration: short}, near, true)
	add(Case{Size: 240 << 10, Conns: 128, Rate: 104, WarmUp: warm, Duration: short}, near, true)
	add(Case{Size: 64 << 10, Conns: 256, Rate: 400, WarmUp: warm, Duration: long}, near, true)
	// 25 times.
	add(Case{Size: 1 << 20, Conns: 1200, Rate: 300, WarmUp: warm, Duration: short}, near, false)
	// Less: 0.9 times in large bodies, 0.8 times in small ones, and next to nothing.
	add(Case{Size: 1 << 20, Conns: 64, Rate: 10.7, WarmUp: warm, Duration: long}, near, false)
	add(Case{Size: 64 << 10, Conns: 64, Rate: 150, WarmUp: warm, Duration: short}, near, false)
	add(Case{Size: 1 << 10, Conns: 256, Rate: 2000, WarmUp: warm, Duration: short}, far, false)
	// A read of what is missing waits for both.
	for _, forgets := range []bool{false, true} {
		c := add(Case{Method: "HEAD", Missing: true, Conns: 5, Rate: 1, Duration: 14 * time.Second}, near, false)
		c.Way.CutAt, c.Way.CutFor, c.Way.Forgets = 2500*time.Millisecond, 7*time.Second, forgets
	}
	return cases
}

// wanSeen is what became of the far backend's copies, including those of the warm-up.
type wanSeen struct {
	Writes      int64            `json:"writes"`                // acknowledged to clients
	Taken       int64            `json:"taken"`                 // of these, taken in full by the far backend
	TakenBytes  int64            `json:"taken_bytes"`           // of their bodies
	Divergences map[string]int64 `json:"divergences,omitempty"` // by reason
	Carried     int64            `json:"carried_bytes"`         // by the link, there
	Used        float64          `json:"used,omitempty"`        // of the link's rate
	Demotions   int64            `json:"demotions"`
	Demoted     time.Duration    `json:"demoted_ns,omitempty"` // after the cut
	Back        time.Duration    `json:"back_ns,omitempty"`    // after it was mended
}

// wan is a figure of a run over a link.
func (r *Run) wan(of func(*wanSeen) float64) float64 {
	if r.Wan == nil {
		return math.NaN()
	}
	return of(r.Wan)
}

func (w *wanSeen) diverged() (n int64) {
	for _, one := range w.Divergences {
		n += one
	}
	return n
}

// well is the share of the link's bytes that belong to bodies that arrived in full.
func (w *wanSeen) well() float64 {
	if w.TakenBytes == 0 {
		return math.NaN()
	}
	return float64(w.TakenBytes) / float64(w.Carried)
}

func (w *wanSeen) line() string {
	s := fmt.Sprintf("  far %d of %d", w.Taken, w.Writes)
	if v := w.well(); !math.IsNaN(v) {
		s += fmt.Sprintf(", link used %.0f %%, %.0f %% well", 100*w.Used, 100*v)
	}
	var reasons []string
	for reason, n := range w.Divergences {
		reasons = append(reasons, fmt.Sprintf("%s %d", reason, n))
	}
	slices.Sort(reasons)
	if len(reasons) > 0 {
		s += ", diverged: " + strings.Join(reasons, ", ")
	}
	if w.Demotions > 0 {
		s += fmt.Sprintf(", %d demotions", w.Demotions)
	}
	if w.Demoted > 0 {
		s += fmt.Sprintf(", demoted after %s, back after %s", formatDuration(w.Demoted), formatDuration(w.Back))
	}
	return s
}

// check checks that each write is there or owed.
func (w *wanSeen) check() error {
	if owed := w.Writes - w.Taken; owed > w.diverged() {
		return fmt.Errorf("%d writes are not there, %d are owed", owed, w.diverged())
	}
	return nil
}
