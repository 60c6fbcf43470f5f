package metrics

import (
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/testkit"
)

// unitOf is a metric's unit, as its name tells.
func unitOf(name string) string {
	name = strings.TrimSuffix(name, "_total")
	switch {
	case name == "akubra_backend_lane_rate_bytes":
		return "bytes per second"
	case strings.HasSuffix(name, "_timestamp_seconds"):
		return "Unix time, seconds"
	case strings.HasSuffix(name, "_seconds"):
		return "seconds"
	case strings.HasSuffix(name, "_bytes"), strings.HasSuffix(name, "_bytes_limit"):
		return "bytes"
	}
	return "number"
}

var documented = regexp.MustCompile("(?m)^\\| `(akubra_\\w+)` \\| (\\w+) \\| ([^|]*) \\| ([^|]*) \\| (.*) \\|$")

// TestEachMetricIsDocumented compares docs/METRICS.md with the code, in both directions.
func TestEachMetricIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/METRICS.md")
	testkit.MustDo(t, err)
	rows := map[string]bool{}
	for _, m := range documented.FindAllStringSubmatch(string(text), -1) {
		name := m[1]
		if rows[name] {
			t.Errorf("%s has two rows", name)
		}
		rows[name] = true
		f := familyNamed[name]
		if f == nil {
			t.Errorf("%s is documented, and does not exist", name)
			continue
		}
		labels := strings.ReplaceAll(strings.ReplaceAll(m[3], "`", ""), ", ", ",")
		if m[2] != f.Kind || labels != f.Labels || m[4] != unitOf(name) || m[5] != f.Help {
			t.Errorf("%s is documented as\n%s\nand should be\n%s", name, m[0], rowOf(f))
		}
	}
	for i := range Families {
		if f := &Families[i]; !rows[f.Name] {
			t.Errorf("no row for\n%s", rowOf(f))
		}
	}
	// Labels' values that are few and known are explained one by one.
	for _, values := range [][]string{
		metricMethods[:], metricOutcomes[:], metricReads[:], classNames(), resultNames(), refusalNames(),
	} {
		for _, value := range values {
			if !strings.Contains(string(text), "`"+value+"`") {
				t.Errorf("the value %q of a label is not explained", value)
			}
		}
	}
}

func rowOf(f *Family) string {
	labels := ""
	if f.Labels != "" {
		labels = "`" + strings.ReplaceAll(f.Labels, ",", "`, `") + "`"
	}
	return "| `" + f.Name + "` | " + f.Kind + " | " + labels + " | " + unitOf(f.Name) + " | " + f.Help + " |"
}

func classNames() (names []string) {
	for c := range engine.Classes {
		names = append(names, engine.Class(c).String())
	}
	return names
}

func resultNames() (names []string) {
	for r := engine.ResultNone + 1; int(r) < engine.Results; r++ {
		names = append(names, r.String())
	}
	return names
}

func refusalNames() []string { return slices.Sorted(maps.Keys(engine.Refusals())) }

// TestBucketOf holds the shortcut to what it is for.
func TestBucketOf(t *testing.T) {
	for i, bound := range latencyBounds {
		for d, want := range map[time.Duration]int{bound - 1: i, bound: i, bound + 1: i + 1} {
			if got := bucketOf(d); got != want {
				t.Errorf("%v is in bucket %d, want %d", d, got, want)
			}
		}
	}
	for d, want := range map[time.Duration]int{-1: 0, 0: 0, 1: 0, math.MaxInt64: len(latencyBounds)} {
		if got := bucketOf(d); got != want {
			t.Errorf("%v is in bucket %d, want %d", d, got, want)
		}
	}
}
