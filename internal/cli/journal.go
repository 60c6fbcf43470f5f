package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"

	"github.com/alecthomas/kingpin/v2"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/synclog/journal"
)

func journalDumpCommand(parent *kingpin.CmdClause) *kingpin.CmdClause {
	return parent.Command("dump", "Print every record in the journal's files with its fields and offset, and any damage. A running proxy is not disturbed.")
}

// journalDump prints the journal's files for people.
func (c *cli) journalDump(config *config.Config) int {
	out := bufio.NewWriter(c.stdout)
	err := journal.Dump(config.JournalDir(), out)
	if errors.Is(err, fs.ErrNotExist) {
		err = noJournal(config)
	}
	if err := errors.Join(err, out.Flush()); err != nil {
		return c.failed(fmt.Errorf("cannot dump the journal (DataDir: %q): %w", config.DataDir, err))
	}
	return exitOK
}
