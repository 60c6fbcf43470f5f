package cli

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// TestR22Reload: SIGHUP takes what can change while the proxy runs, names what cannot, and
// takes nothing where there is a mistake.
func TestR22Reload(t *testing.T) {
	t.Parallel()
	path := writeServeConfig(t, testkit.NewBackend(t, testkit.Hello), "")
	text, log := testkit.MustReadFile(t, path), filepath.Join(filepath.Dir(path), "main.log")
	p := mustStart(t, "-c", path)
	for _, step := range []struct {
		more string
		time time.Duration // of a stop, from then on
		says []string
	}{
		{"ShutdownTimeout: 7s\n", 7 * time.Second, []string{`"taken":["ShutdownTimeout"]`}},
		{"ShutdownTimeout: 9s\nConnLimit: 77\nCredentials: {AccessKey: a, SecretKey: hidden-key}\n", 9 * time.Second,
			[]string{`"needrestart":["ConnLimit","Credentials.AccessKey","Credentials.SecretKey"],"taken":["ShutdownTimeout"]`}},
		{"ShutdownTimeout: 11s\nConnLimit: 0\nNonsense: 1\n", 9 * time.Second,
			[]string{"cannot reload the configuration: all stays as it was", "ConnLimit: 0 is not allowed", "Nonsense: unknown key"}},
		{"ShutdownTimeout: 9s\n", 9 * time.Second, []string{`"level":"info","taken":[]`}},
	} {
		testkit.MustDo(t, os.WriteFile(path, []byte(text+step.more), 0o600))
		p.signals <- syscall.SIGHUP
		for _, want := range step.says {
			testkit.Eventually(t, want, func() bool { return strings.Contains(testkit.MustReadFile(t, log), want) })
		}
		if got := p.StopTime(); got != step.time {
			t.Errorf("%q: a stop may take %v, want %v", step.more, got, step.time)
		}
	}
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
	if strings.Contains(testkit.MustReadFile(t, log), "hidden-key") { // R37
		t.Error("the log has a secret")
	}
}
