package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/task"
)

// run reads the journal of config, an entry at a time.
func (s *journalCommands) run(c *cli, config *config.Config, command string) int {
	switch command {
	case s.show.FullCommand():
		return s.showKey(c, config)
	case s.dump.FullCommand():
		return c.journalDump(config)
	}
	if s.backend != "" {
		// A backend that is no longer configured may still be owed something.
		if name := backendNamed(config, s.backend); name != "" {
			s.backend = name
		}
	}
	out := bufio.NewWriter(c.stdout)
	var err error
	switch {
	case command == s.list.FullCommand() && s.json:
		err = s.write(c, config, &listJSON{out: out})
	case command == s.list.FullCommand():
		err = s.write(c, config, &listTable{out: tabwriter.NewWriter(out, 0, 8, 2, ' ', 0), now: time.Now(), filtered: s.filters()})
	case command == s.export.FullCommand():
		err = s.write(c, config, &exportJSON{out: out, backend: s.backend})
	default:
		err = s.write(c, config, &statsWriter{out: out, json: s.json, now: time.Now(), stats: newPendingStats()})
	}
	err = errors.Join(err, out.Flush())
	if wrong, is := errors.AsType[wrongArgument](err); is {
		return c.wrong(wrong)
	}
	if err != nil {
		return c.failed(err)
	}
	return exitOK
}

// wrongArgument is the user's mistake.
type wrongArgument struct{ error }

// entryWriter is one way to show the journal. end comes after the last entry.
type entryWriter interface {
	entry(t *task.Task, backends []string) error
	end() error
}

func (s *journalCommands) filters() bool { return s.backend != "" || s.bucket != "" || s.reason != "" }

// wants reports whether an entry was asked for.
func (s *journalCommands) wants(t *task.Task) bool {
	switch {
	case s.bucket != "" && t.Bucket != s.bucket, s.backend != "" && !slices.Contains(t.Owed(), s.backend):
		return false
	case s.reason == "":
		return true
	case slices.Contains(task.ParkReasons, task.ParkReason(s.reason)):
		return string(t.Parked) == s.reason
	}
	return strings.Contains(ledger.ReasonOf(t), s.reason)
}

func (s *journalCommands) write(c *cli, config *config.Config, w entryWriter) error {
	var failed error
	names, n, more := config.BackendNames(), 0, false
	err := readJournal(c, config, func(t *task.Task, backends []string) bool {
		for _, name := range backends { // who is gone is owed all the same
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		if !s.wants(t) {
			return true
		}
		if s.limit > 0 && n == s.limit {
			more = true
			return false
		}
		n++
		failed = w.entry(t, backends)
		return failed == nil
	})
	switch {
	case err != nil || failed != nil:
		return errors.Join(err, failed)
	case s.backend != "" && !slices.Contains(names, s.backend):
		return wrongArgument{noBackend(s.backend, names)}
	}
	if err := w.end(); err != nil {
		return err
	}
	if more {
		fmt.Fprintf(c.stderr, "akubra: these are the first %d, and there are more (--limit)\n", s.limit)
	}
	return nil
}

// readJournal passes everything that is pending to fn, oldest first, until fn returns false.
func readJournal(c *cli, config *config.Config, fn func(t *task.Task, backends []string) bool) error {
	read, err := journal.Read(config.JournalDir(), fn)
	if errors.Is(err, fs.ErrNotExist) {
		return noJournal(config)
	}
	for _, problem := range read.Problems {
		fmt.Fprintf(c.stderr, "akubra: warning: the output lacks part of the journal: %v\n", problem)
	}
	if err != nil {
		return fmt.Errorf("cannot read the journal in %q: %w", config.JournalDir(), err)
	}
	return nil
}

func noJournal(config *config.Config) error {
	return fmt.Errorf("there is no journal in %q (DataDir: %q): no proxy has run with it here", config.JournalDir(), config.DataDir)
}

// backendNamed is the name of the backend that a person means by HOST:PORT or by its URL; "" if
// there is none.
func backendNamed(conf *config.Config, backend string) string {
	_, host, hasScheme := strings.Cut(strings.TrimSuffix(backend, "/"), "://")
	for _, name := range conf.BackendNames() {
		if strings.EqualFold(name, backend) || hasScheme && strings.EqualFold(name, host) {
			return name
		}
	}
	return ""
}

func noBackend(backend string, names []string) error {
	return fmt.Errorf("there is no backend %q; there are %s", backend, strings.Join(names, ", "))
}
