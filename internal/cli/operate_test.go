package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// Maintenance set by a command takes effect at once, and lasts beyond a restart (R14).
func TestR14MaintenanceCommand(t *testing.T) {
	r := newStoresRig(t, "")
	names := r.names()
	wantSaid := func(exit int, want string, args ...string) {
		t.Helper()
		got, stdout, stderr := runArgs(append(args, "-c", r.config)...)
		if got != exit || !strings.Contains(stdout+stderr, want) {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q, want %d and %q", args, got, stdout, stderr, exit, want)
		}
	}
	wantSaid(exitFailed, "cannot reach a running proxy at AdminListen", "maintenance", "on", names[0])
	wantSaid(exitFailed, "cannot reach a running proxy at AdminListen", "status")
	p := mustStart(t, "-c", r.config)
	wantSaid(exitOK, "All backends are in sync.", "status")
	wantSaid(exitWrong, `there is no backend "none:1"; there are `+names[0], "maintenance", "on", "none:1")
	wantSaid(exitOK, names[1]+" is in maintenance", "maintenance", "on", "http://"+names[1]+"/")
	wantSaid(exitFailed, "no request could be served", "maintenance", "on", names[0])
	wantSaid(exitOK, "Of 2 backends, "+names[1]+" is in maintenance; nothing is pending.", "status")
	stop := func() {
		p.signals <- syscall.SIGTERM
		p.wantExit(t, exitOK)
	}
	stop()
	p = mustStart(t, "-c", r.config)
	wantSaid(exitOK, "Of 2 backends, "+names[1]+" is in maintenance", "status")
	wantSaid(exitOK, names[1]+" is out of maintenance", "maintenance", "off", names[1])
	stop()
	p = mustStart(t, "-c", r.config)
	wantSaid(exitOK, "All backends are in sync", "status")
	stop()
}

// Maintenance that cannot be saved takes effect all the same, and whoever asked for it is told that it will not last (R14).
func TestR14MaintenanceThatCannotBeSaved(t *testing.T) {
	r := newStoresRig(t, "")
	p := mustStart(t, "-c", r.config)
	testkit.MustDo(t, os.Mkdir(filepath.Join(r.dataDir, "maintenance.json"), 0o700)) // nothing can be written there
	for _, word := range []string{"on", "off"} {
		exit, stdout, stderr := runArgs("maintenance", word, r.names()[1], "-c", r.config)
		if exit != exitOK || !strings.Contains(stdout, "maintenance") || !strings.Contains(stderr, "akubra: warning: a restart will forget this: cannot save the state of maintenance: ") {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", word, exit, stdout, stderr)
		}
	}
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
}

// Maintenance that leaves too few backends for WriteAck is warned of (R3, R14).
func TestR14MaintenanceThatLeavesTooFew(t *testing.T) {
	r := newStoresRig(t, "WriteAck: quorum\n")
	p := mustStart(t, "-c", r.config)
	exit, _, stderr := runArgs("maintenance", "on", r.names()[1], "-c", r.config)
	if exit != exitOK || !strings.Contains(stderr, `akubra: warning: WriteAck: with "quorum" 2 of the 2 backends have to take a write`) {
		t.Errorf("exit code %d, stderr %q", exit, stderr)
	}
	if exit, _, stderr := runArgs("maintenance", "off", r.names()[1], "-c", r.config); exit != exitOK || stderr != "" {
		t.Errorf("and its end: exit code %d, stderr %q", exit, stderr)
	}
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
}

