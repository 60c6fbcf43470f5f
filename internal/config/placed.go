package config

import (
	"maps"
	"os"
	"slices"
	"strings"
)

// Placed gives mistakes that were found once the file at path had been loaded, and that begin with a key, the form
// of those that Load finds: with the key's line, or the variable that has set it (R21). Where a variable has set
// something below the key neither would be right.
func Placed(path string, mistakes Errors) Errors {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() { // a pipe cannot be read again
		return mistakes
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return mistakes
	}
	m := newMistakes()
	m.file, m.places = path, map[string]int{}
	_, _ = parse(content, os.Environ(), m) // for the places alone
	m.all = nil
	for _, line := range mistakes {
		key, problem, _ := strings.Cut(line, ": ")
		below := func(path string) bool { return strings.HasPrefix(path, key+".") }
		if slices.ContainsFunc(slices.Collect(maps.Keys(m.env)), below) {
			m.line("%s", line)
			continue
		}
		m.at(key, "%s", problem)
	}
	return m.errors()
}
