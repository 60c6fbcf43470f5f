package cli

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

func startDemo(t *testing.T, more ...string) (p *process, dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, backend := range []string{"first", "second"} { // an address that stays free while the backend is stopped
		testkit.MustDo(t, os.MkdirAll(filepath.Join(dir, backend), 0o700))
		testkit.MustDo(t, os.WriteFile(filepath.Join(dir, backend, "address"), []byte(testkit.MustFreeAddr(t)), 0o600))
	}
	return mustStart(t, append([]string{"demo", "--dir", dir, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, more...)...), dir
}

// put stores an object through the proxy and waits until no backend is working on it any more.
func (p *process) put(t *testing.T, key, body string) {
	t.Helper()
	testkit.MustSend(t, "PUT", "http://"+p.Addr()+"/demo/"+key, body)
	testkit.Eventually(t, "nothing in flight", func() bool { return p.InFlight() == 0 })
}

func (p *process) typeLine(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

// wantObject checks the place where the screen says the objects are.
func wantObject(t *testing.T, dir, backend, key, want string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, backend, "buckets", "demo", key))
	if err != nil || string(got) != want {
		t.Errorf("%s has %q, %v in the %s backend; want %q", key, got, err, backend, want)
	}
}

func wantNoObject(t *testing.T, dir, backend, key string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, backend, "buckets", "demo", key)); !os.IsNotExist(err) {
		t.Errorf("%s is in the %s backend: %v", key, backend, err)
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	p, dir := startDemo(t)
	p.put(t, "both", "one")
	for _, backend := range []string{"first", "second"} {
		wantObject(t, dir, backend, "both", "one")
		if want := filepath.Join(dir, backend, "buckets", "demo"); !strings.Contains(p.stdout.String(), want+"\n") {
			t.Errorf("no %q on the screen", want)
		}
	}
	if want := fmt.Sprintf("--endpoint-url http://%s s3 cp ", p.Addr()); !strings.Contains(p.stdout.String(), want) {
		t.Errorf("no %q on the screen: %s", want, p.stdout)
	}
	if strings.Contains(p.stdout.String(), "synclog: ") {
		t.Errorf("all is well, and yet: %s", p.stdout)
	}

	p.typeLine(t, "2")
	p.stdout.WaitFor(t, ") is stopped:")
	p.put(t, "one", "two")
	p.stdout.WaitFor(t, `synclog: {"ts":`)
	p.stdout.WaitFor(t, `"path":"/demo/one","failedhost":"`+strings.TrimPrefix(p.Config.Backends[1], "http://"))
	wantObject(t, dir, "first", "one", "two")
	wantNoObject(t, dir, "second", "one")

	p.typeLine(t, "what?")
	p.typeLine(t, "2")
	p.stdout.WaitFor(t, ") is started:")
	p.stdout.WaitFor(t, `"op":"resolved"`)
	wantObject(t, dir, "second", "one", "two")
	p.put(t, "both", "three")
	wantObject(t, dir, "first", "both", "three")
	wantObject(t, dir, "second", "both", "three")

	p.typeLine(t, "1")
	p.typeLine(t, "q")
	p.wantExit(t, exitOK)
	if p.stderr.String() != "" {
		t.Errorf("stderr: %s", p.stderr)
	}
}

func TestDemoBreak(t *testing.T) {
	t.Parallel()
	p, dir := startDemo(t, "--break", "first")
	if !strings.Contains(p.stdout.String(), filepath.Join(dir, "first", "buckets", "demo")+"  (stopped)\n") {
		t.Errorf("screen: %s", p.stdout)
	}
	for i := range p.Config.FailureLimit {
		p.put(t, fmt.Sprint(i), "x")
	}
	p.stdout.WaitFor(t, "backend demoted")
	p.put(t, "one", "x")
	p.stdout.WaitFor(t, `"error":"demoted"`)
	p.typeLine(t, "1")
	p.stdout.WaitFor(t, "backend is back in the pool")
	testkit.Eventually(t, "the first backend has what it missed", func() bool { return p.JournalStatus().Pending == 0 })
	wantObject(t, dir, "first", "one", "x")
	p.put(t, "both", "x")
	wantObject(t, dir, "first", "both", "x")
	testkit.MustDo(t, p.stdin.Close()) // like a service: nobody types
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)

	// What the backends held is still there the next time.
	p = mustStart(t, "demo", "--dir", dir, "--listen", "127.0.0.1:0", "--admin", "")
	if got := testkit.MustSend(t, "GET", "http://"+p.Addr()+"/demo/both", ""); got != "x" {
		t.Errorf("got %q", got)
	}
	p.signals <- syscall.SIGINT
	p.wantExit(t, exitOK)
}

func TestDemoCannotStart(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.MustDo(t, err)
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	testkit.MustDo(t, os.WriteFile(file, nil, 0o600))
	for _, c := range []struct {
		dir, listen, admin string
		exit               int
		want               string
	}{
		{t.TempDir(), taken.Addr().String(), "127.0.0.1:0", exitFailed, "Choose another address with --listen HOST:PORT"},
		{t.TempDir(), "127.0.0.1:0", taken.Addr().String(), exitFailed, "or --admin HOST:PORT"},
		{t.TempDir(), "everywhere", "127.0.0.1:0", exitWrong, `Listen: "everywhere" is not allowed, must be host:port`},
		{file, "127.0.0.1:0", "127.0.0.1:0", exitFailed, `akubra: cannot create backend "` + file + `/first": `},
	} {
		exit, stdout, stderr := runArgs("demo", "--dir", c.dir, "--listen", c.listen, "--admin", c.admin)
		if exit != c.exit || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("exit code %d, stdout %q, stderr %q; want %d, %q", exit, stdout, stderr, c.exit, c.want)
		}
	}
}
