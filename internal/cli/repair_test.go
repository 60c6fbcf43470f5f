package cli

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/akubra/akubra/internal/demo"
	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/internal/ledger/ledgertest"
	"github.com/akubra/akubra/internal/remote"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog"
	"github.com/akubra/akubra/synclog/task"
)

// notToBeShown is the secret in the configurations of these tests.
const notToBeShown = "s3cr3t/with+odd=signs"

// storesRig is two S3 stores, and a configuration for a proxy in front of them.
type storesRig struct {
	t       *testing.T
	stores  []*demo.Backend
	config  string
	dataDir string
}

func newStoresRig(t *testing.T, more string) *storesRig {
	t.Helper()
	r := &storesRig{t: t}
	dir := t.TempDir()
	var urls []string
	for _, name := range []string{"first", "second"} {
		s, err := demo.NewBackend(name, dir, "bkt")
		if err == nil {
			s.Addr = testkit.MustFreeAddr(t) // reserved while it is stopped, too
			err = s.Start()
		}
		testkit.MustDo(t, err)
		t.Cleanup(s.Stop)
		r.stores = append(r.stores, s)
		urls = append(urls, "http://"+s.Addr)
	}
	if !strings.Contains(more, "Repair:") { // it would be at it before the test is
		more += "Repair: {Enabled: false}\n"
	}
	r.config, r.dataDir = writeCommandConfig(t, urls, fmt.Sprintf(
		"Listen: 127.0.0.1:0\nAdminListen: %s\nCredentials: {AccessKey: AK, SecretKey: %s}\n%s", testkit.MustFreeAddr(t), notToBeShown, more))
	return r
}

// restart starts a backend again. It stops before the test's goroutines are counted.
func (r *storesRig) restart(store int) {
	r.t.Helper()
	testkit.MustDo(r.t, r.stores[store].Start())
	r.t.Cleanup(r.stores[store].Stop)
}

func (r *storesRig) names() []string { return []string{r.stores[0].Addr, r.stores[1].Addr} }

// put stores an object on one backend only.
func (r *storesRig) put(store int, key, body string) {
	r.t.Helper()
	testkit.MustSend(r.t, "PUT", "http://"+r.stores[store].Addr+"/bkt/"+key, body)
}

func (r *storesRig) get(store int, key string) string {
	r.t.Helper()
	status, body, err := testkit.Send("GET", "http://"+r.stores[store].Addr+"/bkt/"+key, "")
	switch {
	case err != nil:
		r.t.Fatal(err)
	case status == http.StatusNotFound:
		return "(none)"
	case status != http.StatusOK:
		return fmt.Sprint(status)
	}
	return body
}

func (r *storesRig) wantBoth(key, want string) {
	r.t.Helper()
	for i := range r.stores {
		if got := r.get(i, key); got != want {
			r.t.Errorf("%s is %q in the %s store, want %q", key, got, r.stores[i].Name, want)
		}
	}
}

// resolved are the keys that the synclog reports as back in sync.
func (r *storesRig) resolved() (keys []string) {
	r.t.Helper()
	for line := range strings.Lines(testkit.MustReadFile(r.t, filepath.Join(filepath.Dir(r.config), "sync.log"))) {
		record, err := synclog.ParseRecord([]byte(line))
		testkit.MustDo(r.t, err)
		if record.Op == ledger.OpResolved {
			keys = append(keys, record.Key)
		}
	}
	return keys
}

// journaled prepares the journal as a proxy leaves it.
func (r *storesRig) journaled(do func(n *ledger.NamedJournal)) {
	r.t.Helper()
	n := ledgertest.MustOpen(r.t, r.dataDir, r.names()...)
	do(n)
	testkit.MustDo(r.t, n.Journal.Close())
}