// status says why a backend fails, and what is pending for it (R36).
func TestR36StatusCommand(t *testing.T) {
	r := newStoresRig(t, "")
	p := mustStart(t, "-c", r.config)
	names := r.names()
	r.stores[1].Stop()
	testkit.MustSend(t, "PUT", "http://"+p.Addr()+"/bkt/k", "content")
	testkit.Eventually(t, "status says what is wrong", func() bool {
		exit, stdout, _ := runArgs("status", "-c", r.config)
		return exit == exitOK && strings.Contains(stdout, "Of 2 backends, "+names[1]+" does not answer; 1 key behind at "+names[1]+", oldest ") &&
			strings.Contains(stdout, names[1]+" fails: it refuses connections") && strings.Contains(stdout, "connection refused")
	})
	var s proxyStatus
	exit, stdout, _ := runArgs("status", "--json", "-c", r.config)
	testkit.MustDo(t, json.Unmarshal([]byte(stdout), &s))
	if exit != exitOK || !s.Ready || s.Journal.Backends[names[1]] != 1 || !s.Backends[1].Health.Silent {
		t.Errorf("exit code %d, %+v", exit, s)
	}
	// The others are not in maintenance, but that is no proof that they answer.
	if exit, _, stderr := runArgs("maintenance", "on", names[0], "-c", r.config); exit != exitOK || !strings.Contains(stderr, "warning: no backend in the pool answers: clients get 503") {
		t.Errorf("maintenance of the last one that answers: exit code %d, %q", exit, stderr)
	}
	if exit, _, stderr := runArgs("maintenance", "off", names[0], "-c", r.config); exit != exitOK || stderr != "" {
		t.Errorf("and its end: exit code %d, %q", exit, stderr)
	}
	r.restart(1)
	// --watch shows it repeatedly, until it is stopped.
	watched, signals := testkit.NewTranscript(), make(chan os.Signal)
	ended := make(chan int, 1)
	go func() {
		c := &cli{version: testVersion, stdout: watched, stderr: watched, signals: signals}
		ended <- c.run([]string{"status", "--watch", "-c", r.config})
	}()
	testkit.Eventually(t, "it is over", func() bool {
		return strings.Contains(watched.String(), "1 key behind at "+names[1]+", oldest ") &&
			strings.Contains(watched.String(), ", now over: ")
	})
	signals <- syscall.SIGINT
	if exit := testkit.Receive(t, "the end of the command", ended); exit != exitOK {
		t.Errorf("exit code %d", exit)
	}
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
}

// R36: akubra status warns of a certificate that expires soon, whoever shows it.
func TestR36StatusWarnsOfCertificates(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var s proxyStatus
	testkit.MustDo(t, json.Unmarshal([]byte(`{"certificates": [
		{"use": "listener", "key": "TLS", "until": "2026-01-15T00:00:00Z"}, {"use": "listener", "key": "TLS", "until": "2026-01-17T00:00:00Z"},
		{"use": "backend", "key": "a:1", "until": "2026-01-01T00:00:00Z"}, {"use": "ca", "key": "TLS.Backends", "until": "2026-01-03T00:00:00Z"},
		{"use": "client", "key": "BackendTLS[0]", "until": "2026-01-03T00:00:00Z"}, {"use": "of a later version", "until": "2026-01-03T00:00:00Z"}]}`), &s))
	var out strings.Builder
	s.write(&out, now)
	var got []string
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "warning: ") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := []string{
		"warning: the certificate that clients see (TLS) expires on 2026-01-15T00:00:00Z", "warning: the certificate of backend a:1 expired on 2026-01-01T00:00:00Z",
		"warning: an authority for the backends' certificates (TLS.Backends) expires on 2026-01-03T00:00:00Z",
		"warning: the certificate that backends see (BackendTLS[0]) expires on 2026-01-03T00:00:00Z",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestConfigAndVersionCommands(t *testing.T) {
	var out, errs bytes.Buffer
	c := &cli{version: testVersion, example: "Listen: x\n", stdout: &out, stderr: &errs}
	if exit := c.run([]string{"config"}); exit != exitOK || out.String() != "Listen: x\n" {
		t.Errorf("exit code %d, %q", exit, out.String())
	}
	exit, stdout, _ := runArgs("version")
	if exit != exitOK || !strings.HasPrefix(stdout, "akubra "+testVersion+"\ngo") || !strings.Contains(stdout, "/") {
		t.Errorf("exit code %d, %q", exit, stdout)
	}
}

func TestCompletion(t *testing.T) {
	for shell := range completions {
		if exit, stdout, stderr := runArgs("completion", shell); exit != exitOK || stdout != completions[shell] || stderr != "" {
			t.Errorf("%s: exit code %d, %q, %q", shell, exit, stdout, stderr)
		}
		bin, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		cmd := exec.Command(bin, "-n")
		cmd.Stdin = strings.NewReader(completions[shell])
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s does not take it: %v, %s", shell, err, out)
		}
	}
	if exit, _, stderr := runArgs("completion", "tcsh"); exit != exitWrong || !strings.Contains(stderr, "must be one of bash, fish, zsh") {
		t.Errorf("exit code %d, %q", exit, stderr)
	}
	// What the scripts ask for.
	for args, want := range map[string]string{"": "maintenance", "-c f": "status", "maintenance": "off", "check --": "--online", "completion": "fish"} {
		reader, writer, err := os.Pipe() // kingpin writes to the process's own stdout
		testkit.MustDo(t, err)
		stdout := os.Stdout
		os.Stdout = writer
		runArgs(append([]string{"--completion-bash"}, strings.Fields(args)...)...)
		os.Stdout = stdout
		testkit.MustDo(t, writer.Close())
		got, err := io.ReadAll(reader)
		testkit.MustDo(t, err, reader.Close())
		if !strings.Contains(string(got), want) {
			t.Errorf("%q: %q, want %q among it", args, got, want)
		}
	}
}

