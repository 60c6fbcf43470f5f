package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/testkit"
)

// TestR22LogsAreReplaced: while lines are written the synclog goes from file to file, and each line
// stands in one of them, once.
func TestR22LogsAreReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(n int) string { return filepath.Join(dir, fmt.Sprint("sync", n)) }
	conf := func(n int) config.LoggingConfig {
		return config.LoggingConfig{
			Mainlog: config.LogOutput{File: filepath.Join(dir, "main"), Level: "info"},
			Synclog: config.LogOutput{File: file(n)},
		}
	}
	l, err := Open(conf(0))
	testkit.MustDo(t, err)
	const writers, files = 4, 40
	end := make(chan struct{})
	var wrote [writers]int
	var running sync.WaitGroup
	for w := range writers {
		running.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				if n, err := fmt.Fprintf(l.Sync, "writer %d line %d.\n", w, wrote[w]); err != nil {
					t.Errorf("a line was refused: %d, %v", n, err)
				}
				wrote[w]++
				if wrote[w]%1000 == 0 {
					l.SynclogQueues()[0].flush(testkit.Patience) // no more than the queue takes
				}
			}
		})
	}
	for n := range files {
		change, err := l.Prepare(conf(n + 1))
		testkit.MustDo(t, err)
		testkit.MustDo(t, change.Commit())
	}
	close(end)
	testkit.Finish(t, "the writers end", running.Wait)
	testkit.MustDo(t, l.Close())
	var all strings.Builder
	for n := range files + 1 {
		all.WriteString(testkit.MustReadFile(t, file(n)))
	}
	seen := map[string]int{}
	for line := range strings.Lines(all.String()) {
		seen[line]++
	}
	for w := range writers {
		for n := range wrote[w] {
			if line := fmt.Sprintf("writer %d line %d.\n", w, n); seen[line] != 1 {
				t.Fatalf("%q stands in the files %d times", line, seen[line])
			}
		}
	}
}

// TestR22LogsChange: levels and outputs change at once; outputs that stay keep their queue; what
// cannot be opened changes nothing.
func TestR22LogsChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	out := func(name, level string) config.LogOutput { return config.LogOutput{File: at(name), Level: level} }
	l, err := Open(config.LoggingConfig{Mainlog: out("main", "warn"), Synclog: out("sync", "")})
	testkit.MustDo(t, err)
	defer l.Close()
	if l.AccessEnabled() {
		t.Error("an access log that goes nowhere is enabled")
	}
	kept := l.outputs[0].out.Load().sinks[0]
	l.Main.Info().Msg("first")

	if _, err := l.Prepare(config.LoggingConfig{Mainlog: out("none/main", "info"), Accesslog: out("access", ""), Synclog: out("sync", "")}); err == nil ||
		!strings.HasPrefix(err.Error(), "Logging.Mainlog: cannot open log file ") {
		t.Errorf("a file that cannot be opened: %v", err)
	}
	l.Main.Info().Msg("second")

	change, err := l.Prepare(config.LoggingConfig{Mainlog: out("main", "info"), Accesslog: out("access", ""), Synclog: out("sync", "")})
	testkit.MustDo(t, err)
	l.Main.Info().Msg("third")
	testkit.MustDo(t, change.Commit())
	if !l.AccessEnabled() || l.outputs[0].out.Load().sinks[0] != kept {
		t.Error("the access log is off, or the main log's queue was replaced")
	}
	l.Main.Info().Msg("fourth")
	l.Access.Log().Msg("asked")

	change, err = l.Prepare(config.LoggingConfig{Mainlog: out("main", "disabled"), Synclog: out("sync", "")})
	testkit.MustDo(t, err)
	change.Cancel()
	testkit.MustDo(t, os.Rename(at("main"), at("main.1")), l.Reopen())
	l.Main.Info().Msg("fifth")
	mustFlush(t, l)
	for name, want := range map[string]string{"main.1": "fourth", "main": "fifth", "access": "asked"} {
		got := testkit.MustReadFile(t, at(name))
		if strings.Count(got, "\n") != 1 || !strings.Contains(got, want) {
			t.Errorf("%s has %q, want one line with %q", name, got, want)
		}
	}
}
