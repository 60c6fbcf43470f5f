// Package release tests what a release consists of. It has only tests; deploy/test.sh runs them, as
// root on a Debian, on what deploy/release.sh has made: DIST is that folder. They install the
// package on this machine, and remove it again.
package release

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// must ends the test at the first error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// mustFind gives the one file of the release that matches.
func mustFind(t *testing.T, pattern string) string {
	t.Helper()
	dist := os.Getenv("DIST")
	if dist == "" {
		t.Fatal("no DIST: run deploy/test.sh")
	}
	found, err := filepath.Glob(filepath.Join(dist, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%q are %q (%v), want one", pattern, found, err)
	}
	return found[0]
}

// mustRun gives what a command says.
func mustRun(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// TestChecksums: what INSTALL.md says about them, and none is missing.
func TestChecksums(t *testing.T) {
	sums := mustFind(t, "sha256sums")
	cmd := exec.Command("sha256sum", "--check", "--strict", "sha256sums")
	cmd.Dir = filepath.Dir(sums)
	out, err := cmd.CombinedOutput()
	files, _ := filepath.Glob(filepath.Join(cmd.Dir, "*"))
	if err != nil || strings.Count(string(out), ": OK\n") != len(files)-1 {
		t.Errorf("%v, and %d files\n%s", err, len(files), out)
	}
}

// TestSBOM: each binary's names the modules that Go has linked into it.
func TestSBOM(t *testing.T) {
	for _, platform := range []string{"linux-amd64", "linux-arm64", "darwin-arm64"} {
		var bom struct {
			BOMFormat  string
			Components []struct{ Name, Version string }
		}
		content, err := os.ReadFile(mustFind(t, "akubra-*-"+platform+".cdx.json"))
		must(t, err, json.Unmarshal(content, &bom))
		has := map[string]bool{}
		for _, c := range bom.Components {
			has[c.Name+" "+c.Version] = true
		}
		deps := 0
		for line := range strings.Lines(mustRun(t, "go", "version", "-m", mustFind(t, "akubra-*-"+platform))) {
			if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "dep" {
				if deps++; !has[fields[1]+" "+fields[2]] {
					t.Errorf("%s: no %s %s", platform, fields[1], fields[2])
				}
			}
		}
		if deps < 10 || bom.BOMFormat != "CycloneDX" {
			t.Errorf("%s: %d modules, %q", platform, deps, bom.BOMFormat)
		}
	}
}

// TestUnit: systemd has nothing to say against the units, and finds the service well confined.
func TestUnit(t *testing.T) {
	root := t.TempDir() // as they are installed
	mustRun(t, "dpkg-deb", "--extract", mustFind(t, "akubra_*_"+runtime.GOARCH+".deb"), root)
	units, err := filepath.Glob(filepath.Join(root, "usr/lib/systemd/system/*"))
	if err != nil || len(units) != 3 {
		t.Fatalf("units %q (%v)", units, err)
	}
	for _, unit := range units { // a unit's program has to be there
		content, err := os.ReadFile(unit)
		must(t, err)
		content = []byte(strings.ReplaceAll(string(content), "/usr/bin/akubra", root+"/usr/bin/akubra"))
		must(t, os.WriteFile(unit, content, 0o644))
	}
	if out := mustRun(t, "systemd-analyze", append([]string{"verify", "--man=no"}, units...)...); out != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	mustRun(t, "systemd-analyze", "security", "--offline=yes", "--threshold=20", filepath.Join(root, "usr/lib/systemd/system/akubra.service"))
}

// TestLintian: errors are fatal, warnings are shown.
func TestLintian(t *testing.T) {
	t.Log(mustRun(t, "lintian", "--allow-root", "--fail-on", "error", mustFind(t, "akubra_*_"+runtime.GOARCH+".deb")))
}

// TestRPM looks at what there is no system here to install it on: files, owners, what counts as
// configuration, and the scripts.
func TestRPM(t *testing.T) {
	for arch, machine := range map[string]string{"x86_64": "x86_64", "aarch64": "aarch64"} {
		rpm := mustFind(t, "akubra-*."+arch+".rpm")
		dump := mustRun(t, "rpm", "-qp", "--queryformat", "%{arch}\n[%{filenames} %{filemodes:perms} %{fileusername} %{filegroupname} %{fileflags:fflags}\n]", rpm)
		if got, _, _ := strings.Cut(dump, "\n"); got != machine {
			t.Errorf("%s is for %s", rpm, got)
		}
		for _, want := range []string{
			"/usr/bin/akubra -rwxr-xr-x root root \n",
			"/etc/akubra drwxr-x--- root akubra \n",
			"/etc/akubra/akubra.yaml -rw-r----- root akubra cn\n",
			"/etc/logrotate.d/akubra -rw-r--r-- root root cn\n",
			"/usr/lib/systemd/system/akubra.service -rw-r--r-- root root \n",
			"/usr/lib/systemd/system/akubra.socket -rw-r--r-- root root \n",
			"/usr/share/man/man1/akubra.1.gz -rw-r--r-- root root \n",
			"/usr/share/bash-completion/completions/akubra -rw-r--r-- root root \n",
			"/usr/share/zsh/site-functions/_akubra -rw-r--r-- root root \n",
			"/usr/share/fish/vendor_completions.d/akubra.fish -rw-r--r-- root root \n",
			"/usr/share/doc/akubra/examples/sysctl.conf -rw-r--r-- root root \n",
			"/usr/share/doc/akubra/README.md -rw-r--r-- root root \n",
			"/usr/share/licenses/akubra/LICENSE -rw-r--r-- root root l\n",
		} {
			if !strings.Contains(dump, want) {
				t.Errorf("no %q in\n%s", want, dump)
			}
		}
		if about := mustRun(t, "rpm", "-qp", "--queryformat", "%{summary}\n%{description}", rpm); strings.Count(about, "S3 proxy that") != 1 {
			t.Errorf("%s says\n%s", rpm, about)
		}
		scripts := mustRun(t, "rpm", "-qp", "--scripts", rpm)
		for _, want := range []string{"preinstall scriptlet", "useradd --system", "postinstall scriptlet", "try-restart akubra.service", "preuninstall scriptlet", "postuninstall scriptlet"} {
			if !strings.Contains(scripts, want) {
				t.Errorf("no %q in\n%s", want, scripts)
			}
		}
	}
}