func TestRepair(t *testing.T) {
	t.Parallel()
	r := newStoresRig(t, "")
	_, stderr := mustRun(t, exitFailed, "repair", "-c", r.config)
	if !strings.HasPrefix(stderr, "akubra: there is no journal in ") {
		t.Errorf("stderr %q", stderr)
	}

	r.put(0, "missed", "hello")
	r.put(0, "gone", "x")
	r.put(0, "same", "y")
	r.put(1, "same", "y")
	r.journaled(func(n *ledger.NamedJournal) {
		ledgertest.MustOwe(t, n, "PUT", "bkt", "missed", 0b10)
		ledgertest.MustOwe(t, n, "DELETE", "bkt", "gone", 0b01)
		ledgertest.MustOwe(t, n, "PUT", "bkt", "same", 0b10)
	})

	stdout, stderr := mustRun(t, exitFailed, "repair", "--dry-run", "-c", r.config)
	if !strings.Contains(stdout, "bkt/missed: ") || !strings.Contains(stdout, "would repair 3 of 3 keys (1 copied, 1 deleted, 1 equal already)") {
		t.Errorf("stdout:\n%s\nstderr:\n%s", stdout, stderr)
	}
	if got := r.get(1, "missed"); got != "(none)" {
		t.Errorf("the dry run has copied %q", got)
	}

	stdout, stderr = mustRun(t, exitOK, "repair", "-c", r.config)
	if !strings.HasPrefix(stdout, "repaired 3 of 3 keys (1 copied, 1 deleted, 1 equal already), 5 B sent\n") || strings.Contains(stdout, "left") {
		t.Errorf("stdout:\n%s\nstderr:\n%s", stdout, stderr)
	}
	r.wantBoth("missed", "hello")
	r.wantBoth("gone", "(none)")
	r.wantBoth("same", "y")
	if got := strings.Join(r.resolved(), " "); got != "missed gone same" && len(r.resolved()) != 3 {
		t.Errorf("resolved: %q", got)
	}
	if stdout, _ = mustRun(t, exitOK, "repair", "--once", "-c", r.config); !strings.HasPrefix(stdout, "repaired 0 of 0 keys") {
		t.Errorf("again: %s", stdout)
	}
}

func TestRepairLeavesSomething(t *testing.T) {
	t.Parallel()
	r := newStoresRig(t, "ConnectionDialTimeout: 100ms\nConnectionTimeout: 1s\n")
	r.put(0, "missed", "hello")
	r.journaled(func(n *ledger.NamedJournal) { ledgertest.MustOwe(t, n, "PUT", "bkt", "missed", 0b10) })
	r.stores[1].Stop()
	stdout, stderr := mustRun(t, exitFailed, "repair", "-c", r.config)
	if !strings.Contains(stdout, "repaired 0 of 1 key ") || !strings.Contains(stdout, "left: 1 key (") {
		t.Errorf("stdout:\n%s\nstderr:\n%s", stdout, stderr)
	}
	stdout, _ = mustRun(t, exitOK, "synclog", "stats", "-c", r.config)
	if !strings.Contains(stdout, "       1 pending\n") || !strings.Contains(stdout, r.stores[1].Addr) {
		t.Errorf("stats:\n%s", stdout)
	}
	r.restart(1)
	mustRun(t, exitOK, "repair", "--parked", "-c", r.config)
	r.wantBoth("missed", "hello")
}

func TestRepairNeedsCredentials(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	config, dataDir := writeCommandConfig(t, []string{"http://a:9000", "http://b:9000"}, "")
	ledgertest.MustOpen(t, dataDir, "a:9000", "b:9000")
	for _, args := range [][]string{{"repair", "-c", config}, {"verify", "--bucket", "bkt", "-c", config}} {
		_, stderr := mustRun(t, exitWrong, args...)
		if !strings.Contains(stderr, `Credentials: no keys for backend "http://a:9000"; set `) || !strings.Contains(stderr, `"http://b:9000"`) {
			t.Errorf("%q: stderr %s", args, stderr)
		}
		if args[0] == "repair" && !strings.Contains(stderr, "akubra journal export") {
			t.Errorf("%q: stderr %s", args, stderr)
		}
	}
}

// The journal belongs to the proxy while it runs; repair asks the proxy.
func TestRepairBesideProxy(t *testing.T) {
	t.Parallel()
	r := newStoresRig(t, "ConnectionDialTimeout: 1s\n")
	p := mustStart(t, "-c", r.config)
	r.stores[1].Stop()
	for i := range 5 {
		p.putObject(t, fmt.Sprint("k", i), "hello")
	}
	r.restart(1)
	testkit.Eventually(t, "both stores are in the pool", func() bool { return len(p.Out()) == 0 })
	stdout, stderr := mustRun(t, exitOK, "repair", "-c", r.config)
	if !strings.HasPrefix(stdout, "repaired 5 of 5 keys (5 copied, 0 deleted, 0 equal already)") {
		t.Errorf("stdout:\n%s\nstderr:\n%s", stdout, stderr)
	}
	if list, _ := mustRun(t, exitOK, "synclog", "list", "--json", "-c", r.config); list != "" {
		t.Errorf("the files have, right after repair: %s", list)
	}
	for i := range 5 {
		r.wantBoth(fmt.Sprint("k", i), "hello")
	}
	if got := r.resolved(); len(got) != 5 {
		t.Errorf("resolved: %q", got)
	}
	if s := p.JournalStatus(); s.Pending != 0 || s.Repairing {
		t.Errorf("journal %+v", s)
	}
	stdout, _ = mustRun(t, exitOK, "verify", "--bucket", "bkt", "-c", r.config)
	if stdout != "" {
		t.Errorf("differences: %s", stdout)
	}
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
}

