package cli

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/internal/ledger/ledgertest"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/task"
)

// parkKeys leaves each key to a person: the first store has "first", the second one "second".
func (r *storesRig) parkKeys(why task.ParkReason, keys ...string) {
	r.t.Helper()
	for _, key := range keys {
		r.put(0, key, "first")
		r.put(1, key, "second")
	}
	r.journaled(func(n *ledger.NamedJournal) {
		for _, key := range keys {
			ledgertest.MustPromise(r.t, n, "PUT", "bkt", key, 0b10, "stalled")
		}
		for _, t := range ledgertest.Tasks(r.t, n) {
			if t.Parked == "" {
				t.Parked, t.LastError = why, "said by repair"
				if ok, err := n.Note(&t); !ok || err != nil {
					r.t.Fatal(ok, err)
				}
			}
		}
	})
}

func (r *storesRig) wantPending(want string) {
	r.t.Helper()
	list, _ := mustRun(r.t, exitOK, "journal", "list", "--json", "-c", r.config)
	var got []string
	for line := range strings.Lines(list) {
		var e listedEntry
		testkit.MustDo(r.t, json.Unmarshal([]byte(line), &e))
		got = append(got, string(e.Key))
	}
	if strings.Join(got, " ") != want {
		r.t.Errorf("pending %q, want %q", got, want)
	}
}

// R35: a key is found by what `akubra journal list` shows of it, also if that has escapes.
func TestR35KeyAsListed(t *testing.T) {
	t.Parallel()
	r := newStoresRig(t, "")
	r.parkKeys(task.Conflict, "a\u202eb", "👩\u200d👧", `literal\u200d`)
	list, _ := mustRun(t, exitOK, "journal", "list", "-c", r.config)
	for listed, key := range map[string]string{`bkt/a\u202eb`: "a\u202eb", `bkt/👩\u200d👧`: "👩\u200d👧", `bkt/literal\u200d`: `literal\u200d`} {
		if !strings.Contains(list, listed+" ") {
			t.Errorf("the list lacks %q:\n%s", listed, list)
		}
		if shown, _ := mustRun(t, exitOK, "journal", "show", "--offline", listed, "-c", r.config); !strings.HasPrefix(shown, listed+"\n") {
			t.Errorf("%q is shown as %q", listed, shown)
		}
		if got, _ := mustRun(t, exitOK, "resolve", listed, "--accept", "-c", r.config); !strings.HasPrefix(got, listed+": ") {
			t.Errorf("%q is settled as %q", listed, got)
		}
		if got := r.get(0, key); got != "first" {
			t.Errorf("%q is %q", key, got)
		}
	}
	r.wantPending("")
}

// R35: a person decides about a parked key; without a proxy the journal is opened.
func TestR35Resolve(t *testing.T) {
	t.Parallel()
	r := newStoresRig(t, "")
	r.parkKeys(task.Conflict, "take", "absent", "delete", "accept", "newest")
	if _, _, err := testkit.Send("DELETE", "http://"+r.stores[0].Addr+"/bkt/absent", ""); err != nil {
		t.Fatal(err)
	}
	names := r.names()
	resolve := func(exit int, want string, args ...string) {
		t.Helper()
		stdout, stderr := mustRun(t, exit, append([]string{"resolve", "-c", r.config}, args...)...)
		if !strings.Contains(stdout+stderr, want) {
			t.Errorf("%q: stdout %q, stderr %q, want %q", args, stdout, stderr, want)
		}
	}
	resolve(exitOK, "bkt/take: would copy "+names[1]+" to "+names[0]+"\n", "bkt/take", "--take", names[1], "--dry-run")
	if got := r.get(0, "take"); got != "first" {
		t.Errorf("the dry run has made it %q", got)
	}
	resolve(exitOK, "bkt/take: copied "+names[1]+" to "+names[0]+"\n", "/bkt/take", "--take", "http://"+names[1])
	r.wantBoth("take", "second")
	resolve(exitOK, "bkt/absent: deleted from "+names[1]+"\n", "s3://bkt/absent", "--take", names[0])
	r.wantBoth("absent", "(none)")
	resolve(exitOK, "bkt/delete: deleted from ", "bkt/delete", "--delete")
	r.wantBoth("delete", "(none)")
	resolve(exitOK, "bkt/accept: left as it is\n", "bkt/accept", "--accept")
	if one, other := r.get(0, "accept"), r.get(1, "accept"); one != "first" || other != "second" {
		t.Errorf("accepted, and now %q and %q", one, other)
	}
	r.wantPending("newest")
	resolve(exitOK, "bkt/newest: copied ", "bkt/newest", "--newest")
	if one, other := r.get(0, "newest"), r.get(1, "newest"); one != other {
		t.Errorf("settled, and now %q and %q", one, other)
	}
	r.wantPending("")
	if got := len(r.resolved()); got != 5 {
		t.Errorf("%d lines in the synclog", got)
	}
}

