package cli

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// TestR22Reload: SIGHUP applies what can change while the proxy runs, names what cannot, and
// applies nothing where there is a mistake.
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
		{"ShutdownTimeout: 7s\n", 7 * time.Second, []string{`"applied":["ShutdownTimeout"]`}},
		{"ShutdownTimeout: 9s\nConnLimit: 77\nMaxHeaderSize: 5KiB\nCredentials: {AccessKey: a, SecretKey: hidden-key}\n", 9 * time.Second,
			[]string{`"needrestart":["MaxHeaderSize"],"by":"SIGHUP","applied":["ConnLimit","ShutdownTimeout","Credentials.AccessKey","Credentials.SecretKey"]`}},
		{"ShutdownTimeout: 11s\nConnLimit: 0\nNonsense: 1\n", 9 * time.Second,
			[]string{"cannot reload the configuration: all stays as it was", "ConnLimit: 0 is not allowed", "Nonsense: unknown key"}},
		{"ShutdownTimeout: 9s\nConnLimit: 77\nMaxHeaderSize: 5KiB\nCredentials: {AccessKey: a, SecretKey: hidden-key}\n", 9 * time.Second,
			[]string{`"needrestart":["MaxHeaderSize"],"by":"SIGHUP","applied":[]`}},
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

// TestR22ReloadCommand: `akubra reload` says what was applied, what needs a restart, what is wrong,
// and exits with 0, 1, 2. What is applied counts for the next request.
func TestR22ReloadCommand(t *testing.T) {
	t.Parallel()
	stores := []string{testkit.NewBackend(t, testkit.Hello), testkit.NewBackend(t, testkit.Hello), testkit.NewBackend(t, testkit.Hello)}
	admin := testkit.MustFreeAddr(t)
	dir := t.TempDir()
	path, asked := filepath.Join(dir, "akubra.yaml"), filepath.Join(dir, "asked.yaml")
	write := func(backends []string, more string) {
		t.Helper()
		text := fmt.Sprintf("Listen: 127.0.0.1:0\nAdminListen: %s\nDataDir: %q\nBackends: [%s]\n%s\n",
			admin, filepath.Join(dir, "data"), strings.Join(backends, ", "), more)
		testkit.MustDo(t, os.WriteFile(path, []byte(text), 0o600))
	}
	two := stores[:2]
	write(two, "")
	testkit.MustDo(t, os.WriteFile(asked, []byte(testkit.MustReadFile(t, path)), 0o600)) // for the command, which reads it too
	const logs = "Logging: {Mainlog: {Stderr: false, File: %q}, Accesslog: {File: %q}}\n"
	if exit, _, stderr := runArgs("reload", "-c", asked); exit != exitFailed || !strings.Contains(stderr, "cannot reach a running proxy") {
		t.Errorf("without a proxy: exit code %d, %q", exit, stderr)
	}
	p := mustStart(t, "-c", path)
	defer func() {
		p.signals <- syscall.SIGTERM
		p.wantExit(t, exitOK)
	}()
	generation := func() string {
		t.Helper()
		resp, err := http.Get("http://" + p.Addr() + "/b/k")
		testkit.MustDo(t, err)
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		testkit.MustDo(t, err)
		return resp.Header.Get("X-Generation")
	}
	for _, step := range []struct {
		backends   []string
		more       string
		exit       int
		says       string
		generation string
	}{
		{two, "AdditionalResponseHeaders: {X-Generation: one}", exitOK, "\napplied: AdditionalResponseHeaders\n", "one"},
		{two, "AdditionalResponseHeaders: {X-Generation: one}", exitOK, "\nnothing has changed\n", "one"},
		{two, "AdditionalResponseHeaders: {X-Generation: two}\nDurability: power", exitFailed, "\napplied: AdditionalResponseHeaders\nneeds a restart: Durability\n", "two"},
		{two, "AdditionalResponseHeaders: {X-Generation: three}\nConnLimit: x", exitWrong, "refused, and all stays as it was:\n" + path + ":6: ConnLimit: ", "two"},
		{two, "AdditionalResponseHeaders: {X-Generation: three}\nLogging: {Mainlog: {File: /none/there}}", exitWrong, "Logging.Mainlog: cannot open log file", "two"},
		{stores, "AdditionalResponseHeaders: {X-Generation: four}", exitFailed, "\napplied: AdditionalResponseHeaders\nneeds a restart: Backends\n", "four"},
		{stores, "AdditionalResponseHeaders: {X-Generation: five}\nReadFrom: {" + stores[2] + ": 5}", exitFailed,
			"\nneeds a restart: Backends, AdditionalResponseHeaders, ReadFrom\nnothing was applied: the rest of the file needs the new Backends, and so a restart\n", "four"},
		{two, "AdditionalResponseHeaders: {X-Generation: six}\n" + fmt.Sprintf(logs, filepath.Join(dir, "main.log"), filepath.Join(dir, "access.log")), exitOK,
			"\napplied: AdditionalResponseHeaders, Logging.Accesslog.File, Logging.Mainlog.Stderr, Logging.Mainlog.File\n", "six"},
	} {
		write(step.backends, step.more)
		exit, stdout, stderr := runArgs("reload", "-c", asked)
		if exit != step.exit || !strings.Contains(stdout+stderr, step.says) {
			t.Errorf("%q: exit code %d, want %d, and %q, want %q", step.more, exit, step.exit, stdout+stderr, step.says)
		}
		if got := generation(); got != step.generation {
			t.Errorf("%q: generation %q, want %q", step.more, got, step.generation)
		}
	}
	testkit.Eventually(t, "the access log to be written", func() bool {
		return strings.Contains(testkit.MustReadFile(t, filepath.Join(dir, "access.log")), `"remote":"127.0.0.1:`)
	})
	if exit, stdout, _ := runArgs("reload", "--json", "-c", asked); exit != exitOK || !strings.Contains(stdout, `"applied": []`) {
		t.Errorf("--json: exit code %d, %q", exit, stdout)
	}
	write(two, "ConnLimit: x") // the command finds it, and need not ask
	if exit, _, stderr := runArgs("reload", "-c", path); exit != exitWrong || !strings.HasPrefix(stderr, "refused, and all stays as it was:\n"+path+":5: ConnLimit: ") {
		t.Errorf("a mistake that the command finds: exit code %d, %q", exit, stderr)
	}
}
