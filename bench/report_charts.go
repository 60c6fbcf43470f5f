package main

import (
	"fmt"
	"html/template"
	"math"
	"slices"

	"github.com/akubra/akubra/bench/histogram"
)

// chartStyles are how many colours the page has.
const chartStyles = 5

// styleOf keeps a peer's colour over all charts. Targets have theirs by their order among the
// peers of a case, whatever they are called, the last colours first: those stand out.
func styleOf(peer string, among []string) int {
	if areTargets(among) {
		return chartStyles - 1 - slices.Index(among, peer)%chartStyles
	}
	return slices.Index(peerNames, peer) % chartStyles
}

// shares are the percentiles that are drawn, evenly spread on the chart.
var shares = func() []float64 {
	var all []float64
	for i := range 81 {
		all = append(all, 1-math.Pow(10, -float64(i)/20))
	}
	return all
}()

// latencyChart has all rounds together.
func latencyChart(g *group) template.HTML {
	c := chart{title: "Latency by percentile", x: "share of requests answered within", y: "latency", xScale: percentiles(), yFormat: formatSeconds}
	least, most := math.Inf(1), 0.
	for _, peer := range g.peers {
		h := &histogram.Histogram{}
		for _, r := range g.runs[peer] {
			h.Merge(r.Latency)
		}
		if h.Count() == 0 {
			continue
		}
		l := chartLine{name: peer, style: styleOf(peer, g.peers)}
		for _, p := range shares {
			if (1-p)*float64(h.Count()) < 1 && p > .5 {
				break // no request stands for this share
			}
			v := h.At(p).Seconds()
			l.points = append(l.points, [2]float64{p, v})
			least, most = min(least, v), max(most, v)
		}
		c.lines = append(c.lines, l)
	}
	c.yScale = logarithmic(least, most, formatTick)
	return c.svg()
}

func formatTick(v float64) string {
	switch {
	case v < .99e-3:
		return fmt.Sprintf("%.0f µs", v*1e6)
	case v < .99:
		return fmt.Sprintf("%.0f ms", v*1e3)
	}
	return fmt.Sprintf("%.0f s", v)
}

// withoutDirect leaves out the direct peer, whose figures are so much larger that nothing of the others
// could be seen beside it. The tables have it.
func withoutDirect(peers []string) []string {
	if len(peers) == 1 {
		return peers
	}
	return slices.DeleteFunc(slices.Clone(peers), func(p string) bool { return p == "direct" })
}

// typical is the round in the middle by throughput: series cannot be averaged.
func typical(runs []*Run) *Run {
	m := metricOf("ok_per_s")
	sorted := slices.Clone(runs)
	slices.SortStableFunc(sorted, func(a, b *Run) int {
		if a.figure(m) < b.figure(m) {
			return -1
		}
		return 1
	})
	return sorted[len(sorted)/2]
}

// overTime draws one value of each step of the series.
func overTime(g *group, title, y string, format func(float64) string, of func(r *Run, i int) float64) template.HTML {
	c := chart{title: title, x: "seconds", y: y, yFormat: format}
	if g.c.Fault != "" {
		c.markText = faultText[g.c.Fault]
	}
	most, least, end := 0., math.Inf(1), 0.
	for _, peer := range withoutDirect(g.peers) {
		r := typical(g.runs[peer])
		l := chartLine{name: peer, style: styleOf(peer, g.peers)}
		some := false
		for i := range r.Series.Requests {
			v := of(r, i)
			if !math.IsNaN(v) {
				most, least, some = max(most, v), min(least, v), true
			}
			l.points = append(l.points, [2]float64{(float64(i) + .5) * r.Series.Seconds, v})
		}
		end = max(end, r.Seconds)
		c.mark = max(c.mark, r.FaultAt)
		if some {
			c.lines = append(c.lines, l)
		}
	}
	if c.mark > 0 {
		c.markTo = end
	}
	c.xScale = linear(end)
	c.xScale.place = func(v float64) float64 { return v / end }
	c.xScale.ticks = slices.DeleteFunc(c.xScale.ticks, func(t tick) bool { return t.at > end*1.001 })
	if y == "seconds" {
		c.y, c.yScale = "latency", logarithmic(least, most, formatTick)
	} else {
		c.yScale = linear(most)
	}
	return c.svg()
}

var faultText = map[string]string{
	faultTrickle: "one backend trickles", faultHang: "one backend hangs", faultDead: "one backend dies", faultFlap: "one backend comes and goes",
}

// scalingCharts plot cases that differ only in connections, or in backends.
func scalingCharts(all []*group) []template.HTML {
	var charts []template.HTML
	for _, by := range []struct {
		name  string
		value func(c *Case) *int
	}{
		{"connections", func(c *Case) *int { return &c.Conns }},
		{"backends", func(c *Case) *int { return &c.Backends }},
	} {
		families := map[string][]*group{}
		var order []string
		for _, g := range all {
			if g.c.Idle || g.c.Fault != "" || g.c.Cut {
				continue
			}
			rest := *g.c
			*by.value(&rest) = 0
			key := rest.String()
			if families[key] == nil {
				order = append(order, key)
			}
			families[key] = append(families[key], g)
		}
		for _, key := range order {
			if family := families[key]; len(family) > 1 {
				what := fmt.Sprintf("%s of %s", family[0].c.Method, formatSize(family[0].c.Size))
				for _, name := range []string{"ok_per_s", "cpu_us", "p99_s"} {
					charts = append(charts, scalingChart(family, by.name, what, metricOf(name), by.value))
				}
			}
		}
	}
	return charts
}

func scalingChart(family []*group, by, what string, m *metric, value func(*Case) *int) template.HTML {
	titles := map[string]string{"ok_per_s": "Requests/s", "cpu_us": "CPU µs per request", "p99_s": "99th percentile"}
	c := chart{title: fmt.Sprintf("%s, %s, by %s", titles[m.name], what, by), x: by, y: m.head(), yFormat: m.format}
	lines := map[string]*chartLine{}
	var order []string
	var xs []float64
	most, least := 0., math.Inf(1)
	for _, g := range family {
		x := float64(*value(g.c))
		xs = append(xs, x)
		for _, peer := range withoutDirect(g.peers) {
			v := medianOf(g.runs[peer], m)
			if math.IsNaN(v) {
				continue
			}
			if lines[peer] == nil {
				lines[peer] = &chartLine{name: peer, style: styleOf(peer, g.peers), dots: true}
				order = append(order, peer)
			}
			lines[peer].points = append(lines[peer].points, [2]float64{x, v})
			most, least = max(most, v), min(least, v)
		}
	}
	for _, peer := range order {
		slices.SortFunc(lines[peer].points, func(a, b [2]float64) int { return int(a[0] - b[0]) })
		c.lines = append(c.lines, *lines[peer])
	}
	slices.Sort(xs)
	c.xScale = logTicks(slices.Compact(xs), func(v float64) string { return fmt.Sprintf("%.0f", v) })
	if m.name == "p99_s" {
		c.yScale = logarithmic(least, most, formatTick)
	} else {
		c.yScale = linear(most)
	}
	return c.svg()
}
