package histogram

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

func TestBucketsAreDenseAndInOrder(t *testing.T) {
	last := time.Duration(0)
	for i := range buckets {
		low, high := bounds(i)
		if low != last {
			t.Fatalf("bucket %d begins at %d, the one before ends at %d", i, low, last)
		}
		if bucket(low) != i || bucket(high-1) != i {
			t.Fatalf("bucket %d of %d and %d is %d and %d", i, low, high-1, bucket(low), bucket(high-1))
		}
		last = high
	}
	if last-1 != longest {
		t.Fatalf("the last bucket ends at %d, want %d", last-1, longest)
	}
	if bucket(-1) != 0 || bucket(math.MaxInt64) != buckets-1 {
		t.Fatal("values out of range are not in the outermost buckets")
	}
}

func TestPercentilesAgainstExactOnes(t *testing.T) {
	shapes := map[string]func(r *rand.Rand) float64{
		"uniform":     func(r *rand.Rand) float64 { return 1e6 * r.Float64() },
		"log-normal":  func(r *rand.Rand) float64 { return 2e5 * math.Exp(r.NormFloat64()) },
		"exponential": func(r *rand.Rand) float64 { return 5e6 * r.ExpFloat64() },
		"two peaks":   func(r *rand.Rand) float64 { return 1e5 + 3e10*float64(r.IntN(2)) + 100*r.Float64() },
		"few values":  func(r *rand.Rand) float64 { return float64(r.IntN(90)) },
	}
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			var h Histogram
			var exact []time.Duration
			var sum time.Duration
			for range 20_000 {
				d := time.Duration(shape(r))
				h.Record(d)
				exact = append(exact, d)
				sum += d
			}
			slices.Sort(exact)
			for _, p := range []float64{0, .01, .5, .9, .99, .999, .9999, 1} {
				want := exact[max(0, int(math.Ceil(p*float64(len(exact))))-1)]
				got := h.At(p)
				if diff := math.Abs(float64(got - want)); diff > 0.01*float64(want) {
					t.Errorf("p%v is %d, want %d within 1 %%", 100*p, got, want)
				}
			}
			if h.Max() != exact[len(exact)-1] || h.Count() != uint64(len(exact)) || time.Duration(h.sum.Load()) != sum {
				t.Errorf("max %d, count %d, sum %d are not exact", h.Max(), h.Count(), h.sum.Load())
			}
		})
	}
}

func TestEmpty(t *testing.T) {
	var h Histogram
	if h.At(.99) != 0 || h.Max() != 0 || h.Count() != 0 {
		t.Fatal("an empty histogram is not all zero")
	}
}

func TestMergeAndJSON(t *testing.T) {
	var a, b, both Histogram
	for i := range 5000 {
		d := time.Duration(i*i) * 100
		both.Record(d)
		if i%3 == 0 {
			a.Record(d)
		} else {
			b.Record(d)
		}
	}
	a.Merge(&b)
	want, err := json.Marshal(&both)
	testkit.MustDo(t, err)
	var read Histogram
	testkit.MustDo(t, json.Unmarshal(want, &read))
	for name, h := range map[string]*Histogram{"merged": &a, "read": &read} {
		if got, _ := json.Marshal(h); string(got) != string(want) {
			t.Errorf("%s is not equal:\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestRecordFromManyGoroutines(t *testing.T) {
	var h Histogram
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 1000 {
				h.Record(time.Duration(1000*g + i))
			}
		})
	}
	all.Wait()
	if h.Count() != 8000 || h.Max() != 7999 {
		t.Fatalf("count %d, max %d", h.Count(), h.Max())
	}
}
