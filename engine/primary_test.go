package engine

import (
	"fmt"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

func mustPrimaries(t *testing.T, names []string, weights []int, rules ...PrimaryRule) *primaries {
	t.Helper()
	p, err := newPrimaries(names, weights, rules)
	testkit.MustDo(t, err)
	return p
}

var someBackends = []string{"a:9000", "b:9000", "c:9000"}

// The order is the same whoever works it out, and whatever else is in the configuration:
// these buckets' are written down, for another version of the proxy has to agree.
func TestR28OrderIsTheSameEverywhere(t *testing.T) {
	p := mustPrimaries(t, someBackends, nil)
	turned := mustPrimaries(t, []string{"c:9000", "a:9000", "b:9000"}, []int{7, 7, 7})
	for bucket, want := range map[string]string{"": "cab", "b": "cba", "bucket": "bca", "logs": "bac", "x": "bac"} {
		for _, p := range []*primaries{p, turned} {
			got, set := "", uint64(1<<3-1)
			for set != 0 {
				b := p.first([]byte(bucket), set)
				got += p.names[b][:1]
				set &^= 1 << b
			}
			if got != want {
				t.Errorf("bucket %q: %s, want %s", bucket, got, want)
			}
		}
	}
}

// Each backend is the primary of its share, and one that leaves moves no bucket but its own.
func TestR28OrderSpreadsBuckets(t *testing.T) {
	p := mustPrimaries(t, someBackends, nil)
	counts := make([]int, 3)
	for i := range 3000 {
		bucket := fmt.Appendf(nil, "bucket-%d", i)
		first := p.first(bucket, 0b111)
		counts[first]++
		for out := range 3 {
			next := p.first(bucket, 0b111&^(1<<out))
			if next == out || out != first && next != first {
				t.Fatalf("%s: %d without %d, was %d", bucket, next, out, first)
			}
		}
	}
	for b, n := range counts {
		if n < 850 || n > 1150 {
			t.Errorf("backend %d is the primary of %d of 3000", b, n)
		}
	}
}

func TestR28Primary(t *testing.T) {
	p := mustPrimaries(t, someBackends, nil)
	bucket := ""
	for i := 0; p.first([]byte(bucket), 0b111) != 1; i++ { // one of b's
		bucket = fmt.Sprint("logs-", i)
	}
	for _, tt := range []struct {
		name    string
		weights []int
		rules   []PrimaryRule
		among   uint64
		want    int
	}{
		{"by rank", nil, nil, 0b111, 1},
		{"out", nil, nil, 0b100, 2},
		{"nobody there", nil, nil, 0, nobody},
		{"the highest weight", []int{1, 1, 2}, nil, 0b111, 2},
		{"weight before rank, then rank", []int{0, 5, 5}, nil, 0b111, 1},
		{"the lower weight stands in", []int{1, 1, 2}, nil, 0b011, 1},
		{"named for all", nil, []PrimaryRule{{"", 0}}, 0b111, 0},
		{"named, and out", nil, []PrimaryRule{{"", 0}}, 0b110, 1},
		{"named by pattern", nil, []PrimaryRule{{"logs-*", 2}}, 0b111, 2},
		{"named for others", nil, []PrimaryRule{{"data-*", 2}}, 0b111, 1},
		{"the first that matches", nil, []PrimaryRule{{"x", 1}, {"logs-*", 2}, {"", 0}}, 0b111, 2},
		{"named before weight", []int{9, 9, 0}, []PrimaryRule{{"logs-?*", 2}}, 0b111, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := mustPrimaries(t, someBackends, tt.weights, tt.rules...).first([]byte(bucket), tt.among); got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
	for _, tt := range []struct {
		weights []int
		rule    PrimaryRule
	}{{[]int{1}, PrimaryRule{}}, {nil, PrimaryRule{"[", 0}}, {nil, PrimaryRule{"", 3}}, {nil, PrimaryRule{"", -1}}} {
		if _, err := newPrimaries(someBackends, tt.weights, []PrimaryRule{tt.rule}); err == nil {
			t.Errorf("%v is taken", tt)
		}
	}
}

func TestR28NoAllocations(t *testing.T) {
	p := mustPrimaries(t, someBackends, []int{1, 2, 2}, PrimaryRule{"other-*", 1})
	bucket := []byte("bucket")
	if n := testing.AllocsPerRun(100, func() { p.first(bucket, 0b111) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// strangers are backends of which nothing is known but their names.
func strangers(n int) (list []Backend) {
	for i := range n {
		list = append(list, stranger{name: fmt.Sprint(i)})
	}
	return list
}

type stranger struct {
	Backend
	name string
}

func (s stranger) Name() string { return s.name }