// putObject writes through the proxy and waits for all legs.
func (p *process) putObject(t *testing.T, key, body string) {
	t.Helper()
	testkit.MustSend(t, "PUT", "http://"+p.Addr()+"/bkt/"+key, body)
	testkit.Eventually(t, "nothing in flight", func() bool { return p.InFlight() == 0 })
}

func TestRepairInTheProxy(t *testing.T) {
	t.Parallel()
	r := newStoresRig(t, "ConnectionDialTimeout: 1s\nRepair: {Enabled: true}\n")
	p := mustStart(t, "-c", r.config)
	r.stores[1].Stop()
	p.putObject(t, "k", "hello")
	r.restart(1)
	testkit.Eventually(t, "it is repaired", func() bool { return p.JournalStatus().Pending == 0 })
	r.wantBoth("k", "hello")
	testkit.Eventually(t, "the synclog tells", func() bool { return len(r.resolved()) == 1 })
	status, metrics, err := testkit.Send("GET", "http://"+p.AdminAddr()+"/metrics", "")
	if err != nil || status != http.StatusOK {
		t.Fatal(status, err)
	}
	testkit.WantSamples(t, testkit.MustParseMetrics(t, metrics), map[string]float64{
		`akubra_repair_repaired_total`:                                  1,
		`akubra_repair_bytes_total`:                                     5,
		`akubra_journal_pending{backend="` + r.stores[1].Addr + `"}`:    0,
		`akubra_repair_backend_out{backend="` + r.stores[0].Addr + `"}`: 0,
		`akubra_journal_failed`:                                         0,
		`akubra_journal_oldest_seconds`:                                 0,
		`akubra_divergences_total{backend="` + r.stores[1].Addr + `",op="storing",reason="failed"}`: 1,
		`akubra_backend_up{backend="` + r.stores[0].Addr + `"}`:                                     1,
		`akubra_legs_total{backend="` + r.stores[1].Addr + `",outcome="failed"}`:                    1,
	})
	_, text, err := testkit.Send("GET", "http://"+p.AdminAddr()+"/status", "")
	if err != nil || !strings.Contains(text, `"resolved": 1`) {
		t.Errorf("status %s, %v", text, err)
	}
	for _, said := range []string{text, metrics, testkit.MustReadFile(t, filepath.Join(filepath.Dir(r.config), "sync.log"))} {
		if strings.Contains(said, notToBeShown[:6]) {
			t.Errorf("the secret is in %s", said)
		}
	}
	if _, stderr := mustRun(t, exitFailed, "repair", "-c", r.config); !strings.Contains(stderr, "the proxy repairs by itself") {
		t.Errorf("beside it: %s", stderr)
	}
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
}

func TestRepairFollows(t *testing.T) {
	t.Parallel()
	r := newStoresRig(t, "")
	p := mustStart(t, "-c", r.config)
	stdout, stderr := testkit.NewTranscript(), testkit.NewTranscript()
	signals, exit := make(chan os.Signal), make(chan int, 1)
	c := &cli{stdin: strings.NewReader(""), stdout: stdout, stderr: stderr, signals: signals}
	go func() { exit <- c.run([]string{"repair", "--follow", "-c", r.config}) }()
	testkit.Eventually(t, "repair has come", func() bool { return p.JournalStatus().Repairing })
	r.put(0, "k", "hello")
	mustAdd(t, p, &task.Task{
		Bucket: "bkt", Key: "k", Writes: []task.Write{{Aspect: task.Found, Owed: []string{r.stores[1].Addr}, Reason: "failed"}},
	})
	testkit.Eventually(t, "it is repaired", func() bool { return p.JournalStatus().Pending == 0 })
	r.wantBoth("k", "hello")
	signals <- syscall.SIGHUP
	signals <- syscall.SIGINT
	if code := testkit.Receive(t, "the end of repair", exit); code != exitOK || !strings.HasPrefix(stdout.String(), "repaired 1 key (1 copied") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if p.JournalStatus().Repairing {
		t.Error("the session is left")
	}
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
}

// mustAdd adds a difference to the journal of a running proxy.
func mustAdd(t *testing.T, p *process, task *task.Task) {
	t.Helper()
	client := remote.NewClient(p.AdminAddr(), func(err error) { t.Error(err) })
	defer client.Close()
	testkit.MustDo(t, client.Add(task))
}

