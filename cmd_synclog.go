package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/repair"
)

// synclogCommands are `akubra synclog …`: they read the journal, also beside a
// running proxy.
type synclogCommands struct {
	list, stats, export *kingpin.CmdClause
	json                bool
	backend             string
}

func newSynclogCommands(app *kingpin.Application) *synclogCommands {
	s := &synclogCommands{}
	parent := app.Command("synclog", "Read the journal: what the backends owe. A running proxy is not disturbed.")
	s.list = parent.Command("list", "A line for each key that is not the same on all backends, oldest first.")
	s.stats = parent.Command("stats", "How many there are, by backend, reason and age.")
	s.export = parent.Command("export", "A JSON line for each key and backend, in the synclog's form, for a repair of your own.")
	for _, cmd := range []*kingpin.CmdClause{s.list, s.stats} {
		cmd.Flag("json", "JSON instead of a table.").BoolVar(&s.json)
	}
	for _, cmd := range []*kingpin.CmdClause{s.list, s.export} {
		cmd.Flag("backend", "Only what this backend owes.").PlaceHolder("HOST:PORT").StringVar(&s.backend)
	}
	return s
}

func (s *synclogCommands) is(command string) bool {
	return slices.Contains([]string{s.list.FullCommand(), s.stats.FullCommand(), s.export.FullCommand()}, command)
}

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
	entry(p *journal.Pending, t *repair.Task, backends []string) error
	end() error
}

func (s *synclogCommands) write(c *cli, config *config.Config, w entryWriter) error {
	var failed error
	read, err := journal.Read(config.JournalDir(), func(p journal.Pending, backends []string) bool {
		t := ledger.TaskOf(&p, backends)
		if s.backend != "" && !slices.Contains(t.Owed, s.backend) {
			return true
		}
		failed = w.entry(&p, &t, backends)
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
