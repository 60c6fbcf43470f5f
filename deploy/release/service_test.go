package release

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take on a busy machine.
const patience = 2 * time.Minute

// unit is what a unit's file says, by "Section.Key".
type unit map[string][]string

func mustReadUnit(t *testing.T, name string) unit {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("/usr/lib/systemd/system", name))
	must(t, err)
	u, section := unit{}, ""
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
		} else if key, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			u[section+"."+key] = append(u[section+"."+key], value)
		}
	}
	return u
}

func (u unit) one(t *testing.T, key string) string {
	t.Helper()
	if len(u[key]) != 1 {
		t.Fatalf("%s= is %q", key, u[key])
	}
	return u[key][0]
}

// manager stands in for systemd, which does not run where tests do: it holds akubra.socket's socket
// and starts the service in the way that its unit says, as its user, confined alike. A systemctl
// that the package's scripts find before the real one asks it.
type manager struct {
	t      *testing.T
	socket *os.File
	addr   string
	notify *net.UnixConn
	env    []string // for whoever is to find this systemctl
	// install is the command that installs a package, and that keeps a changed configuration.
	install []string
	out     transcript

	mu      sync.Mutex
	service *exec.Cmd // nil while it does not run
	ended   chan struct{}
	asked   []string
}

// transcript is what several processes say.
type transcript struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all.String()
}

func newManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{t: t}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	m.addr = listener.Addr().String()
	m.socket, err = listener.(*net.TCPListener).File()
	must(t, err, listener.Close())
	// The notices' address is an abstract one: the service's user may not enter the test's folders.
	m.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: fmt.Sprintf("@akubra-deploy-%d", os.Getpid()), Net: "unixgram"})
	must(t, err)

	control, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := &http.Server{Handler: http.HandlerFunc(m.control)}
	go func() { _ = server.Serve(control) }() // ends with Close
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nexec curl -fsS --data \"$*\" http://%s/\n", control.Addr())
	must(t, os.WriteFile(filepath.Join(dir, "systemctl"), []byte(script), 0o755))
	path := dir + ":" + os.Getenv("PATH")
	m.env = append(os.Environ(), "PATH="+path, "DEBIAN_FRONTEND=noninteractive")
	m.install = []string{"apt-get", "-o", "DPkg::Path=" + path, "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Options::=--force-confold", "install", "-y", "--no-install-recommends"}
	// By this the scripts know that systemd runs.
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		must(t, os.MkdirAll("/run/systemd/system", 0o755))
		t.Cleanup(func() { _ = os.Remove("/run/systemd/system") })
	}
	t.Cleanup(func() {
		m.stop()
		_, _, _ = server.Close(), m.socket.Close(), m.notify.Close()
		if t.Failed() {
			t.Logf("the service said:\n%s", m.out.String())
		}
	})
	return m
}

// control is what the scripts ask of systemctl.
func (m *manager) control(_ http.ResponseWriter, r *http.Request) {
	args, _ := io.ReadAll(r.Body)
	m.mu.Lock()
	m.asked = append(m.asked, string(args))
	running := m.service != nil
	m.mu.Unlock()
	switch string(args) {
	case "try-restart akubra.service":
		if running {
			m.stop()
			m.start()
		}
	case "--no-reload disable --now akubra.socket akubra-admin.socket akubra.service":
		m.stop()
	case "kill --signal=HUP akubra.service":
		m.signal(syscall.SIGHUP)
	}
}

// takeAsked gives what the scripts have asked since the last time.
func (m *manager) takeAsked() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	asked := m.asked
	m.asked = nil
	return asked
}

