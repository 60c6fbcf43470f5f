package ledger_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/internal/ledger/ledgertest"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog"
	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/repair"
	"github.com/akubra/akubra/synclog/task"
)

func TestNamedJournal(t *testing.T) {
	n := ledgertest.MustOpen(t, t.TempDir(), "a:9000", "b:9000")
	ledgertest.MustPromise(t, n, "PUT", "b", "one", 0b01, "stalled")
	ledgertest.MustPromise(t, n, "DELETE", "b", "two", 0b10, "demoted")
	all := ledgertest.Tasks(t, n)
	if got := ledgertest.Objects(all); got != "b/one b/two" {
		t.Fatalf("tasks %q", got)
	}

	all[0].Tries, all[0].LastError, all[0].NotBefore, all[0].Parked = 3, "no luck", time.Unix(1_900_000_000, 0), task.Failed
	if ok, err := n.Note(&all[0]); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if got := ledgertest.Tasks(t, n)[0]; got.Tries != 3 || got.LastError != "no luck" || !got.NotBefore.Equal(all[0].NotBefore) || got.Parked != task.Failed {
		t.Errorf("noted: %+v", got)
	}

	// Of what it owes a part is done.
	ledgertest.MustPromise(t, n, "DELETE", "b", "two", 0b11, "demoted")
	less := ledgertest.Tasks(t, n)[1]
	less.Writes[0].Owed, less.Tries = less.Owed()[:1], 5
	if _, err := n.Note(&less); err != nil {
		t.Fatal(err)
	}
	if got := ledgertest.Tasks(t, n)[1]; got.Tries != 5 || len(got.Owed()) != 1 {
		t.Errorf("noted with less: %+v", got)
	}

	// A newer write than the one that was repaired keeps the key.
	old := ledgertest.Tasks(t, n)[1]
	ledgertest.MustPromise(t, n, "PUT", "b", "two", 0b01, "stalled")
	if ok, err := n.Resolve(&old); ok || err != nil {
		t.Errorf("Resolve of an old one: %t, %v", ok, err)
	}
	now := ledgertest.Tasks(t, n)[1]
	if now.Newest().Method != "PUT" || fmt.Sprint(now.Owed()) != "[a:9000]" || now.First != old.First {
		t.Errorf("both together: %+v", now)
	}
	if ok, err := n.Resolve(&now); !ok || err != nil {
		t.Errorf("Resolve: %t, %v", ok, err)
	}
	if got := ledgertest.Objects(ledgertest.Tasks(t, n)); got != "b/one" {
		t.Errorf("tasks %q", got)
	}

	testkit.MustDo(t, n.Add(&task.Task{Bucket: "b", Key: "three", Writes: []task.Write{{Aspect: task.Found, Owed: []string{"b:9000"}, Reason: "size"}}}))
	got := ledgertest.Tasks(t, n)
	if last := got[len(got)-1]; last.Key != "three" || last.Of(task.Found) == nil || last.Newest().Reason != "size" || last.Newest().Seq == 0 {
		t.Errorf("added: %+v", last)
	}
}

// A write of tags after one of content: each is known apart from the other (R35).
// R35: what is pending of a bucket's setting is found apart from the bucket, and by verify as the bucket's.
func TestR35FindSetting(t *testing.T) {
	n := ledgertest.MustOpen(t, t.TempDir(), "a:9000", "b:9000")
	pends := func() (pending, parked bool) {
		t.Helper()
		pending, parked, err := repair.Pending(n, "b", "")
		testkit.MustDo(t, err)
		return pending, parked
	}
	if pending, parked := pends(); pending || parked {
		t.Errorf("with nothing in it: %t, %t", pending, parked)
	}
	found := task.Write{Aspect: task.Found, Target: "/b?versioning", Owed: []string{"a:9000", "b:9000"}, Reason: "verify: setting"}
	testkit.MustDo(t, n.Add(&task.Task{Bucket: "b", Target: found.Target, Writes: []task.Write{found}}))
	if _, ok := n.FindSetting("b", "cors"); ok {
		t.Error("another setting is found")
	}
	if _, _, ok, _ := n.Find("b", ""); ok {
		t.Error("the bucket is found")
	}
	if pending, parked := pends(); !pending || parked {
		t.Errorf("pending: %t, %t", pending, parked)
	}
	got, _ := n.FindSetting("b", "versioning")
	got.Parked, got.LastError = task.Conflict, "it differs"
	if ok, err := n.Note(&got); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if pending, parked := pends(); pending || !parked {
		t.Errorf("parked: %t, %t", pending, parked)
	}
	if pending, parked, _ := repair.Pending(n, "b", "versioning"); pending || parked {
		t.Error("it is found as a key")
	}
}

