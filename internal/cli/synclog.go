package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/task"
)

// run reads the journal of config, an entry at a time.
func (s *synclogCommands) run(c *cli, config *config.Config, command string) int {
	out := bufio.NewWriter(c.stdout)
	var err error
	switch command {
	case s.list.FullCommand():
		var list entryWriter = &listTable{out: tabwriter.NewWriter(out, 0, 8, 2, ' ', 0), now: time.Now()}
		if s.json {
			list = &listJSON{out: out}
		}
		err = s.write(c, config, list)
	case s.export.FullCommand():
		err = s.write(c, config, &exportJSON{out: out, backend: s.backend})
	default:
		err = s.write(c, config, &statsWriter{out: out, json: s.json, now: time.Now(), stats: newPendingStats()})
	}
	if err = errors.Join(err, out.Flush()); err != nil {
		fmt.Fprintf(c.stderr, "akubra: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// entryWriter is one way to show the journal. end comes after the last entry.
type entryWriter interface {
	entry(t *task.Task, backends []string) error
	end() error
}

func (s *synclogCommands) write(c *cli, config *config.Config, w entryWriter) error {
	var failed error
	read, err := journal.Read(config.JournalDir(), func(t *task.Task, backends []string) bool {
		if s.backend != "" && !slices.Contains(t.Owed(), s.backend) {
			return true
		}
		failed = w.entry(t, backends)
		return failed == nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no journal in %q (DataDir: %q): no proxy has run with it here", config.JournalDir(), config.DataDir)
	}
	for _, problem := range read.Problems {
		fmt.Fprintf(c.stderr, "akubra: what stands there is missing here: %v\n", problem)
	}
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("cannot read the journal in %q: %w", config.JournalDir(), err)
	}
	return w.end()
}