// TestCompletionOfZshAtTheFirstTab: zsh takes a file of fpath for the function's body, so the first
// call has to complete, too, and not only define.
func TestCompletionOfZshAtTheFirstTab(t *testing.T) {
	zsh, err := exec.LookPath("zsh")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	testkit.MustDo(t, os.WriteFile(filepath.Join(dir, "_akubra"), []byte(completions["zsh"]), 0o600))
	cmd := exec.Command(zsh, "-f", "-c", `fpath=($1); autoload -Uz _akubra; compadd() { print -r -- $matches }
akubra() { print -l journal status }; words=(akubra jou) CURRENT=2; _akubra`, "zsh", dir)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "journal status\n" {
		t.Errorf("%v, %q", err, out)
	}
}

// TestManualPage: the page contains every command, and every flag of each.
func TestManualPage(t *testing.T) {
	page := strings.ReplaceAll(testkit.MustReadFile(t, "../../docs/akubra.1"), `\-`, "-")
	look := func(command []string) {
		_, help, _ := runArgs(append(command, "--help")...)
		for _, word := range strings.Fields(help) {
			flag, _, _ := strings.Cut(strings.Replace(strings.Trim(word, ",."), "[no-]", "", 1), "=")
			if strings.HasPrefix(flag, "--") && !strings.HasPrefix(flag, "--help-") && !strings.Contains(page, flag) {
				t.Errorf("no %s of %q", flag, command)
			}
		}
		if name := strings.Join(command, " "); name != "" && !strings.Contains(page, ".B "+name+"\n") && !strings.Contains(page, `.BI "`+name+" ") {
			t.Errorf("no %q", name)
		}
	}
	for _, command := range []string{
		"", "serve", "check", "status", "maintenance on", "maintenance off", "repair", "verify", "journal list", "journal stats",
		"journal export", "journal show", "journal dump", "resolve", "config", "version", "man", "completion", "demo",
	} {
		look(strings.Fields(command))
	}
	if bin, err := exec.LookPath("groff"); err == nil {
		if out, err := exec.Command(bin, "-man", "-ww", "-z", "../../docs/akubra.1").CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("groff: %v %s", err, out)
		}
	}
}
