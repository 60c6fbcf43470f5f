package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/internal/ledger/ledgertest"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog"
	"github.com/akubra/akubra/synclog/task"
)

// writeCommandConfig is for the commands that read or work through a journal.
func writeCommandConfig(t *testing.T, urls []string, more string) (path, dataDir string) {
	t.Helper()
	dir := t.TempDir()
	path, dataDir = filepath.Join(dir, "akubra.yaml"), filepath.Join(dir, "data")
	text := fmt.Sprintf("Backends: [%s]\nDataDir: %q\nLogging: {Synclog: {Stderr: false, File: %q}, Mainlog: {Stderr: false, File: %q}}\n%s",
		strings.Join(urls, ", "), dataDir, filepath.Join(dir, "sync.log"), filepath.Join(dir, "main.log"), more)
	testkit.MustDo(t, os.WriteFile(path, []byte(text), 0o600))
	return path, dataDir
}

// mustRun expects an exit code and returns the output.
func mustRun(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	exit, stdout, stderr := runArgs(args...)
	if exit != want {
		t.Fatalf("%q: exit code %d, want %d; stdout:\n%s\nstderr:\n%s", args, exit, want, stdout, stderr)
	}
	return stdout, stderr
}

func TestSynclogCommands(t *testing.T) {
	t.Parallel()
	config, dataDir := writeCommandConfig(t, []string{"http://a:9000", "http://b:9000"}, "")
	_, stderr := mustRun(t, exitFailed, "journal", "list", "-c", config)
	if want := "akubra: there is no journal in "; !strings.HasPrefix(stderr, want) {
		t.Errorf("stderr %q", stderr)
	}

	n := ledgertest.MustOpen(t, dataDir, "a:9000", "b:9000") // and it stays open
	ledgertest.MustPromise(t, n, "PUT", "b", "one", 0b10, "stalled")
	ledgertest.MustPromise(t, n, "DELETE", "b", "odd\xff\x1b[31m", 0b11, "two\nlines")
	ledgertest.MustPromise(t, n, "PUT", "b", "three", 0b10, "stalled")
	one := ledgertest.Tasks(t, n)[0]
	one.Tries, one.Parked, one.LastError = 20, task.Failed, "no luck"
	if _, err := n.Note(&one); err != nil {
		t.Fatal(err)
	}
	testkit.MustDo(t, n.Journal.Flush())

	table, stderr := mustRun(t, exitOK, "journal", "list", "-c", config)
	lines := strings.Split(strings.TrimSuffix(table, "\n"), "\n")
	if len(lines) != 4 || stderr != "" || !strings.HasPrefix(lines[0], "AGE ") {
		t.Fatalf("table:\n%s\nstderr %q", table, stderr)
	}
	for i, want := range []string{
		"PUT b:9000 b/one parked after 20 tries: no luck stalled",
		`DELETE a:9000,b:9000 b/odd` + "\ufffd" + `\x1b[31m pending two\nlines`,
		"PUT b:9000 b/three pending stalled",
	} {
		if got := strings.Join(strings.Fields(lines[i+1])[1:], " "); got != want {
			t.Errorf("line %d: %q, want %q", i+1, got, want)
		}
	}

	text, _ := mustRun(t, exitOK, "journal", "list", "--json", "-c", config)
	var listed []listedEntry
	for line := range strings.Lines(text) {
		var e listedEntry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		listed = append(listed, e)
	}
	if len(listed) != 3 || listed[0].Key != "one" || !listed[0].Parked || listed[0].Tries != 20 || listed[0].LastError != "no luck" ||
		string(listed[1].KeyBytes) != "odd\xff\x1b[31m" || fmt.Sprint(listed[1].Owed) != "[a:9000 b:9000]" || listed[2].ETag != "e" ||
		time.Since(listed[2].Time) > time.Hour || listed[2].Reason != "stalled" {
		t.Errorf("listed %+v", listed)
	}

	text, _ = mustRun(t, exitOK, "synclog", "export", "-c", config)
	var records []string
	for line := range strings.Lines(text) {
		r, err := synclog.ParseRecord([]byte(line))
		if err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		records = append(records, strings.Join([]string{r.Op, r.Method, r.FailedHost, r.SuccessHost, r.Bucket, r.Key, r.ID}, " "))
	}
	want := []string{
		"storing PUT b:9000 a:9000 b one id",
		"storing DELETE a:9000  b odd\xff\x1b[31m id",
		"storing DELETE b:9000  b odd\xff\x1b[31m id",
		"storing PUT b:9000 a:9000 b three id",
	}
	if fmt.Sprintf("%q", records) != fmt.Sprintf("%q", want) {
		t.Errorf("exported\n%q, want\n%q", records, want)
	}

	text, _ = mustRun(t, exitOK, "synclog", "export", "--backend", "a:9000", "-c", config)
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, `"failedhost":"a:9000"`) {
		t.Errorf("exported for a:9000: %s", text)
	}
	text, _ = mustRun(t, exitOK, "journal", "list", "--backend", "a:9000", "-c", config)
	if strings.Count(text, "\n") != 2 || !strings.Contains(text, "b/odd") {
		t.Errorf("listed for a:9000: %s", text)
	}

	text, _ = mustRun(t, exitOK, "synclog", "stats", "-c", config)
	for _, want := range []string{"3 pending", "0 of them open, 1 parked (1 failed);", "3 b:9000", "1 a:9000", "2 stalled", `1 two\nlines`, "3 less than a minute"} {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	text, _ = mustRun(t, exitOK, "synclog", "stats", "--json", "-c", config)
	var s pendingStats
	if err := json.Unmarshal([]byte(text), &s); err != nil || s.Keys != 3 || s.ByBackend["b:9000"] != 3 || s.ByReason["stalled"] != 2 || s.Oldest == nil {
		t.Errorf("stats %s, %v", text, err)
	}
}