func TestR35TagsAfterContent(t *testing.T) {
	n := ledgertest.MustOpen(t, t.TempDir(), "a:9000", "b:9000")
	write := func(method, target, key string, aspect task.Aspect) {
		t.Helper()
		err := n.Journal.Promise([]journal.Entry{{
			Seq: n.Journal.Stamp(time.Now()), Method: method, Target: []byte(target), Bucket: []byte("b"), Key: []byte(key), Owed: 0b10, Aspect: aspect,
		}})
		testkit.MustDo(t, err)
	}
	write("PUT", "/b/k", "k", task.Content)
	write("DELETE", "/b/k?tagging", "k", task.Tags)
	write("DELETE", "/b/tags?tagging", "tags", task.Tags)
	all := ledgertest.Tasks(t, n)
	if ledgertest.Objects(all) != "b/k b/tags" || all[0].Of(task.Content) == nil || all[0].Of(task.Tags) == nil || all[1].Of(task.Tags) == nil || all[1].Of(task.Content) != nil {
		t.Fatalf("tasks %+v", all)
	}
	for i := range all {
		if ok, err := n.Resolve(&all[i]); !ok || err != nil {
			t.Errorf("Resolve %s: %t, %v", all[i].Key, ok, err)
		}
	}
}

// What was found since a task was read, without a newer write, must not be closed
// with it.
func TestNamedJournalOwedMeanwhile(t *testing.T) {
	n := ledgertest.MustOpen(t, t.TempDir(), "a:9000", "b:9000", "c:9000")
	ledgertest.MustPromise(t, n, "PUT", "b", "k", 0b001, "stalled")
	old := ledgertest.Tasks(t, n)[0]
	testkit.MustDo(t, n.Add(&task.Task{Bucket: "b", Key: "k", Writes: []task.Write{{Aspect: task.Found, Owed: []string{"c:9000"}, Reason: "missing"}}}))
	if ok, err := n.Resolve(&old); ok || err != nil {
		t.Errorf("Resolve: %t, %v", ok, err)
	}
	if got := ledgertest.Tasks(t, n); len(got) != 1 || fmt.Sprint(got[0].Of(task.Content).Owed) != "[a:9000]" || got[0].Newest().Method != "PUT" {
		t.Errorf("tasks %+v", got)
	}
}

func TestOpenJournalFails(t *testing.T) {
	c := config.Default()
	file := filepath.Join(t.TempDir(), "file")
	testkit.MustDo(t, os.WriteFile(file, nil, 0o600))
	c.DataDir = filepath.Join(file, "x")
	if _, err := ledger.OpenJournal(c, []string{"a"}, nil, nil); err == nil || !strings.HasPrefix(err.Error(), "cannot make the directory of the journal (DataDir: "+fmt.Sprintf("%q", c.DataDir)) {
		t.Errorf("no directory: %v", err)
	}
	c.DataDir = t.TempDir()
	ledgertest.MustOpen(t, c.DataDir, "a")
	_, err := ledger.OpenJournal(c, []string{"a"}, nil, nil)
	if !errors.Is(err, journal.ErrLocked) || !strings.HasPrefix(err.Error(), "cannot open the journal (DataDir: ") ||
		!strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("locked: %v", err)
	}
}

func TestResolvedRecord(t *testing.T) {
	task := task.Task{Bucket: "b", Key: "k", Writes: []task.Write{{
		Seq: 1, Method: "PUT", Target: "/b/k", ETag: "e", Size: 3, ID: "i", Reason: "stalled", Owed: []string{"a:1", "c:1"},
	}}}
	before := time.Now()
	r := ledger.ResolvedRecord(&task, "copied", []string{"a:1", "b:1", "c:1"})
	if r.Time.Before(before) {
		t.Errorf("time %v", r.Time)
	}
	r.Time = time.Time{}
	want := synclog.Record{
		Method: "PUT", Path: "/b/k", FailedHost: "a:1,c:1", SuccessHost: "b:1", Error: "copied", Op: "resolved",
		Bucket: "b", Key: "k", ETag: "e", Size: 3, ID: "i",
	}
	if r != want {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
}
