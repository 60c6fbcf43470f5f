package cli

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/internal/ledger/ledgertest"
	"github.com/akubra/akubra/internal/service"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/repair"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	r := newStoresRig(t, "ConnectionDialTimeout: 1s\n")
	for _, key := range []string{"p/one", "p/two", "three"} {
		r.put(0, key, "hello")
		r.put(1, key, "hello")
	}
	stdout, stderr := mustRun(t, exitOK, "verify", "--bucket", "bkt", "-c", r.config)
	if stdout != "" || !strings.Contains(stderr, "compared 3 keys: 0 differ (0 missing somewhere)\n") {
		t.Errorf("stdout %q, stderr %q", stdout, stderr)
	}
	r.put(0, "p/two", "other")
	r.put(1, "p/only here", "x")
	r.put(0, "three", "longer than that")
	stdout, stderr = mustRun(t, exitFailed, "verify", "--bucket", "bkt", "-c", r.config)
	lines := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
	if len(lines) != 3 || !strings.Contains(stderr, "compared 4 keys: 3 differ (1 missing somewhere)\n") {
		t.Fatalf("stdout\n%s\nstderr %q", stdout, stderr)
	}
	if !slices.IsSortedFunc(lines, func(a, b string) int { return strings.Compare(a[9:], b[9:]) }) {
		t.Errorf("out of order: %q", lines)
	}
	slices.Sort(lines)
	for i, want := range []string{"etag     bkt/p/two\t", "missing  bkt/p/only here\t" + r.stores[0].Addr + ": missing\t" + r.stores[1].Addr + ": 1 B ", "size     bkt/three\t"} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %q, want %q", lines[i], want)
		}
	}
	stdout, _ = mustRun(t, exitFailed, "verify", "--bucket", "bkt", "--prefix", "p/", "--deep", "--json", "-c", r.config)
	var kinds []string
	for line := range strings.Lines(stdout) {
		var d differenceJSON
		if err := json.Unmarshal([]byte(line), &d); err != nil || d.Bucket != "bkt" || len(d.Have) != 2 {
			t.Fatalf("%v in %q", err, line)
		}
		kinds = append(kinds, string(d.Key)+" "+d.Kind)
	}
	// A bucket that is missing is counted apart: no more keys differ than there are.
	testkit.MustSend(t, "PUT", "http://"+r.stores[0].Addr+"/other", "")
	_, stderr = mustRun(t, exitFailed, "verify", "--all", "-c", r.config)
	if !strings.Contains(stderr, "compared 4 keys: 3 differ (1 missing somewhere), 1 bucket missing somewhere\n") {
		t.Errorf("stderr %q", stderr)
	}
	if status, _, err := testkit.Send("DELETE", "http://"+r.stores[0].Addr+"/other", ""); err != nil || status != http.StatusNoContent {
		t.Fatal(status, err)
	}

	slices.Sort(kinds)
	if len(kinds) != 2 || kinds[0] != "p/only here missing" || !strings.HasPrefix(kinds[1], "p/two ") {
		t.Errorf("differences %q", kinds)
	}

	_, stderr = mustRun(t, exitWrong, "verify", "--bucket", "bkt", "--journal", "-c", r.config)
	if !strings.Contains(stderr, "there is no journal in ") {
		t.Errorf("stderr %q", stderr)
	}
	r.journaled(func(*ledger.NamedJournal) {})
	_, stderr = mustRun(t, exitFailed, "verify", "--all", "--journal", "--missing", "copy", "-c", r.config)
	if !strings.Contains(stderr, "3 differ (1 missing somewhere), 3 journaled\n") {
		t.Errorf("stderr %q", stderr)
	}
	conf, err := config.Load(r.config)
	testkit.MustDo(t, err)
	told, err := service.ReadVerified(conf)
	if err != nil || told == nil || !told.Complete || told.Compared != 4 || told.Differences != 3 || told.Errors != 0 || time.Since(told.Ended) > time.Hour {
		t.Errorf("the metrics are told %+v, %v", told, err)
	}
	// What is missing is copied; who is right of two that differ only a person knows.
	stdout, _ = mustRun(t, exitFailed, "repair", "-c", r.config)
	if !strings.HasPrefix(stdout, "repaired 1 of 3 keys (1 copied") || !strings.Contains(stdout, "2 parked") {
		t.Errorf("repair: %s", stdout)
	}
	r.wantBoth("p/only here", "x")
	for _, key := range []string{"p/two", "three"} {
		r.put(1, key, r.get(0, key))
	}
	mustRun(t, exitOK, "repair", "--parked", "-c", r.config)
	for _, args := range [][]string{{}, {"--all", "--bucket", "b"}, {"--bucket", "b", "--missing", "x"}, {"--nonsense"}} {
		mustRun(t, exitUsage, append(append([]string{"verify"}, args...), "-c", r.config)...)
	}
	mustRun(t, exitOK, "verify", "--bucket", "bkt", "--deep", "-c", r.config)

	r.stores[1].Stop()
	_, stderr = mustRun(t, exitWrong, "verify", "--bucket", "bkt", "-c", r.config)
	if !strings.Contains(stderr, r.stores[1].Addr) {
		t.Errorf("stderr %q", stderr)
	}
}