// What cannot be meant is refused before anything is asked or done.
func TestR35ResolveWrong(t *testing.T) {
	t.Parallel()
	r := newStoresRig(t, "")
	r.parkKeys(task.Conflict, "k")
	for args, want := range map[string]string{
		"":                                  "resolve needs a key",
		"--accept":                          "resolve needs a key",
		"bkt/k":                             "resolve needs one of",
		"bkt/k --accept --delete":           "resolve needs one of",
		"bkt/k --take nobody:1":             `there is no backend "nobody:1"; there are ` + r.names()[0],
		"bkt/k --prefer " + r.names()[0]:    "only with --all",
		"bkt/k --accept --reason lost":      "only with --all",
		"bkt/k --all --accept":              "resolve needs a key",
		"--all --delete":                    "resolve takes --all with",
		"--all --take " + r.names()[0]:      "resolve takes --all with",
		"--all --accept --reason forgotten": `there is no reason "forgotten"; there are lost, conflict`,
		"bkt/other --accept":                `nothing is pending for "bkt/other"`,
		"bkt --accept":                      "nothing is pending for bucket",
		"other/k --accept":                  `nothing is pending for "other/k"`,
	} {
		_, stderr := mustRun(t, exitWrong, append([]string{"resolve", "-c", r.config}, strings.Fields(args)...)...)
		if !strings.Contains(stderr, want) {
			t.Errorf("%q: %s, want %q", args, stderr, want)
		}
	}
	r.wantPending("k")
}

// R35: many are settled alike. It says first what it would do, and asks.
func TestR35ResolveAll(t *testing.T) {
	t.Parallel()
	r := newStoresRig(t, "")
	r.parkKeys(task.Lost, "lost")
	r.parkKeys(task.Conflict, "one", "two")
	names := r.names()
	all := func(exit int, answer string, args ...string) string {
		t.Helper()
		var out strings.Builder
		c := &cli{version: testVersion, stdin: strings.NewReader(answer), stdout: &out, stderr: &out}
		if got := c.run(append([]string{"resolve", "--all", "-c", r.config}, args...)); got != exit {
			t.Fatalf("%q: exit code %d, %s", args, got, out.String())
		}
		return out.String()
	}
	would := fmt.Sprintf("bkt/one: would copy %s to %s\nbkt/two: would copy %[1]s to %s\n", names[1], names[0])
	for _, answer := range []string{"", "\n", "no\n"} {
		if got := all(exitFailed, answer, "--reason", "conflict", "--prefer", names[1]); !strings.HasPrefix(got, would+"Do that, with 2 keys? [y/N] nothing was done") {
			t.Errorf("%q: %s", answer, got)
		}
	}
	if got := all(exitOK, "", "--reason", "conflict", "--prefer", names[1], "--dry-run"); got != would+"would settle 2 keys, 0 left parked\n" {
		t.Errorf("dry run: %s", got)
	}
	r.wantPending("lost one two")
	if got := all(exitOK, "y\n", "--reason", "conflict", "--prefer", names[1]); !strings.HasSuffix(got, "settled 2 keys, 0 left parked\n") {
		t.Error(got)
	}
	r.wantBoth("one", "second")
	r.wantBoth("two", "second")
	if got := all(exitOK, "", "--reason", "conflict", "--newest", "--yes"); got != "nothing is parked for that\n" {
		t.Error(got)
	}
	r.wantPending("lost")
	r.stores[1].Stop()
	if got := all(exitFailed, "", "--newest", "--yes"); !strings.Contains(got, "bkt/lost: left parked: cannot reach backend ") {
		t.Error(got)
	}
	if got := all(exitOK, "", "--accept", "--yes"); !strings.Contains(got, "settled 1 key, 0 left parked") {
		t.Error(got)
	}
	r.wantPending("")
}

