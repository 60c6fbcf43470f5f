package testkit

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_]\w*="(?:[^"\\]|\\[\\"n])*"(?:, ?[a-zA-Z_]\w*="(?:[^"\\]|\\[\\"n])*")*\})? (\S+)$`)
	typeLine   = regexp.MustCompile(`^# TYPE (\S+) (counter|gauge|histogram|summary|untyped)$`)
	helpLine   = regexp.MustCompile(`^# HELP (\S+) ?.*$`)
)

// MustParseMetrics parses Prometheus's text format as strictly as Prometheus does: samples by
// series, each once; each family typed once and contiguous.
func MustParseMetrics(t testing.TB, text string) map[string]float64 {
	t.Helper()
	samples := map[string]float64{}
	typed := map[string]string{}
	family := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if helpLine.MatchString(line) {
			continue
		}
		if m := typeLine.FindStringSubmatch(line); m != nil {
			if typed[m[1]] != "" {
				t.Errorf("second type for %s", m[1])
			}
			family, typed[m[1]] = m[1], m[2]
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("malformed line %q", line)
			continue
		}
		name := m[1]
		if typed[family] == "histogram" || typed[family] == "summary" {
			name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		}
		if name != family {
			t.Errorf("%q stands in the family of %s", line, family)
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Errorf("%q: %v", line, err)
		}
		if _, twice := samples[m[1]+m[2]]; twice {
			t.Errorf("%s%s comes twice", m[1], m[2])
		}
		samples[m[1]+m[2]] = v
	}
	return samples
}

// WantSamples compares the samples that are in want.
func WantSamples(t testing.TB, got, want map[string]float64) {
	t.Helper()
	for series, v := range want {
		if have, ok := got[series]; !ok || have != v {
			t.Errorf("%s is %v (there: %t), want %v", series, have, ok, v)
		}
	}
}
