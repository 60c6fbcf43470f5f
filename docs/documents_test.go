package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/akubra/akubra/internal/testkit"
)

var (
	heading = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
	link    = regexp.MustCompile(`\]\(([^)\s]*)\)`)
	unnamed = regexp.MustCompile("[^a-z0-9 _-]")
)

// anchor is how GitHub names a heading.
func anchor(title string) string {
	return strings.ReplaceAll(unnamed.ReplaceAllString(strings.ToLower(title), ""), " ", "-")
}

// TestLinks follows the links between the documents, also to a heading.
func TestLinks(t *testing.T) {
	documents, err := filepath.Glob("*.md")
	testkit.MustDo(t, err)
	documents = append(documents, "../README.md", "../CONTRIBUTING.md", "../bench/README.md")
	anchors := func(file string) map[string]bool {
		t.Helper()
		text, err := os.ReadFile(file)
		testkit.MustDo(t, err)
		found := map[string]bool{}
		for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(string(text), ""), -1) {
			found[anchor(m[1])] = true
		}
		return found
	}
	followed := 0
	for _, doc := range documents {
		text, err := os.ReadFile(doc)
		testkit.MustDo(t, err)
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(string(text), ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			followed++
			path, to, _ := strings.Cut(m[1], "#")
			file := doc
			if path != "" {
				file = filepath.Join(filepath.Dir(doc), path)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s, which is not there", doc, m[1])
			} else if to != "" && !anchors(file)[to] {
				t.Errorf("%s links to %s, which has no such heading", doc, m[1])
			}
		}
	}
	if followed < 40 {
		t.Errorf("only %d links found: this test looks at the wrong ones", followed)
	}
}

// TestREADMEIsShort: it is for somebody who has never heard of the project.
func TestREADMEIsShort(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	testkit.MustDo(t, err)
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) > 200 {
		t.Errorf("it has %d lines, at most 200 are wanted", len(lines))
	}
	for i, line := range lines {
		if n := utf8.RuneCountInString(line); n > 100 {
			t.Errorf("line %d has %d columns, at most 100 are wanted", i+1, n)
		}
	}
	for _, command := range []string{"make run", "make test"} { // .ci/run and users rely on them
		if !strings.Contains(string(text), "\n```\n"+command+"\n```\n") {
			t.Errorf("it lacks %s", command)
		}
	}
}

var (
	shownStatus = regexp.MustCompile(`(?m)^ *\$ akubra status -c \S+\n *(.+)$`)
	sentence    = regexp.MustCompile(`^(Of \d+ backends, \S+ (is demoted|is in maintenance|does not answer|is failing); )?` +
		`(All backends are in sync|nothing is pending|[\d,]+ keys? behind at \S+(, [\d,]+ at \S+)*, oldest (\d+ (s|min|h|days)|…)(, [\d,]+ parked \(.+\))?(, about \d+ (s|min|h) to go)?)` +
		`(; [\d,]+ keys? owed to backends that are not configured any more)?\.$`)
)

// TestShownSentences: what the documents show of akubra status begins as it does (internal/admin).
func TestShownSentences(t *testing.T) {
	text, err := os.ReadFile("OPERATIONS.md")
	testkit.MustDo(t, err)
	shown := shownStatus.FindAllStringSubmatch(string(text), -1)
	if len(shown) < 6 {
		t.Errorf("only %d were found", len(shown))
	}
	for _, m := range shown {
		if !sentence.MatchString(m[1]) {
			t.Errorf("OPERATIONS.md shows %q", m[1])
		}
	}
}
