package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// testLogsNobodyTakes: neither a reader of stdout and stderr that has gone (EPIPE, and with it
// SIGPIPE), nor one that does not read, nor a full disk ends the process, holds up a request or
// keeps the process from stopping.
func testLogsNobodyTakes(t *testing.T, path string) {
	for _, gone := range []bool{true, false} {
		t.Run(fmt.Sprintf("gone=%t", gone), func(t *testing.T) {
			dir := t.TempDir()
			addr, admin := testkit.MustFreeAddr(t), testkit.MustFreeAddr(t)
			config := filepath.Join(dir, "akubra.yaml")
			text := fmt.Sprintf(`{Listen: %q, AdminListen: %q, DataDir: %q, Backends: [%q, %q], Logging: {
  Mainlog: {Stderr: true}, Accesslog: {Stdout: true, Stderr: true, File: /dev/full}, Synclog: {Stdout: true, Stderr: false}}}`,
				addr, admin, filepath.Join(dir, "data"), testkit.NewBackend(t, testkit.Hello), "http://"+testkit.MustFreeAddr(t))
			testkit.MustDo(t, os.WriteFile(config, []byte(text), 0o600))
			r, w, err := os.Pipe()
			testkit.MustDo(t, err)
			defer r.Close()
			cmd := exec.Command(path, "-c", config)
			cmd.Stdout, cmd.Stderr = w, w
			testkit.MustDo(t, cmd.Start())
			defer func() {
				if cmd.ProcessState == nil {
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
				}
			}()
			_ = w.Close()
			_ = r.SetReadDeadline(time.Now().Add(testkit.Patience))
			said := bufio.NewScanner(r)
			for said.Scan() && !bytes.Contains(said.Bytes(), []byte("akubra is ready")) {
			}
			if gone {
				_ = r.Close()
			}
			for range 400 { // more than a pipe holds
				if got := testkit.MustSend(t, "PUT", "http://"+addr+"/b/"+strings.Repeat("k", 300), ""); got != "hello" {
					t.Fatalf("answer %q", got)
				}
			}
			metrics := testkit.MustSend(t, "GET", "http://"+admin+"/metrics", "")
			for _, to := range []string{"stdout", "stderr", "/dev/full"} {
				series := fmt.Sprintf("akubra_log_waiting_lines{log=%q,output=%q} ", "accesslog", to)
				if i := strings.Index(metrics, series); i < 0 || metrics[i+len(series)] == '0' {
					t.Errorf("no line waits for %s", to)
				}
			}
			testkit.MustDo(t, cmd.Process.Signal(syscall.SIGTERM))
			waitExit(t, cmd)
		})
	}
}
