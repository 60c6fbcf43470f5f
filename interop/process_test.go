package interop

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a server under test. It ends with the test that started it, and if
// this process dies, the kernel ends it.
type process struct {
	name     string
	graceful bool // must end with exit code 0 when told to (R22)
	killed   bool // by the test: its last words do not matter
	cmd      *exec.Cmd
	output   *tail
	done     chan struct{} // closed once it has ended
}

func startProcess(t *testing.T, binary string, env []string, args ...string) *process {
	t.Helper()
	p := &process{name: filepath.Base(binary), output: &tail{}, done: make(chan struct{})}
	p.cmd = exec.Command(binary, args...)
	p.cmd.Env = append(environment(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.WaitDelay = patience // for what it started itself, which may hold its output open
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("cannot start %s: %v", binary, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() { p.stop(t) })
	return p
}

// stop ends the process, and shows its last words if the test has failed.
func (p *process) stop(t *testing.T) {
	select {
	case <-p.done: // killed by the test, or by itself
	default:
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		_ = p.cmd.Process.Signal(syscall.SIGCONT) // if a test left it frozen
		select {
		case <-p.done:
		case <-time.After(patience):
			t.Errorf("%s did not end within %v of SIGTERM", p.name, patience)
			p.kill()
		}
		if code := p.cmd.ProcessState.ExitCode(); p.graceful && code != 0 {
			t.Errorf("%s ended with exit code %d", p.name, code)
		}
	}
	if t.Failed() && !p.killed {
		t.Logf("the last words of %s:\n%s", p.name, p.output)
	}
}

// kill ends it as a power cut would, and waits.
func (p *process) kill() {
	p.killed = true
	_ = p.cmd.Process.Kill()
	<-p.done
}

// freeze stops the process in its tracks: the kernel goes on taking connections and
// bytes for it, and it does nothing about them until thaw.
func (p *process) freeze(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatalf("cannot freeze %s: %v", p.name, err)
	}
	p.await(t, "it is frozen", func(context.Context) bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		_, rest, _ := strings.Cut(string(stat), ") ")
		return err == nil && strings.HasPrefix(rest, "T")
	})
}

func (p *process) thaw() { _ = p.cmd.Process.Signal(syscall.SIGCONT) }

// await waits until ok holds; it fails the test if the process ends meanwhile, or
// never gets there. last, if given, is what was seen last.
func (p *process) await(t *testing.T, what string, ok func(ctx context.Context) bool, last ...*string) {
	t.Helper()
	p.awaitFor(t, patience, what, ok, last...)
}

func (p *process) awaitFor(t *testing.T, most time.Duration, what string, ok func(ctx context.Context) bool, last ...*string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok(ctx) {
		select {
		case <-tick.C:
			continue
		case <-p.done:
			t.Fatalf("%s has ended, while waiting for: %s\n%s", p.name, what, p.output)
		case <-ctx.Done():
			for _, l := range last {
				what += ", last seen: " + *l
			}
			t.Fatalf("waited %v for: %s\n%s", most, what, p.output)
		}
	}
}

// tail keeps the last output of a process.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 8 << 10

func (b *tail) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf = append(b.buf, p...)
	if len(b.buf) > 2*tailSize {
		b.buf = append(b.buf[:0], b.buf[len(b.buf)-tailSize:]...)
	}
	return len(p), nil
}

func (b *tail) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(bytes.TrimSpace(b.buf))
}

// commandTime bounds one run of a client.
const commandTime = 3 * time.Minute

// result is what a client's run came to.
type result struct {
	output string // both streams, as they came
	code   int
}

// execute runs a client to its end.
func execute(t *testing.T, env []string, command string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, command, args...)
	cmd.Env = append(environment(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	output, err := cmd.CombinedOutput()
	if ctx.Err() != nil || cmd.ProcessState == nil {
		t.Fatalf("%s %q: %v (%v)\n%s", command, args, err, ctx.Err(), output)
	}
	return result{string(output), cmd.ProcessState.ExitCode()}
}

// mustExecute is for a run that has to succeed; it returns the output.
func mustExecute(t *testing.T, env []string, command string, args ...string) string {
	t.Helper()
	r := execute(t, env, command, args...)
	if r.code != 0 {
		t.Fatalf("%s %q: exit code %d\n%s", command, args, r.code, r.output)
	}
	return r.output
}

// environment is this process's own without what would lead a client elsewhere.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		upper := strings.ToUpper(name)
		if strings.HasSuffix(upper, "_PROXY") || strings.HasPrefix(upper, "AWS_") || strings.HasPrefix(upper, "AKUBRA") ||
			strings.HasPrefix(upper, "RCLONE_") || strings.HasPrefix(upper, "MINIO_") || strings.HasPrefix(upper, "VGW_") {
			continue
		}
		env = append(env, v)
	}
	return append(env, "LC_ALL=C.UTF-8")
}

// freeAddr is an address that nobody listens on at the moment. Its port is below
// those that the kernel gives to outgoing connections: whoever dials a stopped
// store again and again would once connect to itself.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(17000))
		if ln, err := net.Listen("tcp4", addr); err == nil {
			_ = ln.Close()
			return addr
		}
	}
	t.Fatal("found no free port")
	return ""
}

// hasAttributes reports whether files in dir can have extended attributes, in which
// versitygw keeps metadata.
func hasAttributes(dir string) bool {
	return syscall.Setxattr(dir, "user.interop", []byte("1"), 0) == nil
}

func mustMkdir(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func mustWrite(t *testing.T, file string, data []byte) {
	t.Helper()
	mustMkdir(t, filepath.Dir(file))
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