// R35: a person's decision is taken beside the running proxy, also where that repairs by
// itself; /journal, metrics and journal show tell of both sides.
func TestR35ResolveBesideProxy(t *testing.T) {
	t.Parallel()
	for _, repairs := range []string{"false", "true"} {
		r := newStoresRig(t, "Repair: {Enabled: "+repairs+"}\n")
		r.parkKeys(task.Conflict, "one", "two")
		p := mustStart(t, "-c", r.config)
		admin := "http://" + p.AdminAddr()
		var page struct {
			Parked    int
			ParkedFor map[string]int `json:"parked_for"`
			Keys      []ledger.Known `json:"parked_keys"`
			More      bool           `json:"more_parked"`
		}
		get := func(query string, status int) {
			t.Helper()
			got, text, err := testkit.Send("GET", admin+"/journal"+query, "")
			page.Keys, page.More = nil, false
			if err != nil || got != status || json.Unmarshal([]byte(text), &page) != nil {
				t.Fatalf("%s: %d, %v, %s", query, got, err, text)
			}
		}
		get("", 200)
		if page.Parked != 2 || page.ParkedFor["conflict"] != 2 || len(page.Keys) != 2 || page.Keys[0].Parked != "conflict" ||
			page.Keys[0].Writes[0].Owed[0] != r.names()[1] || page.Keys[0].Heads != nil {
			t.Errorf("page %+v", page)
		}
		get("?ask=1&limit=1", 200)
		if len(page.Keys) != 1 || !page.More || len(page.Keys[0].Heads) != 2 || page.Keys[0].Heads[0].Size != 5 || page.Keys[0].Heads[1].Size != 6 {
			t.Errorf("page with both heads %+v", page)
		}
		get("?reason=lost", 200)
		if len(page.Keys) != 0 {
			t.Errorf("lost: %+v", page)
		}
		get("?limit=x", 400)
		get("?reason=x", 400)
		_, metrics, err := testkit.Send("GET", admin+"/metrics", "")
		testkit.MustDo(t, err)
		testkit.WantSamples(t, testkit.MustParseMetrics(t, metrics), map[string]float64{
			`akubra_journal_parked_keys{reason="conflict"}`: 2, `akubra_journal_parked_keys{reason="needs a person"}`: 0,
		})
		show, _ := mustRun(t, exitOK, "journal", "show", "bkt/one", "-c", r.config)
		for _, want := range []string{
			"bkt/one\nparked, left to you: conflict\nrepair said: said by repair\n", "content: PUT, 5 B, ETag e, ", "owed by " + r.names()[1] + " (stalled)",
			r.names()[0] + " " + r.names()[1], "size 5 B 6 B", "modified, by its own clock",
		} {
			if !strings.Contains(show, want) && !strings.Contains(strings.Join(strings.Fields(show), " "), want) {
				t.Errorf("no %q in\n%s", want, show)
			}
		}
		if status, _ := mustRun(t, exitOK, "status", "-c", r.config); !strings.Contains(status, "2 parked (2 conflict)") {
			t.Errorf("status:\n%s", status)
		}
		mustRun(t, exitOK, "resolve", "bkt/one", "--take", r.names()[1], "-c", r.config)
		r.wantBoth("one", "second")
		mustRun(t, exitOK, "resolve", "--all", "--prefer", r.names()[0], "--yes", "-c", r.config)
		r.wantBoth("two", "first")
		if s := p.JournalStatus(); s.Pending != 0 || s.Repairing {
			t.Errorf("journal %+v", s)
		}
		p.signals <- syscall.SIGTERM
		p.wantExit(t, exitOK)
	}
}

// R35: each key that is parked stands in the proxy's main log, once, whoever has parked it,
// and repair and verify exit with 1.
func TestR35ParkedIsTold(t *testing.T) {
	t.Parallel()
	r := newStoresRig(t, "")
	r.put(0, "changed", "past the proxy")
	r.journaled(func(n *ledger.NamedJournal) {
		ledgertest.MustPromise(t, n, "PUT", "bkt", "lost", 0b10, "stalled")
		ledgertest.MustPromise(t, n, "PUT", "bkt", "changed", 0b10, "stalled")
	})
	p := mustStart(t, "-c", r.config)
	for range 2 {
		mustRun(t, exitFailed, "repair", "-c", r.config)
	}
	mustRun(t, exitFailed, "verify", "--bucket", "bkt", "-c", r.config)
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
	log := testkit.MustReadFile(t, filepath.Join(filepath.Dir(r.config), "main.log"))
	for _, want := range []string{`"key":"lost","reason":"lost"`, `"key":"changed","reason":"conflict"`} {
		if n := strings.Count(log, want); n != 1 {
			t.Errorf("%d lines with %s in\n%s", n, want, log)
		}
	}
}
