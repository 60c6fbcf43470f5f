// Package docs holds the documents to what they say about the code.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

var (
	defined = regexp.MustCompile(`(?m)^- \*\*(R\d+) `)
	// A rule is cited as a word of its own, or in the name of a test.
	cited = regexp.MustCompile(`\b(?:Test|test)?((?:R\d+)+)(?:[A-Z]\w*|\b)`)
	rule  = regexp.MustCompile(`R\d+`)
)

// TestCitedRulesExist looks for each rule that code and documents cite in the contract.
func TestCitedRulesExist(t *testing.T) {
	contract, err := os.ReadFile("CONTRACT.md")
	testkit.MustDo(t, err)
	var rules []string
	for _, m := range defined.FindAllStringSubmatch(string(contract), -1) {
		if slices.Contains(rules, m[1]) {
			t.Errorf("CONTRACT.md defines %s twice", m[1])
		}
		rules = append(rules, m[1])
	}
	if len(rules) < 30 {
		t.Fatalf("only %d rules found in CONTRACT.md", len(rules))
	}
	files, citations := 0, 0
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "..":
			return filepath.SkipDir
		case d.IsDir() || !slices.Contains([]string{".go", ".md", ".example", ".sh"}, filepath.Ext(path)):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for i, line := range strings.Split(string(text), "\n") {
			for _, m := range cited.FindAllStringSubmatch(line, -1) {
				for _, r := range rule.FindAllString(m[1], -1) {
					citations++
					if !slices.Contains(rules, r) {
						t.Errorf("%s:%d cites %s, which is not in docs/CONTRACT.md", path, i+1, r)
					}
				}
			}
		}
		return nil
	})
	testkit.MustDo(t, err)
	if files < 100 || citations < 200 {
		t.Errorf("only %d citations found in %d files: this test looks at the wrong ones", citations, files)
	}
}