func TestVerifyBesideProxy(t *testing.T) {
	t.Parallel()
	r := newStoresRig(t, "")
	p := mustStart(t, "-c", r.config)
	r.put(0, "k", "hello")
	mustRun(t, exitFailed, "verify", "--bucket", "bkt", "--journal", "-c", r.config)
	got := tasksOf(t, p)
	if ledgertest.Objects(got) != "bkt/k" || got[0].Newest().Method != "" || strings.Join(got[0].Owed(), " ") == "" {
		t.Errorf("tasks %+v", got)
	}
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
}

func TestDifferenceLine(t *testing.T) {
	t.Parallel()
	d := repair.Difference{Bucket: "b", Key: "k\xff\n", Kind: repair.DiffSize, Have: []repair.Have{
		{Backend: "a:1", Present: true, Size: 5, ETag: "e", Modified: time.Unix(1_900_000_000, 0)},
		{Backend: "b:1"},
		{Backend: "c:1", Error: "no\nanswer"},
		{Backend: "d:1", Present: true, SHA256: "00ff"},
	}}
	want := "size     b/k\ufffd\\n\ta:1: 5 B e 2030-03-17T17:46:40Z by its clock\tb:1: missing\tc:1: no\\nanswer\td:1: 0 B sha256 00ff"
	if got := differenceLine(&d, false); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	setting := repair.Difference{Bucket: "b", Kind: repair.DiffSetting, What: "versioning", Have: []repair.Have{
		{Backend: "a:1", Present: true, Versioning: "Enabled"}, {Backend: "b:1", Present: true, Versioning: "Off"},
		{Backend: "c:1"}, {Backend: "d:1", Present: true, Error: "it does not say"},
	}}
	want = "setting  b/ (versioning)\ta:1: Enabled\tb:1: Off\tc:1: missing\td:1: it does not say"
	if got := differenceLine(&setting, false); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	want = "compared 4 keys: 1 differ (1 missing somewhere), 1 bucket missing somewhere, 2 buckets with different versioning, 4 journaled"
	if got := verified(&repair.VerifySummary{Keys: 4, Differences: 4, Missing: 1, Buckets: 1, Settings: 2, Added: 4}, true); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	var back differenceJSON
	line := differenceLine(&d, true)
	if err := json.Unmarshal([]byte(line), &back); err != nil || strings.Contains(line, "\n") || string(back.KeyBytes) != d.Key || back.Have[0].Size != 5 {
		t.Errorf("%v in %q", err, line)
	}
}
