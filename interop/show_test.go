package interop

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestShow is the first hour of somebody who has a Debian and two storages: the package installed,
// its configuration filled in, the unit's ExecStart started, files uploaded with aws, a storage that
// dies, and the page on which the backlog grows, and shrinks until all is in sync again. The
// screenshots stay where TestPage's do.
func TestShow(t *testing.T) {
	t.Parallel()
	deb := os.Getenv("DEB")
	if deb == "" {
		t.Fatal("DEB is not set: start the tests by interop/run.sh, which builds the package")
	}
	shots := shotsDir(t)
	w := newStores(t, [2]string{versitygw, versitygw})
	in := install(t, deb)
	p := in.start(t, w)
	aws := func(args ...string) {
		t.Helper()
		mustExecute(t, awsEnvironment(w.dir), "aws", append([]string{"--endpoint-url", p.url, "s3"}, args...)...)
	}
	files := filepath.Join(w.dir, "files")
	const before, behind, more = 12, 10, 40
	for folder, n := range map[string]int{"before": before, "behind": behind, "more": more} {
		for i := range n {
			mustWrite(t, filepath.Join(files, folder, fmt.Sprintf("file-%02d", i)), content(uint64(i), 10_000))
		}
	}
	upload := func(folder string) {
		aws("cp", "--quiet", "--recursive", filepath.Join(files, folder), "s3://demo/"+folder)
	}
	aws("mb", "s3://demo")
	upload("before")

	b := newBrowser(t)
	b.open(p.admin + "/")
	b.until("it is in sync", inSync)
	b.until("it knows how long backends take", `[...document.querySelectorAll("#backends dd")].filter((e) => / m?s$/.test(e.textContent)).length >= 6`)
	b.shots(shots, "show-1-in-sync")
	b.noteCounts()

	w.stores[1].process.kill()
	upload("behind")
	b.until("the backlog grows", behindBy(behind))
	b.until("it shows the dead one", `document.querySelectorAll("#backends [data-tone=bad]").length === 1`)
	upload("more")
	b.until("the backlog grows further", behindBy(behind+more))
	b.shots(shots, "show-2-behind")

	w.stores[1].run(t)
	b.until("the backlog shrinks", fmt.Sprintf(`window.counts.some((n) => n > 0 && n < %d && window.counts.indexOf(%d) < window.counts.lastIndexOf(n))`, behind+more, behind+more))
	b.shots(shots, "show-3-shrinking")
	b.until("it is in sync again", inSync)
	b.shots(shots, "show-4-in-sync-again")
	b.until("nothing is wider than the page", `document.documentElement.scrollWidth <= innerWidth`)

	first, second := w.stores[0].snapshot(t, "demo"), w.stores[1].snapshot(t, "demo")
	if len(first) != before+behind+more || len(second) != len(first) {
		t.Errorf("the storages have %d and %d objects, want %d", len(first), len(second), before+behind+more)
	}
	for key, o := range first {
		if o.differs(second[key]) {
			t.Errorf("%s differs: %+v and %+v", key, o, second[key])
		}
	}
}

// installed is the package on this machine, or, where it may not be installed, its files.
type installed struct {
	root string   // "" is the machine's own
	as   []string // what runs a command as the service's user
}

// install installs the package as an administrator does, and takes it off at the end. It unpacks the
// package where it may not do that, or where there is an akubra that is somebody's.
func install(t *testing.T, deb string) installed {
	t.Helper()
	if os.Getuid() != 0 || inUse("/usr/bin/akubra", "/etc/akubra", "/var/lib/akubra", "/var/log/akubra") {
		in := installed{root: filepath.Join(t.TempDir(), "root")}
		mustExecute(t, nil, "dpkg-deb", "--extract", deb, in.root)
		t.Logf("%s is unpacked, not installed", deb)
		return in
	}
	_, err := user.Lookup("akubra")
	hadUser := err == nil
	t.Cleanup(func() {
		_ = exec.Command("dpkg", "--force-unsafe-io", "--purge", "akubra").Run()
		_, _ = os.RemoveAll("/var/lib/akubra"), os.RemoveAll("/var/log/akubra")
		if !hadUser {
			_ = exec.Command("userdel", "akubra").Run()
		}
	})
	mustExecute(t, []string{"DEBIAN_FRONTEND=noninteractive"}, "dpkg", "--force-unsafe-io", "--install", deb)
	t.Logf("%s is installed", deb)
	return installed{as: []string{"setpriv", "--reuid=akubra", "--regid=akubra", "--clear-groups", "--no-new-privs", "--"}}
}

func inUse(paths ...string) bool {
	return slices.ContainsFunc(paths, func(path string) bool {
		_, err := os.Lstat(path)
		return !errors.Is(err, fs.ErrNotExist)
	})
}

// start fills in what the package's configuration leaves open, and starts what the unit does. Repair
// has a pace at which it can be watched.
func (in installed) start(t *testing.T, w *world) *proxy {
	t.Helper()
	p := &proxy{addr: freeAddr(t), admin: "http://" + freeAddr(t)}
	p.url, p.config = "http://"+p.addr, in.root+"/etc/akubra/akubra.yaml"
	edits := []string{
		"#  - http://s3.first.example.com:9000", "  - " + w.url(0),
		"#  - http://s3.second.example.com:9000", "  - " + w.url(1),
		"#Credentials:", "Repair: {ObjectsPerSecond: 5}\nCredentials:",
		"#  AccessKey: repair", "  AccessKey: " + accessKey,
		"#  SecretKey: secret", "  SecretKey: " + secretKey,
		"AdminListen: 127.0.0.1:8071", "AdminListen: " + strings.TrimPrefix(p.admin, "http://"),
		`Listen: ":8080"`, "Listen: " + p.addr,
	}
	if in.root != "" {
		edits = append(edits, "DataDir: /var", "DataDir: "+in.root+"/var", "File: /var", "File: "+in.root+"/var")
		mustMkdir(t, in.root+"/var/log/akubra")
	}
	text := mustRead(t, p.config)
	for i := 0; i < len(edits); i += 2 {
		if strings.Count(text, edits[i]) != 1 {
			t.Fatalf("%s has no %q", p.config, edits[i])
		}
		text = strings.Replace(text, edits[i], edits[i+1], 1)
	}
	if err := os.WriteFile(p.config, []byte(text), 0o640); err != nil { // owner and mode stay
		t.Fatal(err)
	}

	_, line, ok := strings.Cut(mustRead(t, in.root+"/usr/lib/systemd/system/akubra.service"), "\nExecStart=")
	line, _, _ = strings.Cut(line, "\n")
	command := strings.Fields(line)
	if !ok || len(command) != 3 || command[2] != "/etc/akubra/akubra.yaml" {
		t.Fatalf("the unit starts %q", command)
	}
	command[0], command[2] = in.root+command[0], p.config
	check := append(slices.Clone(in.as), command[0], "check", "-c", p.config)
	mustExecute(t, nil, check[0], check[1:]...)
	command = append(slices.Clone(in.as), command...)
	p.process = startProcess(t, command[0], nil, command[1:]...)
	p.process.graceful = true
	p.await(t, "it is ready", func(s status) bool { return s.Ready })
	return p
}

func mustRead(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
