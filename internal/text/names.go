package text

import (
	"slices"
	"strings"
)

// Nearest is the candidate that is the least far, as far counts; the first one of several.
func Nearest(candidates []string, far func(string) int) string {
	return slices.MinFunc(candidates, func(a, b string) int { return far(a) - far(b) })
}

// Distance is Levenshtein's, letter case aside: how many letters to put in, take
// out or change.
func Distance(a, b string) int {
	a, b = strings.ToLower(a[:min(len(a), 64)]), strings.ToLower(b)
	row := make([]int, len(b)+1) // of the table, for the part of a so far
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

// Near reports whether a may have been meant for b: few of its letters are others.
func Near(a, b string) bool {
	return Distance(a, b) <= max(1, min(len(a), len(b))/3)
}
