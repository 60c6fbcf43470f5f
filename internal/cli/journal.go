package cli

import (
	"bufio"
	"errors"
	"fmt"

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
	if err := errors.Join(journal.Dump(config.JournalDir(), out), out.Flush()); err != nil {
		fmt.Fprintf(c.stderr, "akubra: cannot dump the journal (DataDir: %q): %v\n", config.DataDir, err)
		return exitFailed
	}
	return exitOK
}
