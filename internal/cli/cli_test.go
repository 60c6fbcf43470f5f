package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/service"
	"github.com/akubra/akubra/internal/testkit"
)

const testVersion = "v1.2.3-test"

// runArgs is run for arguments with which it ends by itself.
func runArgs(args ...string) (exit int, stdout, stderr string) {
	var out, errs bytes.Buffer
	c := &cli{version: testVersion, stdin: strings.NewReader(""), stdout: &out, stderr: &errs, signals: make(chan os.Signal)}
	exit = c.run(args)
	return exit, out.String(), errs.String()
}

// process is a run that continues until it is stopped.
type process struct {
	*service.Proxy
	signals chan os.Signal // unbuffered: once a signal has been received, it is being handled
	stdin   *io.PipeWriter
	stdout  *testkit.Transcript
	stderr  *testkit.Transcript
	exit    chan int
}

// mustStart runs args until the proxy serves. The test must stop it.
func mustStart(t *testing.T, args ...string) *process {
	t.Helper()
	stdin, typed := io.Pipe()
	t.Cleanup(func() { _ = typed.Close() })
	p := &process{signals: make(chan os.Signal), stdin: typed, stdout: testkit.NewTranscript(), stderr: testkit.NewTranscript(), exit: make(chan int, 1)}
	started := make(chan *service.Proxy, 1)
	c := &cli{
		version: testVersion, stdin: stdin, stdout: p.stdout, stderr: p.stderr, signals: p.signals,
		started: func(p *service.Proxy) { started <- p },
	}
	go func() { p.exit <- c.run(args) }()
	select {
	case p.Proxy = <-started:
	case code := <-p.exit:
		t.Fatalf("%q ended with %d: %s", args, code, p.stderr)
	case <-time.After(testkit.Patience):
		t.Fatalf("%q does not start: %s", args, p.stderr)
	}
	return p
}

func (p *process) wantExit(t *testing.T, want int) {
	t.Helper()
	select {
	case got := <-p.exit:
		if got != want {
			t.Errorf("exit code %d, want %d; stderr: %s", got, want, p.stderr)
		}
	case <-time.After(testkit.Patience):
		t.Fatalf("it does not end; stderr: %s", p.stderr)
	}
}

// writeServeConfig writes a configuration for one backend, with ports that nobody else is given, also
// while the proxy does not run, and with logs in its own directory.
func writeServeConfig(t *testing.T, backend, more string) (path string) {
	t.Helper()
	dir := t.TempDir()
	path = filepath.Join(dir, "akubra.yaml")
	text := fmt.Sprintf(`
Listen: %s
AdminListen: %s
DataDir: %q
Backends: [%q]
Logging:
  Mainlog: {Stderr: false, File: %q}
  Synclog: {Stderr: false, File: %q}
%s`, testkit.MustFreeAddr(t), testkit.MustFreeAddr(t), filepath.Join(dir, "data"), backend, filepath.Join(dir, "main.log"), filepath.Join(dir, "sync.log"), more)
	testkit.MustDo(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestRunHelpAndVersion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args string
		want []string
	}{
		{"--version", []string{testVersion}},
		{"--help", []string{"-c, --conf=FILE", "serve*", "check", "demo", "journal list", "journal show", "resolve", "repair", "verify"}},
		{"help demo", []string{"--break=BACKEND", "--listen="}},
		{"repair --help", []string{"--once ", "--follow ", "--dry-run "}},
		{"verify --help", []string{"--bucket=BUCKET", "--prefix=PREFIX", "--deep ", "--journal "}},
		{"demo --help", []string{"--break=BACKEND", "--dir="}},
	} {
		exit, stdout, stderr := runArgs(strings.Fields(c.args)...)
		if exit != exitOK || stderr != "" {
			t.Errorf("%s: exit code %d, stderr %q", c.args, exit, stderr)
		}
		for _, want := range c.want {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s: no %q in %s", c.args, want, stdout)
			}
		}
	}
}

