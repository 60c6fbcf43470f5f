package release

import (
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const conf = "/etc/akubra/akubra.yaml"

// TestPackage is the package's whole life on this machine: installed, configured as its own file
// says, started as the unit says, used, its logs turned, upgraded under load, removed, purged.
func TestPackage(t *testing.T) {
	mustBeFree(t)
	deb := mustFind(t, "akubra_*_"+runtime.GOARCH+".deb")
	next := nextVersion(t, deb)
	m := newManager(t)
	_, err := user.Lookup("akubra")
	hadUser := err == nil
	t.Cleanup(func() {
		m.stop()
		_ = exec.Command("dpkg", "--purge", "akubra").Run() // as a test that failed has left it
		_, _ = os.RemoveAll("/var/lib/akubra"), os.RemoveAll("/var/log/akubra")
		if !hadUser {
			_ = exec.Command("userdel", "akubra").Run()
		}
	})

	t.Log("installing")
	said := m.run(append(m.install, deb)...)
	if !strings.Contains(said, "name the backends in "+conf) {
		t.Errorf("the installation does not say what to do next:\n%s", said)
	}
	if asked := m.takeAsked(); !slices.Equal(asked, []string{"--system daemon-reload"}) {
		t.Errorf("the installation asked %q: nothing may start before it is configured", asked)
	}
	wantFile(t, "/etc/akubra", "root:akubra drwxr-x---")
	wantFile(t, conf, "root:akubra -rw-r-----")
	wantFile(t, "/var/lib/akubra", "akubra:akubra drwx------")
	wantFile(t, "/var/log/akubra", "akubra:akubra drwxr-x---")
	if out, err := exec.Command("akubra", "check", "-c", conf).CombinedOutput(); err == nil || !strings.Contains(string(out), "Backends: ") {
		t.Errorf("check of what is not filled in: %v\n%s", err, out)
	}
	checkTexts(t, m)

	backends, admin := stores(t, "/usr/bin/akubra"), freeAddr(t)
	configure(t, backends, admin)
	m.run("runuser", "-u", "akubra", "--", "akubra", "check", "-c", conf, "--online", "--read-only")
	m.start()
	running := m.pid()
	checkConfined(t, running)

	t.Log("started")

	// Used, by a real client.
	aws := func(addr string, args ...string) string {
		return m.run(append([]string{"env", "AWS_ACCESS_KEY_ID=demo", "AWS_SECRET_ACCESS_KEY=demo", "AWS_DEFAULT_REGION=us-east-1",
			"aws", "--endpoint-url", "http://" + addr}, args...)...)
	}
	aws(m.addr, "s3", "cp", deb, "s3://demo/package.deb")
	want, err := os.ReadFile(deb)
	must(t, err)
	for _, addr := range backends {
		await(t, "the object is at "+addr, func() bool { return get(t, addr, "/demo/package.deb") == string(want) })
	}
	if got := aws(m.addr, "s3", "cp", "s3://demo/package.deb", "-"); got != string(want) {
		t.Errorf("read back: %d bytes, want %d", len(got), len(want))
	}

	// What a backend lacks, and a maintenance, which the upgrade has to keep.
	akubra := func(args ...string) string { return m.run(append([]string{"akubra", "-c", conf}, args...)...) }
	akubra("maintenance", "on", backends[1])
	must(t, put(http.DefaultClient, "http://"+m.addr+"/demo/owed", strings.NewReader("owed"), 4))
	await(t, "the journal has the key", func() bool { return strings.Contains(akubra("journal", "list"), "demo/owed") })
	checkLogrotate(t, m, running)
	before := mustReadFile(t, conf)

	t.Log("upgrading")
	m.takeAsked()
	l := startLoad(m.addr)
	await(t, "the load runs", func() bool { return l.count() > 20 })
	// One upload that begins before the upgrade and ends after the old proxy was told to stop.
	const begun, ended = "begun before, ", "ended after"
	reader, writer := io.Pipe()
	long := make(chan error, 1)
	go func() { long <- put(http.DefaultClient, "http://"+m.addr+"/demo/long", reader, len(begun+ended)) }()
	_, err = writer.Write([]byte(begun))
	must(t, err)
	upgrade := exec.Command(m.install[0], append(m.install[1:], next)...)
	upgrade.Env, upgrade.Stdout, upgrade.Stderr = m.env, &m.out, &m.out
	must(t, upgrade.Start())
	await(t, "the old proxy stops", func() bool { return !ready(admin) })
	_, err = writer.Write([]byte(ended))
	must(t, err, writer.Close())
	if err := <-long; err != nil {
		t.Errorf("an upload that was in flight: %v", err)
	}
	if err := upgrade.Wait(); err != nil {
		t.Errorf("the upgrade: %v", err)
	}
	t.Log("upgraded")
	n := l.count()
	await(t, "the new proxy serves", func() bool { return l.count() > n+20 })
	keys, err := l.stop()
	if err != nil {
		t.Errorf("requests failed during the upgrade: %v", err)
	}
	if asked := m.takeAsked(); !slices.Equal(asked, []string{"--system daemon-reload", "try-restart akubra.service"}) {
		t.Errorf("the upgrade asked %q", asked)
	}
	if m.pid() == running || !strings.Contains(m.run("akubra", "version"), "99.0.0") {
		t.Error("the proxy is still the old one")
	}
	if got := mustReadFile(t, conf); got != before {
		t.Errorf("the upgrade changed the configuration:\n%s", got)
	}
	wantFile(t, conf, "root:akubra -rw-r-----")
	if got := akubra("journal", "list"); !strings.Contains(got, "demo/owed") {
		t.Errorf("the upgrade lost the journal:\n%s", got)
	}
	if get(t, backends[1], "/demo/owed") != "" {
		t.Error("the upgrade ended the maintenance")
	}
	akubra("maintenance", "off", backends[1])
	for _, key := range append(keys, "/demo/owed", "/demo/long") {
		await(t, key+" is at both backends", func() bool {
			first := get(t, backends[0], key)
			return first != "" && get(t, backends[1], key) == first
		})
	}
	if got := get(t, backends[0], "/demo/long"); got != begun+ended {
		t.Errorf("the long upload is %q", got)
	}

	t.Logf("%d keys are at both backends", len(keys))

	m.run("dpkg", "--remove", "akubra")
	if asked := m.takeAsked(); !slices.Equal(asked, []string{"--no-reload disable --now akubra.socket akubra-admin.socket akubra.service", "--system daemon-reload"}) {
		t.Errorf("the removal asked %q", asked)
	}
	wantFile(t, "/usr/bin/akubra", "")
	wantFile(t, conf, "root:akubra -rw-r-----")
	wantFile(t, "/var/log/akubra/synclog.log", "akubra:akubra -rw-r-----")
	wantFile(t, "/var/lib/akubra/journal", "akubra:akubra drwx------")
	said = m.run("dpkg", "--purge", "akubra")
	if !strings.Contains(said, "left as it is: /var/lib/akubra") || strings.Contains(said, "left as it is: /etc/akubra") {
		t.Errorf("the purge does not say what it leaves, and only that:\n%s", said)
	}
	wantFile(t, "/etc/akubra", "")
	wantFile(t, "/var/log/akubra", "")
	wantFile(t, "/var/lib/akubra/journal", "akubra:akubra drwx------")
}

// TestRPMScripts runs the scripts as rpm does, beside a service that nobody has installed: which of
// them start, stop and reload something.
func TestRPMScripts(t *testing.T) {
	mustBeFree(t)
	m := newManager(t)
	_, err := user.Lookup("akubra")
	t.Cleanup(func() {
		_, _ = os.RemoveAll("/var/lib/akubra"), os.RemoveAll("/var/log/akubra")
		if err != nil {
			_ = exec.Command("userdel", "akubra").Run()
		}
	})
	for _, run := range []struct {
		script, arg string
		want        []string
	}{
		{"preinstall", "1", nil},
		{"preinstall", "2", nil},
		{"postinstall", "1", []string{"--system daemon-reload"}},
		{"postinstall", "2", []string{"--system daemon-reload", "try-restart akubra.service"}},
		{"preremove", "1", nil}, // the old package's, after an upgrade
		{"postremove", "1", nil},
		{"preremove", "0", []string{"--no-reload disable --now akubra.socket akubra-admin.socket akubra.service"}},
		{"postremove", "0", []string{"--system daemon-reload"}},
	} {
		m.run("sh", "../packages/"+run.script+".sh", run.arg)
		if asked := m.takeAsked(); !slices.Equal(asked, run.want) {
			t.Errorf("%s %s asked %q, want %q", run.script, run.arg, asked, run.want)
		}
		wantFile(t, "/var/lib/akubra", map[bool]string{true: "", false: "akubra:akubra drwx------"}[run.script == "preinstall"])
	}
}

// mustBeFree refuses a machine on which the tests would remove what is somebody's.
func mustBeFree(t *testing.T) {
	t.Helper()
	for _, path := range []string{"/usr/bin/akubra", "/etc/akubra", "/var/lib/akubra", "/var/log/akubra"} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Fatalf("there is %s, which this test would remove (%v)", path, err)
		}
	}
}

