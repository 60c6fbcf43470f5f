package cli

import (
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/ledger/ledgertest"
)

func TestJournalDump(t *testing.T) {
	config, dataDir := writeCommandConfig(t, []string{"http://a:9000", "http://b:9000"}, "")
	if _, stderr := mustRun(t, exitFailed, "journal", "dump", "-c", config); !strings.HasPrefix(stderr, "akubra: cannot dump the journal (DataDir: ") {
		t.Errorf("stderr %q", stderr)
	}
	n := ledgertest.MustOpen(t, dataDir, "a:9000", "b:9000") // and it stays open
	ledgertest.MustPromise(t, n, "PUT", "b", "one\x1b", 0b10, "stalled")
	out, stderr := mustRun(t, exitOK, "journal", "dump", "-c", config)
	if !strings.Contains(out, `state bucket "b" key "one\x1b"`) || !strings.Contains(out, `owed "b:9000"`) || stderr != "" {
		t.Errorf("stdout %s stderr %q", out, stderr)
	}
}