func TestRunWrongArguments(t *testing.T) {
	t.Parallel()
	none := filepath.Join(t.TempDir(), "none.yaml")
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "akubra: no configuration given: akubra -c FILE"},
		{[]string{"serve"}, "akubra: no configuration given"},
		{[]string{"check"}, "akubra: no configuration given"},
		{[]string{"-c"}, "akubra: no configuration given"},
		{[]string{"-c", none}, "akubra: cannot read configuration " + fmt.Sprintf("%q", none) + ": no such file or directory"},
		{[]string{"check", "-c", none}, "akubra: cannot read configuration"},
		{[]string{"dance"}, `akubra: cannot use the argument "dance": it is no command, or one too many (see akubra --help)`},
		{[]string{"akubra.yaml"}, `akubra: cannot use the argument "akubra.yaml": a configuration is given as -c FILE`},
		{[]string{"--loud"}, "akubra: unknown long flag '--loud'"},
		{[]string{"demo", "-c", none}, "akubra: demo has its own configuration"},
		{[]string{"synclog", "list"}, "akubra: no configuration given"},
		{[]string{"repair"}, "akubra: no configuration given"},
		{[]string{"verify", "--bucket", "b"}, "akubra: no configuration given"},
		{[]string{"verify"}, "akubra: no configuration given"},
		{[]string{"synclog", "dance", "-c", none}, `akubra: journal needs one of list, show, stats, export, dump, not "dance" (see akubra journal --help)`},
		{[]string{"maintenance"}, "akubra: maintenance needs one of on, off (see akubra maintenance --help)"},
		{[]string{"repair", "--sometimes"}, "akubra: unknown long flag '--sometimes'"},
		{[]string{"repair", "--once", "--follow", "-c", "../../config.yaml.example"}, "akubra: repair does not accept --once or --dry-run with --follow"},
		{[]string{"repair", "--dry-run", "--follow", "-c", "../../config.yaml.example"}, "akubra: repair does not accept --once or --dry-run with --follow"},
		{[]string{"demo", "--break", "third"}, `akubra: cannot use --break "third": must be one of first, second (see akubra --help)`},
		{[]string{"demo", "--break=third"}, `akubra: cannot use --break "third": must be one of first, second`},
		{[]string{"completion", "csh"}, `akubra: cannot use the argument "csh": must be one of bash, fish, zsh`},
		{[]string{"journal", "list", "--limit", "all"}, `akubra: cannot use --limit "all": must be a whole number`},
		{[]string{"journal", "list", "--limit", "1.9"}, `akubra: cannot use --limit "1.9": must be a whole number`},
		{[]string{"journal", "list", "--limit", "1e3"}, `akubra: cannot use --limit "1e3": must be a whole number`},
		{[]string{"journal", "list", "--limit", "-1"}, `akubra: --limit needs a value; one that begins with - is written --limit=VALUE`},
		{[]string{"check", "--bucket", "b", "-c", "../../config.yaml.example"}, "akubra: check takes --bucket and --read-only only with --online"},
		{[]string{"check", "--read-only", "-c", "../../config.yaml.example"}, "akubra: check takes --bucket and --read-only only with --online"},
	} {
		exit, stdout, stderr := runArgs(c.args...)
		if exit != exitWrong || stdout != "" || !strings.HasPrefix(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q", c.args, exit, stdout, stderr)
		}
	}
}

func TestR21EveryMistakeOnALineOfItsOwn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "wrong.yaml")
	testkit.MustDo(t, os.WriteFile(path, []byte("Lisen: :80\nBackends: [http://a]\nConnLimit: 0\nWriteAck: most\n"), 0o600))
	want := path + ":1: Lisen: unknown key, the nearest known one is Listen\n" +
		path + ":3: ConnLimit: 0 is not allowed, must be from 1 to 1000000, and at least the number of backends\n" +
		path + `:4: WriteAck: "most" is not allowed, must be one of first, quorum, all` + "\n"
	for _, args := range [][]string{{"check", "-c", path}, {"--conf", path, "check"}, {"-c", path}, {"serve", "-c", path}} {
		exit, stdout, stderr := runArgs(args...)
		if exit != exitWrong || stdout != "" || stderr != want {
			t.Errorf("%q: exit code %d, stdout %q, stderr\n%s", args, exit, stdout, stderr)
		}
	}
}

func TestCheckValid(t *testing.T) {
	t.Parallel()
	example, path := string(testkit.MustReadFile(t, "../../config.yaml.example")), filepath.Join(t.TempDir(), "akubra.yaml")
	for _, address := range []string{":8080", "127.0.0.1:8071"} { // somebody may listen there
		if !strings.Contains(example, address) {
			t.Fatalf("the example has no %s", address)
		}
		example = strings.Replace(example, address, "127.0.0.1:0", 1)
	}
	testkit.MustDo(t, os.WriteFile(path, []byte(example), 0o600))
	exit, stdout, stderr := runArgs("check", "-c", path)
	if exit != exitOK || stdout != path+": configuration is valid\n" || stderr != "akubra: warning: Repair: is OFF, since there are no Credentials: a backend never gets what it has missed, and objects uploaded in parts stay on one backend\n" {
		t.Errorf("exit code %d, stdout %q, stderr %q", exit, stdout, stderr)
	}
}

func TestServeUntilSignal(t *testing.T) {
	t.Parallel()
	config := writeServeConfig(t, testkit.NewBackend(t, testkit.Hello), "")
	for _, args := range [][]string{{"-c", config}, {"serve", "-c", config}} {
		for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			p := mustStart(t, args...)
			if got := testkit.MustSend(t, "GET", "http://"+p.Addr()+"/b/k", ""); got != "hello" {
				t.Errorf("answer %q", got)
			}
			testkit.MustSend(t, "GET", "http://"+p.AdminAddr()+"/health", "")
			p.signals <- signal
			p.wantExit(t, exitOK)
			if p.stdout.String() != "" || p.stderr.String() != "" {
				t.Errorf("stdout %q, stderr %q", p.stdout, p.stderr)
			}
			if c, err := net.Dial("tcp", p.Addr()); err == nil {
				c.Close()
				t.Error("it still listens")
			}
		}
	}
}

