package main

import (
	"math"
	"slices"
)

// median is NaN for no values, and the mean of the two in the middle for an even number of them.
func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
