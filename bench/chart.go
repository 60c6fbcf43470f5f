package main

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
)

// chart is a line chart as inline SVG. Colours and fonts come from the page's
// style: .s0, .s1 … are the series.
type chart struct {
	title, x, y string
	lines       []chartLine
	xScale      scale
	yScale      scale
	yFormat     func(float64) string
	mark        float64 // a moment to point out on x; 0 is none
	markText    string
	markTo      float64 // if set, from mark to here is shaded
}

type chartLine struct {
	name   string
	style  int
	points [][2]float64
	dots   bool // draw each point: where there are few
}

// scale maps values to 0 … 1 and says where ticks stand.
type scale struct {
	place func(v float64) float64
	ticks []tick
}

type tick struct {
	at    float64
	label string
}

const (
	chartWidth, chartHeight         = 440, 240
	chartLeft, chartRight           = 58, 24
	chartTop, chartBottom   float64 = 24, 38
)

// linear runs from 0 to a round number above most.
func linear(most float64) scale {
	if most <= 0 || math.IsNaN(most) {
		most = 1
	}
	step := niceStep(most / 5)
	top := math.Ceil(most/step-1e-9) * step
	s := scale{place: func(v float64) float64 { return v / top }}
	for i := 0; float64(i)*step <= top*1.0001; i++ {
		s.ticks = append(s.ticks, tick{float64(i) * step, formatRound(float64(i) * step)})
	}
	return s
}

// formatRound prints a round number with as few digits as it needs.
func formatRound(v float64) string {
	digits := []rune(strconv.FormatFloat(math.Round(v*1e6)/1e6, 'f', -1, 64))
	point := slices.Index(digits, '.')
	if point < 0 {
		point = len(digits)
	}
	for i := point - 3; i > 0; i -= 3 {
		digits = slices.Insert(digits, i, '\u202f') // a narrow space between thousands
	}
	return string(digits)
}

func niceStep(rough float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= rough*.999 {
			return m * power
		}
	}
	return 10 * power
}

// logarithmic runs over the powers of ten, or parts of them, around least and most.
func logarithmic(least, most float64, format func(float64) string) scale {
	if least <= 0 || most < least {
		least, most = 1e-3, 1
	}
	var at []float64
	for p := math.Pow(10, math.Floor(math.Log10(least)+1e-9)); len(at) == 0 || at[len(at)-1] < most*.9999; p *= 10 {
		at = append(at, p)
		if most/least < 100 { // few decades: finer ticks
			at = append(at, 2*p, 5*p)
		}
	}
	for len(at) > 2 && at[1] <= least*1.0001 {
		at = at[1:]
	}
	for len(at) > 2 && at[len(at)-2] >= most*.9999 {
		at = at[:len(at)-1]
	}
	return logTicks(at, format)
}

// logTicks is a logarithmic scale from the first to the last of some values.
func logTicks(at []float64, format func(float64) string) scale {
	low, high := math.Log10(at[0]), math.Log10(at[len(at)-1])
	if low == high {
		low, high = low-.5, high+.5
	}
	s := scale{place: func(v float64) float64 { return (math.Log10(v) - low) / (high - low) }}
	for _, v := range at {
		s.ticks = append(s.ticks, tick{v, format(v)})
	}
	return s
}

// percentiles spreads shares so that 90, 99 and 99.9 % are equally far apart.
func percentiles() scale {
	place := func(p float64) float64 { return -math.Log10(1-min(p, .9999)) / 4 }
	return scale{place: place, ticks: []tick{{0, "0"}, {.5, "50 %"}, {.9, "90 %"}, {.99, "99 %"}, {.999, "99.9 %"}, {.9999, "99.99 %"}}}
}

func (c *chart) px(v float64) float64 {
	return chartLeft + min(1, max(0, c.xScale.place(v)))*(chartWidth-chartLeft-chartRight)
}

func (c *chart) py(v float64) float64 {
	return chartHeight - chartBottom - min(1, max(0, c.yScale.place(v)))*(chartHeight-chartTop-chartBottom)
}

// svg draws the chart as a figure, with its title and legend as text of the page.
func (c *chart) svg() template.HTML {
	var b strings.Builder
	fmt.Fprintf(&b, `<figure><figcaption>%s</figcaption><p class="legend">`, html.EscapeString(c.title))
	for _, l := range c.lines {
		fmt.Fprintf(&b, `<span><i class="s%d"></i>%s</span>`, l.style, html.EscapeString(l.name))
	}
	fmt.Fprintf(&b, `</p><svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, chartWidth, chartHeight, html.EscapeString(c.title))
	c.axes(&b)
	for _, l := range c.lines {
		c.line(&b, &l)
	}
	b.WriteString("</svg></figure>")
	return template.HTML(b.String()) //nolint:gosec // all text in it is escaped
}

func (c *chart) axes(b *strings.Builder) {
	bottom := chartHeight - chartBottom
	for _, t := range c.yScale.ticks {
		y := c.py(t.at)
		fmt.Fprintf(b, `<path class="grid" d="M%d %.1fH%d"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`,
			chartLeft, y, chartWidth-chartRight, chartLeft-8, y+4, html.EscapeString(t.label))
	}
	for _, t := range c.xScale.ticks {
		x := c.px(t.at)
		fmt.Fprintf(b, `<path class="tick" d="M%.1f %.1fv4"/><text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, x, bottom, x, bottom+17, html.EscapeString(t.label))
	}
	fmt.Fprintf(b, `<path class="axis" d="M%d %.1fH%d"/>`, chartLeft, bottom, chartWidth-chartRight)
	fmt.Fprintf(b, `<text class="name" x="%d" y="%d" text-anchor="end">%s</text>`, chartWidth-chartRight, chartHeight-6, html.EscapeString(c.x))
	fmt.Fprintf(b, `<text class="name" x="0" y="11">%s</text>`, html.EscapeString(c.y))
	if c.mark > 0 {
		x := c.px(c.mark)
		if c.markTo > 0 {
			fmt.Fprintf(b, `<rect class="fault" x="%.1f" y="%v" width="%.1f" height="%v"/>`, x, chartTop, c.px(c.markTo)-x, bottom-chartTop)
		}
		fmt.Fprintf(b, `<path class="mark" d="M%.1f %vV%v"/><text class="marktext" x="%.1f" y="%v">%s</text>`,
			x, chartTop, bottom, x+5, chartTop+10, html.EscapeString(c.markText))
	}
}

func (c *chart) line(b *strings.Builder, l *chartLine) {
	var path strings.Builder
	pen := "M"
	for _, p := range l.points {
		if math.IsNaN(p[1]) {
			pen = "M" // a gap
			continue
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", pen, c.px(p[0]), c.py(p[1]))
		pen = "L"
	}
	fmt.Fprintf(b, `<path class="line s%d" d="%s"/>`, l.style, path.String())
	for _, p := range l.points {
		if math.IsNaN(p[1]) {
			continue
		}
		class := "hit"
		if l.dots {
			class = "dot"
		}
		fmt.Fprintf(b, `<circle class="%s s%d" cx="%.1f" cy="%.1f" r="4"><title>%s</title></circle>`, class, l.style,
			c.px(p[0]), c.py(p[1]), html.EscapeString(l.name+": "+c.yFormat(p[1])))
	}
}
