package text

import (
	"slices"
	"strings"
)

// Nearest is the candidate with the smallest distance by far; the first of several.
func Nearest(candidates []string, far func(string) int) string {
	return slices.MinFunc(candidates, func(a, b string) int { return far(a) - far(b) })
}

// Distance is the Levenshtein distance, ignoring case: how many letters to insert, delete or
// change.
func Distance(a, b string) int {
	a, b = strings.ToLower(a[:min(len(a), 64)]), strings.ToLower(b)
	row := make([]int, len(b)+1) // of the table, for the prefix of a so far
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Near reports whether a may have been meant as b, because only few letters differ.
func Near(a, b string) bool {
	return Distance(a, b) <= max(1, min(len(a), len(b))/3)
}