func TestServeReopensLogs(t *testing.T) {
	t.Parallel()
	config := writeServeConfig(t, testkit.NewBackend(t, testkit.Hello), "")
	log := filepath.Join(filepath.Dir(config), "main.log")
	p := mustStart(t, "-c", config)
	testkit.MustDo(t, os.Rename(log, log+".1"))
	p.signals <- syscall.SIGHUP
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
	if got := testkit.MustReadFile(t, log+".1"); !strings.Contains(got, "akubra is ready") || strings.Contains(got, "stopped") {
		t.Errorf("old log: %s", got)
	}
	if got := testkit.MustReadFile(t, log); !strings.Contains(got, "logs reopened") || !strings.Contains(got, "stopped") {
		t.Errorf("new log: %s", got)
	}
}

func TestServeCannotReopenLogs(t *testing.T) {
	t.Parallel()
	config := writeServeConfig(t, testkit.NewBackend(t, testkit.Hello), "")
	log := filepath.Join(filepath.Dir(config), "main.log")
	p := mustStart(t, "-c", config)
	testkit.MustDo(t, errors.Join(os.Rename(log, log+".1"), os.Mkdir(log, 0o700)))
	p.signals <- syscall.SIGHUP
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
	if got := testkit.MustReadFile(t, log+".1"); !strings.Contains(got, "cannot reopen logs") {
		t.Errorf("log: %s", got)
	}
}

func TestServeCannotStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.MustDo(t, err)
	defer taken.Close()
	t.Setenv("AKUBRA_LISTEN", taken.Addr().String())
	config := writeServeConfig(t, "http://127.0.0.1:9", "")
	exit, _, stderr := runArgs("-c", config)
	if want := fmt.Sprintf("akubra: cannot listen (Listen: %q): ", taken.Addr()); exit != exitFailed || !strings.HasPrefix(stderr, want) {
		t.Errorf("exit code %d, stderr %q", exit, stderr)
	}
	if got := testkit.MustReadFile(t, filepath.Join(filepath.Dir(config), "main.log")); !strings.Contains(got, "cannot listen") {
		t.Errorf("log: %s", got)
	}

	t.Setenv("AKUBRA_LOGGING_SYNCLOG_FILE", filepath.Join(config, "x.log"))
	exit, _, stderr = runArgs("-c", config)
	if exit != exitWrong || !strings.HasPrefix(stderr, "Logging.Synclog: cannot open log file ") {
		t.Errorf("exit code %d, stderr %q", exit, stderr)
	}
}

func TestServeListenerFails(t *testing.T) {
	t.Parallel()
	config := writeServeConfig(t, testkit.NewBackend(t, testkit.Hello), "")
	p := mustStart(t, "-c", config)
	p.Failed <- errors.New("out of luck")
	p.wantExit(t, exitFailed)
	if got := testkit.MustReadFile(t, filepath.Join(filepath.Dir(config), "main.log")); !strings.Contains(got, "out of luck") {
		t.Errorf("log: %s", got)
	}
}

// startBusy serves with one request in flight, which is answered when release is called.
func startBusy(t *testing.T) (p *process, config string, answer <-chan error, release func()) {
	t.Helper()
	arrived, free := make(chan struct{}), make(chan struct{})
	release = sync.OnceFunc(func() { close(free) })
	config = writeServeConfig(t, testkit.NewBackend(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-free
		testkit.Hello(w, r)
	}), "")
	t.Cleanup(release) // before the backend is closed, which waits for it
	p = mustStart(t, "-c", config)
	answered := make(chan error, 1)
	url := "http://" + p.Addr() + "/b/k"
	go func() {
		status, text, err := testkit.Send("GET", url, "")
		if err == nil && (status != http.StatusOK || text != "hello") {
			err = fmt.Errorf("answer %d %q", status, text)
		}
		answered <- err
	}()
	testkit.Receive(t, "the request at the backend", arrived)
	return p, config, answered, release
}

func TestR22StopFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	p, _, answer, release := startBusy(t)
	p.signals <- syscall.SIGTERM
	p.signals <- syscall.SIGHUP // received means that it is stopping, and still handles signals
	select {
	case code := <-p.exit:
		t.Fatalf("exit code %d with a request in flight", code)
	default:
	}
	release()
	if err := testkit.Receive(t, "the answer", answer); err != nil {
		t.Error(err)
	}
	p.wantExit(t, exitOK)
}

func TestR22SecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	p, config, answer, release := startBusy(t)
	p.signals <- syscall.SIGTERM
	p.signals <- syscall.SIGINT
	p.wantExit(t, exitFailed)
	got := testkit.MustReadFile(t, filepath.Join(filepath.Dir(config), "main.log"))
	if !strings.Contains(got, "second signal") || !strings.Contains(got, "the next start records the writes among them") {
		t.Errorf("log: %s", got)
	}
	release() // the process would be gone by now; here it finishes what it began
	if err := testkit.Receive(t, "the answer", answer); err != nil {
		t.Error(err)
	}
}
