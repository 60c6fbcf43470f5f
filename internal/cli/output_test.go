package cli

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/akubra/akubra/internal/ledger/ledgertest"
)

// brokenWriter is a stdout that takes nothing.
type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

// A command whose output gets lost has failed, and says so; where nobody reads on, as in a pipe into
// head, it ends quietly. Neither is a panic.
func TestOutputThatGetsLost(t *testing.T) {
	t.Parallel()
	config, dataDir := writeCommandConfig(t, []string{"http://a:9000", "http://b:9000"}, "")
	n := ledgertest.MustOpen(t, dataDir, "a:9000", "b:9000")
	ledgertest.MustPromise(t, n, "PUT", "b", "one", 0b10, "stalled")
	for _, args := range [][]string{
		{"journal", "export"}, {"journal", "list"}, {"journal", "list", "--json"}, {"journal", "stats"}, {"journal", "dump"},
		{"journal", "show", "--offline", "b/one"}, {"config"}, {"version"}, {"man"}, {"completion", "bash"}, {"--help"}, {"help", "verify"},
	} {
		for errno, want := range map[syscall.Errno]struct {
			exit   int
			stderr string
		}{
			syscall.ENOSPC: {exitFailed, "akubra: cannot write the output: no space left on device\n"},
			syscall.EPIPE:  {exitOK, ""},
		} {
			var stderr bytes.Buffer
			c := &cli{version: testVersion, example: "Backends: []\n", manual: ".TH AKUBRA 1\n", stdin: strings.NewReader(""),
				stdout: brokenWriter{errno}, stderr: &stderr, signals: make(chan os.Signal)}
			exit := c.run(append(args, "-c", config))
			if exit != want.exit || stderr.String() != want.stderr {
				t.Errorf("%q, %v: exit code %d, stderr %q", args, errno, exit, stderr.String())
			}
		}
	}
}