func TestSynclogNothingPending(t *testing.T) {
	t.Parallel()
	config, dataDir := writeCommandConfig(t, []string{"http://a:9000", "http://b:9000"}, "")
	ledgertest.MustOpen(t, dataDir, "a:9000", "b:9000")
	for command, want := range map[string]string{
		"list": "nothing pending\n", "list --bucket b": "nothing pending that matches\n", "list --json": "", "export": "", "stats": "       0 pending\n",
		"stats --json": `{"keys":0,"open":0,"parked":0,"parked_for":{},"backends":{},"reasons":{},"ages":{}}` + "\n",
	} {
		args := append([]string{"synclog", "-c", config}, strings.Fields(command)...)
		if stdout, stderr := mustRun(t, exitOK, args...); stdout != want || stderr != "" {
			t.Errorf("%s: stdout %q, stderr %q; want %q", command, stdout, stderr, want)
		}
	}
}

func TestPendingStats(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_900_000_000, 0)
	s := newPendingStats()
	add := func(old time.Duration, reason string, open bool) {
		s.add(&task.Task{First: uint64(now.Add(-old).UnixNano()), Open: open, Writes: []task.Write{{Owed: []string{"a"}, Reason: reason}}}, now)
	}
	for _, old := range []time.Duration{-time.Second, 0, time.Minute, 59 * time.Minute, time.Hour, 24 * time.Hour, 6 * 24 * time.Hour, 7 * 24 * time.Hour, 9000 * time.Hour} {
		add(old, "r", false)
	}
	if got := fmt.Sprint(s.ByAge); got != "map[a week or more:2 less than a day:1 less than a minute:2 less than a week:2 less than an hour:2]" {
		t.Errorf("ages %s", got)
	}
	if !s.Oldest.Equal(now.Add(-9000 * time.Hour)) {
		t.Errorf("oldest %v", s.Oldest)
	}
	add(0, "", true)
	if s.ByReason[ledger.NotEnded] != 1 || s.Open != 1 {
		t.Errorf("open: %+v", s)
	}
	for i := range 2 * maxReasons { // backends can say anything
		add(0, fmt.Sprint(i), false)
	}
	if len(s.ByReason) != maxReasons+1 || s.ByReason[otherReasons] != maxReasons+2 || s.ByReason["r"] != 9 {
		t.Errorf("%d reasons, %d other", len(s.ByReason), s.ByReason[otherReasons])
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_900_000_000, 0)
	for old, want := range map[time.Duration]string{
		-time.Hour: "0s", 0: "0s", 59 * time.Second: "59s", 60 * time.Second: "1m", 119 * time.Minute: "1h", 49 * time.Hour: "2d",
	} {
		if got := age(now, uint64(now.Add(-old).UnixNano())); got != want {
			t.Errorf("%v: %s, want %s", old, got, want)
		}
	}
}

