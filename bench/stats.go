package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

// median is NaN of nothing. Of an even number it is the mean of the two in the
// middle.
func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// interval is a change of medians, as a ratio, and where it lies with a confidence
// of 95 %.
type interval struct{ ratio, low, high float64 }

const (
	confidence = .95
	resamples  = 4000
)

// changeOf is the bootstrap's percentile interval of median(b)/median(a): both are
// drawn from with replacement, again and again, with a fixed seed, so that the same
// results always give the same answer. With few rounds it is too narrow; there
// mannWhitney is the judge.
func changeOf(a, b []float64) interval {
	r := rand.New(rand.NewPCG(1, 2))
	ratios := make([]float64, resamples)
	for i := range ratios {
		ratios[i] = median(resample(r, b)) / median(resample(r, a))
	}
	slices.Sort(ratios)
	tail := (1 - confidence) / 2
	return interval{median(b) / median(a), ratios[int(tail*resamples)], ratios[int((1-tail)*resamples)-1]}
}

func resample(r *rand.Rand, of []float64) []float64 {
	values := make([]float64, len(of))
	for i := range values {
		values[i] = of[r.IntN(len(of))]
	}
	return values
}

// mannWhitney is the two-sided p-value of the hypothesis that a and b come from one
// distribution: how often two groups of these sizes, dealt at random from all the
// values, would be at least as far apart. It is exact, with ties, up to exactUpTo
// ways to deal, and the normal approximation beyond.
func mannWhitney(a, b []float64) float64 {
	if len(a) == 0 || len(b) == 0 {
		return 1
	}
	ranks := doubleRanks(append(slices.Clone(a), b...))
	sum := 0
	for _, r := range ranks[:len(a)] {
		sum += r
	}
	n, m := len(a), len(b)
	mean := n * (n + m + 1) // of the doubled ranks' sum
	distance := abs(sum - mean)
	if binomial(n+m, n) > exactUpTo {
		return normalP(ranks, n, m, float64(distance))
	}
	all, far := 0, 0
	deal(ranks, n, 0, func(sum int) {
		all++
		if abs(sum-mean) >= distance {
			far++
		}
	})
	return float64(far) / float64(all)
}

const exactUpTo = 200_000

// doubleRanks are twice the values' ranks: those of equal values are averaged, and
// are whole numbers so.
func doubleRanks(values []float64) []int {
	sorted := slices.Sorted(slices.Values(values))
	ranks := make([]int, len(values))
	for i, v := range values {
		first, _ := slices.BinarySearch(sorted, v)
		last := first
		for last+1 < len(sorted) && sorted[last+1] == v {
			last++
		}
		ranks[i] = first + last + 2
	}
	return ranks
}

// deal calls each with the sum of every choice of n of the ranks.
func deal(ranks []int, n, sum int, each func(sum int)) {
	if n == 0 {
		each(sum)
		return
	}
	for i := 0; i+n <= len(ranks); i++ {
		deal(ranks[i+1:], n-1, sum+ranks[i], each)
	}
}

// normalP approximates, with the ties' correction and that for continuity.
func normalP(ranks []int, n, m int, distance float64) float64 {
	total := float64(n + m)
	counts := map[int]float64{}
	for _, r := range ranks {
		counts[r]++
	}
	ties := 0.
	for _, c := range counts {
		ties += c*c*c - c
	}
	sigma := math.Sqrt(float64(n) * float64(m) / 12 * (total + 1 - ties/(total*(total-1))))
	if sigma == 0 {
		return 1
	}
	z := max(0, distance/2-.5) / sigma
	return math.Erfc(z / math.Sqrt2)
}

func binomial(n, k int) float64 {
	r := 1.
	for i := 1; i <= k; i++ {
		r = r * float64(n-k+i) / float64(i)
	}
	return r
}

func abs(n int) int { return max(n, -n) }