// nextVersion makes the next one of the package: its program and its configuration have changed.
func nextVersion(t *testing.T, deb string) string {
	t.Helper()
	dir := t.TempDir()
	mustRun(t, "dpkg-deb", "--raw-extract", deb, dir)
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version=v99.0.0", "-o", filepath.Join(dir, "usr/bin/akubra"), ".")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	control := filepath.Join(dir, "DEBIAN/control")
	must(t, os.WriteFile(control, regexp.MustCompile(`(?m)^Version: .*`).ReplaceAll([]byte(mustReadFile(t, control)), []byte("Version: 99.0.0-1")), 0o644))
	must(t, os.WriteFile(dir+conf, []byte(mustReadFile(t, dir+conf)+"# A new version's.\n"), 0o640))
	next := filepath.Join(t.TempDir(), "akubra_99.0.0-1.deb")
	mustRun(t, "dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "--build", dir, next)
	return next
}

// configure fills in what the package's file leaves open, and nothing else.
func configure(t *testing.T, backends []string, admin string) {
	t.Helper()
	text := mustReadFile(t, conf)
	for _, edit := range []struct{ from, to string }{
		{"#  - http://s3.first.example.com:9000", "  - http://" + backends[0]},
		{"#  - http://s3.second.example.com:9000", "  - http://" + backends[1]},
		{"#Credentials:", "Credentials:"},
		{"#  AccessKey: repair", "  AccessKey: demo"},
		{"#  SecretKey: secret", "  SecretKey: demo"},
		{"AdminListen: 127.0.0.1:8071", "AdminListen: " + admin}, // this one may be taken
		{`Listen: ":8080"`, `Listen: "127.0.0.1:0"`},             // the socket's counts
	} {
		if strings.Count(text, edit.from) != 1 {
			t.Fatalf("%s has no %q", conf, edit.from)
		}
		text = strings.Replace(text, edit.from, edit.to, 1)
	}
	must(t, os.WriteFile(conf, []byte(text), 0o640))
}

// checkTexts: manual page and completions are the program's own.
func checkTexts(t *testing.T, m *manager) {
	t.Helper()
	if got, want := m.run("zcat", "/usr/share/man/man1/akubra.1.gz"), mustReadFile(t, "../../docs/akubra.1"); got != want {
		t.Error("the manual page is another one")
	}
	for file, shell := range map[string]string{
		"bash-completion/completions/akubra": "bash", "zsh/vendor-completions/_akubra": "zsh", "fish/vendor_completions.d/akubra.fish": "fish",
	} {
		if mustReadFile(t, "/usr/share/"+file) != m.run("akubra", "completion", shell) {
			t.Errorf("%s is not what akubra completion %s prints", file, shell)
		}
	}
	for _, doc := range []string{"copyright", "README.md", "docs/OPERATIONS.md", "docs/overview.svg", "examples/config.yaml", "examples/sysctl.conf", "examples/prometheus/alerts.yaml", "examples/grafana/akubra.json", "third-party-licenses.gz", "changelog.gz"} {
		wantFile(t, "/usr/share/doc/akubra/"+doc, "root:root -rw-r--r--")
	}
	// Each module that is linked in has its license there.
	licenses := m.run("zcat", "/usr/share/doc/akubra/third-party-licenses.gz")
	for line := range strings.Lines(m.run("go", "version", "-m", "/usr/bin/akubra")) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "dep" && !strings.Contains(licenses, "==== "+fields[1]+" "+fields[2]+"\n") {
			t.Errorf("no license of %s", fields[1])
		}
	}
}

