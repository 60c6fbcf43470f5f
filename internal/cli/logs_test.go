package cli

import (
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

// TestR23ClientsDoNotWaitForLogs: the whole proxy behind a stderr that nobody reads.
func TestR23ClientsDoNotWaitForLogs(t *testing.T) { // not beside others: stderr is the process's
	config := writeServeConfig(t, testkit.NewBackend(t, testkit.Hello), "  Accesslog: {Stderr: true}\n")
	reader := testkit.MustPipeStderr(t)
	p := mustStart(t, "-c", config)
	url := "http://" + p.Addr() + "/b/" + strings.Repeat("k", 900)
	const requests = 300 // lines of 1,100 bytes: a pipe holds 64 KiB
	for range requests {
		if got := testkit.MustSend(t, "GET", url, ""); got != "hello" {
			t.Fatalf("answer %q", got)
		}
	}
	metrics := testkit.MustParseMetrics(t, testkit.MustSend(t, "GET", "http://"+p.AdminAddr()+"/metrics", ""))
	const labels = `{log="accesslog",output="stderr"}`
	if lost, counted := metrics["akubra_log_lost_lines_total"+labels]; lost != 0 || !counted {
		t.Errorf("%v lines are lost", lost)
	}
	if metrics["akubra_log_waiting_lines"+labels] == 0 {
		t.Error("the pipe is not full: nothing is tested")
	}
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
	_, _ = io.CopyN(io.Discard, reader, 128<<10) // its goroutine, which would end with the process
	_ = reader.Close()
}
