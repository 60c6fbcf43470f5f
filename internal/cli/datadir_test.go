package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/internal/ledger/ledgertest"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/journal"
)

// statusOf is the status of the response to a request.
func statusOf(t *testing.T, method, url string) int {
	t.Helper()
	status, _, err := testkit.Send(method, url, "")
	testkit.MustDo(t, err)
	return status
}

// Whatever takes the journal's files away from the process stops writes, and only a restart allows
// them again.
func TestR23DataDirIsGone(t *testing.T) {
	for _, c := range []struct {
		name     string
		do, back func(dir string) error
		what     string
	}{
		{
			"renamed", func(dir string) error { return os.Rename(dir, dir+".old") },
			func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Rename(dir+".old", dir)) }, "directory",
		},
		{"deleted", os.RemoveAll, nil, "directory"},
		{"lock deleted", func(dir string) error { return os.Remove(dir + "/journal/lock") }, nil, "lock file"},
		{"table deleted", func(dir string) error { return os.Remove(dir + "/journal/" + journal.InflightName) }, nil, "file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newStoresRig(t, "")
			logFile := filepath.Join(filepath.Dir(r.config), "main.log")
			t.Setenv("AKUBRA_LOGGING_MAINLOG_FILE", logFile)
			p := mustStart(t, "-c", r.config)
			url := "http://" + p.Addr() + "/bkt/k"
			testkit.MustSend(t, "PUT", url, "before")
			testkit.MustDo(t, c.do(r.dataDir))
			testkit.Eventually(t, "writes are refused", func() bool { return statusOf(t, "PUT", url) == http.StatusServiceUnavailable })
			testkit.MustSend(t, "GET", url, "")
			if got := testkit.MustSend(t, "GET", "http://"+p.AdminAddr()+"/metrics", ""); !strings.Contains(got, "akubra_journal_failed 1") {
				t.Error("the metrics do not tell")
			}
			log := func() string { return testkit.MustReadFile(t, logFile) }
			testkit.Eventually(t, "the log tells", func() bool { return strings.Contains(log(), "the journal is gone") })
			if c.back != nil { // a second proxy may be running in the first one's place
				t.Setenv("AKUBRA_ADMINLISTEN", "127.0.0.1:0")
				second := mustStart(t, "-c", r.config)
				testkit.MustSend(t, "PUT", "http://"+second.Addr()+"/bkt/k", "second")
				second.signals <- syscall.SIGTERM
				second.wantExit(t, exitOK)
				testkit.MustDo(t, c.back(r.dataDir))
			}
			if got := statusOf(t, "DELETE", url); got != http.StatusServiceUnavailable {
				t.Errorf("DELETE is answered %d", got)
			}
			p.signals <- syscall.SIGTERM
			p.wantExit(t, exitOK)
			if n := strings.Count(log(), "the journal is gone"); n != 1 || !strings.Contains(log(), fmt.Sprintf(`: failed: %s \"%s`, c.what, r.dataDir)) {
				t.Errorf("it is told %d times: %s", n, log())
			}

			p = mustStart(t, "-c", r.config)
			testkit.MustSend(t, "PUT", "http://"+p.Addr()+"/bkt/k", "after")
			p.signals <- syscall.SIGTERM
			p.wantExit(t, exitOK)
		})
	}
}

// Whatever root does to the journal of another user's proxy, the proxy can still open everything.
func TestRootLeavesTheJournalToItsOwner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	const uid, gid = 1234, 4321
	for _, args := range [][]string{
		{"repair"}, {"repair", "--dry-run"}, {"verify", "--bucket", "bkt", "--journal"}, {"synclog", "list"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			r := newStoresRig(t, "")
			r.put(0, "missed", "hello")
			r.put(0, "other", "hello")
			r.journaled(func(n *ledger.NamedJournal) { ledgertest.MustPromise(t, n, "PUT", "bkt", "missed", 0b10, "stalled") })
			testkit.MustDo(t, os.Remove(filepath.Join(r.dataDir, "journal", "lock")))
			give := func(path string, _ fs.DirEntry, err error) error { return errors.Join(err, os.Lchown(path, uid, gid)) }
			testkit.MustDo(t, filepath.WalkDir(r.dataDir, give))
			exit, _, stderr := runArgs(append(args, "-c", r.config)...)
			if exit == exitWrong || strings.Contains(stderr, "cannot") {
				t.Errorf("exit code %d, stderr %q", exit, stderr)
			}
			files := 0
			testkit.MustDo(t, filepath.WalkDir(r.dataDir, func(path string, d fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				info, err := d.Info()
				if err != nil {
					return err
				}
				if s, ok := info.Sys().(*syscall.Stat_t); !ok || s.Uid != uid || s.Gid != gid {
					t.Errorf("%s belongs to %d:%d", path, s.Uid, s.Gid)
				}
				files++
				return nil
			}))
			if args[0] != "synclog" && files < 5 { // two directories, lock, table, and two segments, or one if they were merged
				t.Errorf("%d files", files)
			}
		})
	}
}