// checkConfined: the process is the user's, may do nothing more than bind a low port, and cannot
// write but where it has to.
func checkConfined(t *testing.T, pid int) {
	t.Helper()
	status := mustReadFile(t, fmt.Sprintf("/proc/%d/status", pid))
	account, err := user.Lookup("akubra")
	must(t, err)
	for _, want := range []string{"Uid:\t" + account.Uid, "Gid:\t" + account.Gid, "CapEff:\t0000000000000400", "CapBnd:\t0000000000000400", "NoNewPrivs:\t1", "Umask:\t0027"} {
		if !strings.Contains(status, want) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
}

// checkLogrotate turns the logs and looks whether the proxy writes to the new file.
func checkLogrotate(t *testing.T, m *manager, pid int) {
	t.Helper()
	const synclog = "/var/log/akubra/synclog.log"
	await(t, "the synclog has the key", func() bool { return strings.Contains(mustReadFile(t, synclog), `"demo"`) })
	m.takeAsked()
	m.run("logrotate", "--force", "--state", filepath.Join(t.TempDir(), "state"), "/etc/logrotate.d/akubra")
	if asked := m.takeAsked(); !slices.Equal(asked, []string{"kill --signal=HUP akubra.service"}) {
		t.Errorf("logrotate asked %q", asked)
	}
	if !strings.Contains(mustReadFile(t, synclog+".1"), `"owed"`) {
		t.Error("the old log is not what it was")
	}
	await(t, "the proxy opens the log again", func() bool {
		info, err := os.Stat(synclog)
		if err != nil {
			return false
		}
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		return slices.ContainsFunc(files, func(f string) bool {
			open, err := os.Stat(f)
			return err == nil && os.SameFile(open, info)
		})
	})
}

// wantFile compares owner, group and mode; "" is a file that must not be there.
func wantFile(t *testing.T, path, want string) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		if want != "" || !os.IsNotExist(err) {
			t.Errorf("%v, want %s", err, want)
		}
		return
	}
	if got := owner(t, info) + " " + info.Mode().String(); got != want {
		t.Errorf("%s is %s, want %q", path, got, want)
	}
}

func owner(t *testing.T, info fs.FileInfo) string {
	t.Helper()
	s := info.Sys().(*syscall.Stat_t)
	u, err := user.LookupId(fmt.Sprint(s.Uid))
	must(t, err)
	g, err := user.LookupGroupId(fmt.Sprint(s.Gid))
	must(t, err)
	return u.Username + ":" + g.Name
}

func mustReadFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	return string(content)
}

// freeAddr is an address that nobody listened on a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err, l.Close())
	return l.Addr().String()
}

// ready reports what a load balancer would be told.
func ready(admin string) bool {
	answer, err := http.Get("http://" + admin + "/ready")
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// get is an object's content; "" is none.
func get(t *testing.T, addr, path string) string {
	t.Helper()
	answer, err := http.Get("http://" + addr + path)
	must(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	must(t, err)
	if answer.StatusCode != http.StatusOK {
		return ""
	}
	return string(body)
}