// tasksOf are what a running proxy has to repair.
func tasksOf(t *testing.T, p *process) (all []task.Task) {
	t.Helper()
	client := remote.NewClient(p.AdminAddr(), func(err error) { t.Error(err) })
	defer client.Close()
	for cursor := uint64(0); ; {
		task, next, ok, err := client.Next(cursor)
		testkit.MustDo(t, err)
		if !ok {
			return all
		}
		all, cursor = append(all, task), next
	}
}

func TestRepairCannotReachTheProxy(t *testing.T) {
	r := newStoresRig(t, "")
	ledgertest.MustOpen(t, r.dataDir, r.names()...)
	_, stderr := mustRun(t, exitFailed, "repair", "-c", r.config)
	if !strings.HasPrefix(stderr, "akubra: cannot open the journal (DataDir: ") || !strings.Contains(stderr, "cannot reach the proxy at AdminListen (http://127.0.0.1:") {
		t.Errorf("stderr %q", stderr)
	}

	// A proxy other than the one that has the journal.
	other := newStoresRig(t, "")
	p := mustStart(t, "-c", other.config)
	t.Setenv("AKUBRA_ADMINLISTEN", p.AdminAddr())
	for _, args := range [][]string{{"repair", "-c", r.config}, {"repair", "--dry-run", "-c", r.config}} {
		_, stderr = mustRun(t, exitFailed, args...)
		if !strings.Contains(stderr, "is this the configuration of the running proxy?") {
			t.Errorf("%q: stderr %q", args, stderr)
		}
	}
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
	t.Setenv("AKUBRA_ADMINLISTEN", "")
	_, stderr = mustRun(t, exitFailed, "repair", "-c", r.config)
	if !strings.Contains(stderr, "a running proxy has to be asked, and there is no AdminListen to reach it at") {
		t.Errorf("stderr %q", stderr)
	}
}

func TestServeNeedsTheJournal(t *testing.T) {
	r := newStoresRig(t, "")
	r.journaled(func(n *ledger.NamedJournal) {
		exit, _, stderr := runArgs("-c", r.config)
		if exit != exitFailed || !strings.HasPrefix(stderr, "akubra: cannot open the journal (DataDir: ") || !strings.Contains(stderr, fmt.Sprint(os.Getpid())) {
			t.Errorf("exit code %d, stderr %q", exit, stderr)
		}
	})
	t.Setenv("AKUBRA_DATADIR", filepath.Join(r.config, "x")) // below a file
	exit, _, stderr := runArgs("-c", r.config)
	if exit != exitWrong || !strings.HasPrefix(stderr, "DataDir (from AKUBRA_DATADIR): ") || !strings.HasSuffix(stderr, "not a directory\n") {
		t.Errorf("exit code %d, stderr %q", exit, stderr)
	}
	t.Setenv("AKUBRA_ONJOURNALERROR", "continue") // concerns later failures only
	if exit, _, _ := runArgs("-c", r.config); exit != exitWrong {
		t.Errorf("exit code %d", exit)
	}
}

// A start that fails, or a repair that cannot run, must leave the journal to others.
func TestServeGivesTheJournalBack(t *testing.T) {
	r := newStoresRig(t, "Repair: {Enabled: true}\n")
	t.Setenv("AKUBRA_CREDENTIALS_ACCESSKEY", "")
	t.Setenv("AKUBRA_CREDENTIALS_SECRETKEY", "")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	exit, _, stderr := runArgs("-c", r.config)
	if exit != exitWrong || !strings.HasPrefix(stderr, "Credentials: no keys for backend ") {
		t.Errorf("exit code %d, stderr %q", exit, stderr)
	}
	ledgertest.MustOpen(t, r.dataDir, r.names()...)
}

// What is pending for a backend that was removed from the configuration is kept, and reported.
func TestServeTellsWhoIsGone(t *testing.T) {
	t.Parallel()
	r := newStoresRig(t, "")
	n := ledgertest.MustOpen(t, r.dataDir, r.stores[0].Addr, "gone:9000")
	ledgertest.MustOwe(t, n, "PUT", "bkt", "k", 0b10)
	testkit.MustDo(t, n.Journal.Close())
	p := mustStart(t, "-c", r.config)
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
	log := testkit.MustReadFile(t, filepath.Join(filepath.Dir(r.config), "main.log"))
	if !strings.Contains(log, `"backends":["gone:9000"],"keys":1,`) {
		t.Errorf("log: %s", log)
	}
	if stdout, _ := mustRun(t, exitOK, "synclog", "list", "-c", r.config); !strings.Contains(stdout, "gone:9000") {
		t.Errorf("list: %s", stdout)
	}
	if stdout, _ := mustRun(t, exitOK, "repair", "-c", r.config); !strings.HasPrefix(stdout, "repaired 0 of 0 keys") {
		t.Errorf("repair: %s", stdout)
	}
}
