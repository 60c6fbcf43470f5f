package main

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
)

//go:embed report.html
var reportPage string

func runReport(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: bench report IN.json OUT.html")
	}
	rs, err := readResults(args[0])
	if err != nil {
		return err
	}
	f, err := os.Create(args[1])
	if err != nil {
		return err
	}
	return errors.Join(writeReport(f, rs), f.Close())
}

// reportData is what report.html shows.
type reportData struct {
	*Results
	CommandLine string
	VersionLine string
	Rounds      int
	Contest     contest
	Tiles       []tile
	Bars        []relative
	Scaling     []template.HTML
	Sections    []section
	Columns     []*metric
}

// section is a case.
type section struct {
	Name, Title string
	Charts      []template.HTML
	Rows        []row
	Notes       []string
	Open        bool
}

type row struct {
	Peer  string
	Part  bool // of the peer above it: an operation
	Cells []string
}

// relative is akubra's result over nginx's in one case.
type relative struct {
	Name, Link          string
	CPU, PerSecond, P99 string
	Width, Baseline     float64 // per cent: the bar's, and where nginx stands
	cpu                 float64
}

func writeReport(w io.Writer, rs *Results) error {
	page, err := template.New("report").Parse(reportPage)
	if err != nil {
		return err
	}
	d := reportData{Results: rs, CommandLine: "bench " + strings.Join(rs.Command, " "), Columns: usedMetrics(rs.Runs)}
	all := groups(rs.Runs)
	for _, name := range slices.Sorted(maps.Keys(rs.Versions)) {
		d.VersionLine += " · " + name + ": " + rs.Versions[name]
	}
	d.VersionLine = strings.TrimPrefix(d.VersionLine, " · ")
	for _, r := range rs.Runs {
		d.Rounds = max(d.Rounds, r.Round+1)
	}
	d.Contest = contestOf(rs.Runs)
	d.Tiles = d.Contest.tiles(rs.Runs, all)
	d.Bars = relatives(all)
	d.Scaling = scalingCharts(all)
	for i, g := range all {
		d.Sections = append(d.Sections, d.section(g))
		// Charts matter most for faults, so those are open; if there are only a few cases, all are.
		d.Sections[i].Open = len(all) <= 4 || g.c.Fault != ""
	}
	return page.Execute(w, d)
}

func relatives(all []*group) []relative {
	var bars []relative
	widest := 1.5
	for _, g := range all {
		over := func(name string) float64 {
			return median(ratiosOf(g.runs["akubra"], g.runs["nginx"], metricOf(name)))
		}
		cpu := over("cpu_us")
		if math.IsNaN(cpu) || g.c.Idle || g.c.Fault != "" {
			continue
		}
		bars = append(bars, relative{Name: g.c.String(), Link: anchor(g.c), CPU: formatNumber(cpu), PerSecond: formatNumber(over("ok_per_s")),
			P99: formatNumber(over("p99_s")), cpu: cpu})
		widest = max(widest, cpu)
	}
	for i := range bars {
		bars[i].Width, bars[i].Baseline = 100*bars[i].cpu/widest, 100/widest
	}
	return bars
}

// anchor is a case's anchor on the page.
func anchor(c *Case) string {
	return strings.NewReplacer(" ", "-", "×", "", "/", "-").Replace(c.String())
}

func (d *reportData) section(g *group) section {
	s := section{Name: anchor(g.c), Title: g.c.String()}
	if sum := g.runs[g.peers[0]][0].Latency.Count(); sum > 0 && !g.c.Idle {
		s.Charts = append(s.Charts, latencyChart(g))
	}
	if !g.c.Idle {
		s.Charts = append(s.Charts, overTime(g, "Throughput over time", "requests/s", formatNumber, func(r *Run, i int) float64 {
			return float64(r.Series.Requests[i]) / r.Series.Seconds
		}))
	}
	if g.c.Fault != "" {
		s.Charts = append(s.Charts, overTime(g, "99th percentile over time", "seconds", formatSeconds, func(r *Run, i int) float64 {
			return positiveOrNaN(r.Series.P99[i]) / 1e9
		}))
	}
	if slices.ContainsFunc(g.peers, func(p string) bool { return g.runs[p][0].Usage.Peak > 0 }) {
		s.Charts = append(s.Charts, overTime(g, "Resident memory over time", "MiB", formatNumber, func(r *Run, i int) float64 {
			return positiveOrNaN(r.Series.RSS[i]) / mib
		}))
	}
	for _, peer := range g.peers {
		s.Rows = append(s.Rows, d.row(peer, g.runs[peer], false))
		for _, name := range operations {
			if runs := operationRuns(g.runs[peer], name); runs != nil {
				s.Rows = append(s.Rows, d.row(name, runs, true))
			}
		}
		s.Notes = append(s.Notes, notes(peer, g.runs[peer])...)
	}
	return s
}

func (d *reportData) row(name string, runs []*Run, part bool) row {
	line := row{Peer: name, Part: part}
	for _, m := range d.Columns {
		line.Cells = append(line.Cells, m.format(medianOf(runs, m)))
	}
	return line
}

// notes say what the figures do not show.
func notes(peer string, runs []*Run) []string {
	var all []string
	for _, r := range runs {
		if r.Wrong != "" {
			all = append(all, peer+" does not add up: "+r.Wrong)
		}
	}
	kinds, unsent := shortfall(runs)
	for kind, n := range kinds {
		all = append(all, fmt.Sprintf("%s: %d × %s", peer, n, kind))
	}
	if unsent > 0 {
		all = append(all, fmt.Sprintf("%s: %d requests were due but never sent", peer, unsent))
	}
	slices.Sort(all)
	return all
}

func positiveOrNaN(n int64) float64 {
	if n <= 0 {
		return math.NaN()
	}
	return float64(n)
}