// A DataDir that others can change is refused by every command that would use it (R21).
func TestR21DataDirOfOthers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(dir string) error
		want string // %s is DataDir
	}{
		{"all may write", func(dir string) error { return os.Chmod(dir, 0o777) }, `all users may write to "%s" (drwxrwxrwx): chmod o-w, or use a directory below it`},
		{"a link in it", func(dir string) error {
			return errors.Join(os.Rename(dir+"/journal", dir+"/moved"), os.Symlink("moved", dir+"/journal"))
		}, `"%s/journal" is a symbolic link: put the directory itself there`},
		{"a file is a link", func(dir string) error {
			return errors.Join(os.Remove(dir+"/journal/lock"), os.Symlink("/dev/null", dir+"/journal/lock"))
		}, `"%s/journal/lock" is a symbolic link: put the file itself there`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newStoresRig(t, "")
			r.journaled(func(*ledger.NamedJournal) {})
			testkit.MustDo(t, c.do(r.dataDir))
			want := fmt.Sprintf(r.config+":2: DataDir: %q is not allowed, must be a directory of the proxy's own: "+c.want+"\n", r.dataDir, r.dataDir)
			for _, args := range [][]string{{"check"}, {"serve"}, {"repair"}, {"synclog", "list"}} {
				exit, _, stderr := runArgs(append(args, "-c", r.config)...)
				if exit != exitWrong || stderr != want {
					t.Errorf("%q: exit code %d, stderr %q, want %q", args, exit, stderr, want)
				}
			}
		})
	}
}

// A start that fails reports the cause first, and nothing that merely follows from it.
func TestServeFailsInItsOwnWords(t *testing.T) {
	t.Parallel()
	config := writeServeConfig(t, testkit.NewBackend(t, testkit.Hello), "")
	dir := filepath.Dir(config)
	table := filepath.Join(dir, "data", "journal", journal.InflightName)
	testkit.MustDo(t, os.MkdirAll(filepath.Dir(table), 0o700), os.WriteFile(filepath.Join(dir, "precious"), nil, 0o600),
		os.Link(filepath.Join(dir, "precious"), table)) // which writing the table would overwrite
	exit, _, stderr := runArgs("-c", config)
	if exit != exitFailed || !strings.HasPrefix(stderr, "akubra: cannot open the journal (DataDir: ") || !strings.Contains(stderr, "cannot open the table of writes in flight: ") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit code %d, stderr %q", exit, stderr)
	}
	if got := testkit.MustReadFile(t, filepath.Join(dir, "main.log")); strings.Count(got, "\n") != 1 || !strings.Contains(got, "cannot open the table of writes in flight") {
		t.Errorf("log: %s", got)
	}
}

// If writes are to go on regardless of the journal, they do.
func TestR23WritesGoOnWithoutAJournal(t *testing.T) {
	r := newStoresRig(t, "")
	t.Setenv("AKUBRA_ONJOURNALERROR", "continue")
	p := mustStart(t, "-c", r.config)
	url := "http://" + p.Addr() + "/bkt/k"
	testkit.MustSend(t, "PUT", url, "before")
	testkit.MustDo(t, os.RemoveAll(r.dataDir))
	testkit.Eventually(t, "the journal has failed", func() bool {
		return strings.Contains(testkit.MustSend(t, "GET", "http://"+p.AdminAddr()+"/metrics", ""), "akubra_journal_failed 1")
	})
	if got := statusOf(t, "PUT", url); got != http.StatusOK {
		t.Errorf("PUT is answered %d", got)
	}
	if got := statusOf(t, "DELETE", url); got/100 != 2 {
		t.Errorf("DELETE is answered %d", got)
	}
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
}