// What is shown can be chosen, and a backend that there is not is a mistake, not an empty
// list.
func TestJournalFilters(t *testing.T) {
	t.Parallel()
	config, dataDir := writeCommandConfig(t, []string{"http://a:9000", "http://b:9000"}, "AdminListen: ''\n")
	n := ledgertest.MustOpen(t, dataDir, "a:9000", "b:9000")
	ledgertest.MustPromise(t, n, "PUT", "b", "one", 0b10, "stalled")
	ledgertest.MustPromise(t, n, "PUT", "c", "two", 0b10, "answered 409 Conflict")
	ledgertest.MustPromise(t, n, "PUT", "c", "three", 0b01, "stalled")
	three := ledgertest.Tasks(t, n)[2]
	three.Parked, three.LastError = task.Conflict, strings.Repeat("a long story ", 20)
	_, err := n.Note(&three)
	testkit.MustDo(t, err, n.Journal.Flush())
	for args, want := range map[string]string{
		"":                                   "b/one c/two c/three",
		"--bucket c":                         "c/two c/three",
		"--reason conflict":                  "c/three",
		"--reason 409":                       "c/two",
		"--reason stalled":                   "b/one c/three",
		"--backend http://a:9000/":           "c/three",
		"--limit 2":                          "b/one c/two",
		"--limit 3":                          "b/one c/two c/three",
		"--bucket c --backend b:9000":        "c/two",
		"--bucket none":                      "",
		"--bucket c --reason lost --limit 1": "",
	} {
		stdout, stderr := mustRun(t, exitOK, append([]string{"journal", "list", "-c", config}, strings.Fields(args)...)...)
		var got []string
		for _, line := range strings.Split(strings.TrimSpace(stdout), "\n")[1:] {
			got = append(got, strings.Fields(line)[3])
			if len(line) > 250 {
				t.Errorf("%q: a long line: %s", args, line)
			}
		}
		if strings.Join(got, " ") != want || want == "" && stdout != "nothing pending that matches\n" {
			t.Errorf("%q: %q, want %q; %s", args, got, want, stdout)
		}
		if more := strings.Contains(stderr, "there are more"); more != (args == "--limit 2") {
			t.Errorf("%q: stderr %q", args, stderr)
		}
	}
	for _, command := range []string{"list", "export", "stats", "list --json"} {
		_, stderr := mustRun(t, exitWrong, append(append([]string{"journal", "-c", config}, strings.Fields(command)...), "--backend", "c:9000")...)
		if !strings.Contains(stderr, `there is no backend "c:9000"; there are a:9000, b:9000`) {
			t.Errorf("%s: %s", command, stderr)
		}
	}
	show, _ := mustRun(t, exitOK, "journal", "show", "--offline", "c/three", "-c", config)
	if !strings.Contains(show, three.LastError) || !strings.Contains(show, "The backends were not asked") {
		t.Error(show)
	}
	if _, said := mustRun(t, exitFailed, "journal", "show", "c/four", "-c", config); !strings.HasSuffix(said, `nothing is pending for "c/four"; akubra verify --bucket "c" --prefix "four" compares what the backends have`+"\n") {
		t.Errorf("said %q", said)
	}
}
