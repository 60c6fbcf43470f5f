package config

import (
	"os"
	"strings"
)

// Placed gives mistakes that were found once the file at path had been loaded, and that begin with a key, the form
// of those that Load finds: with the key's line, or the variable that has set it (R21).
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
		m.at(key, "%s", problem)
	}
	return m.errors()
}