// start starts the service and waits until it says that it is ready.
func (m *manager) start() {
	u := mustReadUnit(m.t, "akubra.service")
	account, err := user.Lookup(u.one(m.t, "Service.User"))
	must(m.t, err)
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	var writable []string
	for _, d := range []struct{ key, in string }{{"State", "/var/lib"}, {"Logs", "/var/log"}} {
		dir := filepath.Join(d.in, u.one(m.t, "Service."+d.key+"Directory"))
		mode, err := strconv.ParseUint(u.one(m.t, "Service."+d.key+"DirectoryMode"), 8, 32)
		must(m.t, err, os.MkdirAll(dir, 0o700), os.Chmod(dir, os.FileMode(mode)), os.Chown(dir, uid, gid))
		writable = append(writable, dir)
	}
	capability := strings.ToLower(strings.TrimPrefix(u.one(m.t, "Service.AmbientCapabilities"), "CAP_"))
	// A container may be bound to less files than the unit asks for.
	script := "set -e; umask " + u.one(m.t, "Service.UMask") + "; ulimit -n " + u.one(m.t, "Service.LimitNOFILE") + " 2>/dev/null || ulimit -n $(ulimit -H -n)\n"
	if u.one(m.t, "Service.ProtectSystem") != "strict" {
		m.t.Error("ProtectSystem= is not strict")
	}
	mounts := "cd /\n"
	for _, dir := range writable {
		mounts += "mount --bind " + dir + " " + dir + "\n"
	}
	mounts += "mount -o remount,bind,ro /\ncd " + u.one(m.t, "Service.WorkingDirectory") + "\n"
	run := "export LISTEN_PID=$$\n" + // the same process to the end
		"exec setpriv --reuid " + account.Uid + " --regid " + account.Gid + " --clear-groups --no-new-privs --inh-caps=-all,+" + capability +
		" --ambient-caps=-all,+" + capability + " --bounding-set=-all,+" + capability + " -- " + u.one(m.t, "Service.ExecStart")
	cmd := exec.Command("unshare", "--mount", "sh", "-c", script+mounts+run)
	cmd.Env = []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=akubra.socket", "NOTIFY_SOCKET=" + m.notify.LocalAddr().String(), "PATH=/usr/bin:/bin:/usr/sbin:/sbin"}
	cmd.ExtraFiles = []*os.File{m.socket}
	cmd.Stdout, cmd.Stderr = &m.out, &m.out
	must(m.t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	m.mu.Lock()
	m.service, m.ended = cmd, ended
	m.mu.Unlock()

	await(m.t, "the service is ready", func() bool {
		select {
		case <-ended:
			m.t.Fatalf("the service ended: %v", cmd.ProcessState)
		default:
		}
		notice := make([]byte, 4096)
		_ = m.notify.SetReadDeadline(time.Now().Add(time.Second))
		n, err := m.notify.Read(notice)
		return err == nil && slices.Contains(strings.Split(string(notice[:n]), "\n"), "READY=1")
	})
}

func (m *manager) signal(s os.Signal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.service != nil {
		_ = m.service.Process.Signal(s)
	}
}

// stop ends the service and waits for that.
func (m *manager) stop() {
	m.mu.Lock()
	cmd, ended := m.service, m.ended
	m.service = nil
	m.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
		if !cmd.ProcessState.Success() {
			m.t.Errorf("the service ended: %v", cmd.ProcessState)
		}
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		m.t.Error("the service does not end")
	}
}

// pid is the service's process.
func (m *manager) pid() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.service == nil {
		m.t.Fatal("the service does not run")
	}
	return m.service.Process.Pid
}

// run gives what a command says, where systemctl is the manager's.
func (m *manager) run(args ...string) string {
	m.t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = m.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// await waits until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(50 * time.Millisecond) // polling: what is waited for is another process
	}
}

// stores are two S3 storages: the demo's, which check no signatures.
func stores(t *testing.T, binary string) []string {
	t.Helper()
	dir := t.TempDir()
	ctx, end := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "demo", "--dir", dir, "--listen", "127.0.0.1:0", "--admin", "")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	must(t, cmd.Start())
	t.Cleanup(func() { end(); _ = cmd.Wait() })
	found := map[string]string{}
	await(t, "the stores run", func() bool {
		for _, name := range []string{"first", "second"} {
			addr, err := os.ReadFile(filepath.Join(dir, name, "address"))
			if err != nil {
				continue
			}
			if answer, err := http.Get("http://" + string(addr) + "/demo"); err == nil {
				_ = answer.Body.Close()
				found[name] = string(addr)
			}
		}
		return len(found) == 2
	})
	return slices.Sorted(maps.Values(found))
}

// load puts objects until it is stopped, each over a connection of its own, and counts.
type load struct {
	end  chan struct{}
	done sync.WaitGroup
	mu   sync.Mutex
	acks []string
	errs []error
}

func startLoad(addr string) *load {
	l := &load{end: make(chan struct{})}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	for worker := range 2 {
		l.done.Go(func() {
			// Each of them has to be repaired later: not more than is needed.
			for i, tick := 0, time.Tick(100*time.Millisecond); ; i++ {
				select {
				case <-l.end:
					return
				case <-tick:
				}
				key := fmt.Sprintf("/demo/load/%d-%d", worker, i)
				err := put(client, "http://"+addr+key, strings.NewReader(key), len(key))
				l.mu.Lock()
				if l.errs = append(l.errs, err); err == nil {
					l.acks = append(l.acks, key)
				}
				l.mu.Unlock()
			}
		})
	}
	return l
}

func put(client *http.Client, url string, body io.Reader, size int) error {
	r, err := http.NewRequest(http.MethodPut, url, body)
	if err != nil {
		return err
	}
	r.ContentLength = int64(size)
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	if answer.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("PUT %s: %s", url, answer.Status))
	}
	return err
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acks)
}

// stop gives the keys that were acknowledged, and what failed.
func (l *load) stop() ([]string, error) {
	close(l.end)
	l.done.Wait()
	return l.acks, errors.Join(l.errs...)
}
