package main

import (
	"fmt"
	"math"
	"slices"
)

// tile is a part of the conclusion.
type tile struct {
	Label, Value, Text string
	Verdict            string // good, bad, or "" for neither
	Said               string // the verdict in a word, for those who cannot see the colours
}

// contest is what the page compares: one peer with another. over is "" if there is only one.
type contest struct{ of, over string }

func contestOf(runs []*Run) contest {
	var peers []string // in their order: targets are compared with the first one
	for _, r := range runs {
		if !slices.Contains(peers, r.Peer) {
			peers = append(peers, r.Peer)
		}
	}
	has := func(name string) bool { return slices.Contains(peers, name) }
	switch {
	case len(peers) == 0:
		return contest{}
	case len(peers) == 1:
		return contest{of: peers[0]}
	case has("akubra"):
		for _, over := range []string{"nginx", "nginx-proxy", "akubra-near", "direct"} {
			if has(over) {
				return contest{"akubra", over}
			}
		}
	}
	return contest{peers[1], peers[0]}
}

func (c contest) String() string {
	if c.over == "" {
		return c.of
	}
	return c.of + " beside " + c.over
}

// tiles are the conclusion: how the one compares, what failed, and whether it adds up.
func (c contest) tiles(runs []*Run, all []*group) []tile {
	if c.of == "" {
		return nil
	}
	var tiles []tile
	for _, of := range []struct{ metric, label string }{
		{"ok_per_s", "requests/s"}, {"p50_s", "latency, median"}, {"p99_s", "latency, 99th percentile"},
		{"first_p50_s", "time to first byte, median"}, {"cpu_us", "CPU time per request"},
	} {
		if one, ok := c.compared(of.label, metricOf(of.metric), all); ok {
			tiles = append(tiles, one)
		}
	}
	if peak := c.most(metricOf("peak_mib"), all); !math.IsNaN(peak) {
		tiles = append(tiles, tile{"peak memory of " + c.of, metricOf("peak_mib").say(peak), "the most in any case", "", ""})
	}
	var sent, failed, unsent, wrong int64
	for _, r := range runs {
		sent, failed, unsent = sent+r.Sent, failed+r.Failed, unsent+r.Unsent
		if r.Wrong != "" {
			wrong++
		}
	}
	last := tile{"failed requests", fmt.Sprint(failed), fmt.Sprintf("of %d, of all peers", sent), "", ""}
	if failed > 0 {
		last.Verdict, last.Said = "bad", "✗"
	}
	if unsent > 0 {
		last.Text += fmt.Sprintf("; %d more were never sent", unsent)
	}
	tiles = append(tiles, last)
	if wrong > 0 {
		tiles = append(tiles, tile{"figures that do not add up", fmt.Sprint(wrong), fmt.Sprintf("of %d runs: do not trust this page", len(runs)), "bad", "✗"})
	}
	return tiles
}

// compared is a metric of the one over the other: the median of the cases, which are medians of
// the rounds, and how far they lie apart. Without another there is the metric itself.
func (c contest) compared(label string, m *metric, all []*group) (tile, bool) {
	var values []float64
	verdicts := map[string]int{}
	for _, g := range all {
		if g.c.Idle || g.c.Fault != "" || g.c.Cut {
			continue // what is measured there is something else
		}
		v := medianOf(g.runs[c.of], m)
		if c.over != "" {
			v = median(ratiosOf(g.runs[c.of], g.runs[c.over], m))
		}
		if math.IsNaN(v) {
			continue
		}
		values = append(values, v)
		if c.over != "" {
			verdicts[compareSamples(valuesOf(g.runs[c.over], m), valuesOf(g.runs[c.of], m), m).verdict]++
		}
	}
	if len(values) == 0 {
		return tile{}, false
	}
	middle, sign := median(values), m.say
	t := tile{Label: label, Text: c.of}
	if c.over != "" {
		sign = func(v float64) string { return formatNumber(v) + " ×" }
		t.Text = "that of " + c.over
		if c.over != "direct" { // which is the ceiling: nobody is better
			t.Verdict, t.Said = verdict(middle, m, verdicts, len(values))
		}
	}
	t.Value = sign(middle)
	if len(values) > 1 {
		t.Text += fmt.Sprintf(", from %s to %s over %d cases", sign(slices.Min(values)), sign(slices.Max(values)), len(values))
	}
	return t, true
}

// noise is how far apart two peers may be and still count as about the same.
const noise = .05

// verdict says which of the two is better, if the table says so too, of more than half of the cases.
func verdict(ratio float64, m *metric, verdicts map[string]int, cases int) (tone, said string) {
	switch isBetter := ratio > 1 == (m.better > 0); {
	case math.Abs(ratio-1) <= noise:
		return "", "about the same"
	case isBetter && 2*verdicts[better] > cases:
		return "good", "✓ better"
	case !isBetter && 2*verdicts[worse] > cases:
		return "bad", "✗ worse"
	case 2*verdicts[tooFew] > cases:
		return "", "? too few rounds"
	}
	return "", "~ not certain"
}

func (c contest) most(m *metric, all []*group) float64 {
	most := math.NaN()
	for _, g := range all {
		if v := medianOf(g.runs[c.of], m); !math.IsNaN(v) && !(v <= most) {
			most = v
		}
	}
	return most
}
