package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/remote"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog"
	"github.com/akubra/akubra/synclog/inflight"
	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/repair"
)

// mustOpenJournal opens a journal under dataDir until the test's end.
func mustOpenJournal(t testing.TB, dataDir string, names ...string) *namedJournal {
	t.Helper()
	c := config.Default()
	c.DataDir = dataDir
	j, err := openJournal(c, names, func(err error) { t.Errorf("the journal: %v", err) }, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil && !errors.Is(err, journal.ErrClosed) {
			t.Error(err)
		}
	})
	return &namedJournal{journal: j, names: names, dir: c.JournalDir()}
}

// mustOpenInflight opens the table of writes under way beside n.
func mustOpenInflight(t testing.TB, dataDir string, n *namedJournal) *inflight.Table {
	t.Helper()
	c := config.Default()
	c.DataDir = dataDir
	table, err := openInflight(c, n.journal, n.names)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// mustPromise journals a write that the backends of owed have not.
func mustPromise(t testing.TB, j *namedJournal, method, bucket, key string, owed uint64, reason string) {
	t.Helper()
	err := (&engineJournal{Journal: j.journal}).Promise([]engine.Promise{{
		Seq: j.journal.Stamp(time.Now()), Method: method, Target: []byte("/" + bucket + "/" + key), Host: []byte("s3"),
		Bucket: []byte(bucket), Key: []byte(key), ETag: []byte("e"), ID: []byte("id"), Reason: []byte(reason), Size: 5, Owed: owed,
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// tasks are all that Next gives.
func (n *namedJournal) tasks(t testing.TB) (all []repair.Task) {
	t.Helper()
	for cursor := uint64(0); ; {
		task, next, ok, err := n.Next(cursor)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return all
		}
		all, cursor = append(all, task), next
	}
}

func objects(all []repair.Task) string {
	var names []string
	for i := range all {
		names = append(names, all[i].Bucket+"/"+all[i].Key)
	}
	return strings.Join(names, " ")
}

func TestTaskOfPending(t *testing.T) {
	n := &namedJournal{names: []string{"a:9000", "b:9000", "c:9000"}}
	var want repair.Task
	testkit.Fill(t, reflect.ValueOf(&want).Elem())
	want.Settled = 0 // the journal keeps none
	p, err := n.pending(&want)
	if err != nil {
		t.Fatal(err)
	}
	if p.Owed != 0b110 || p.Aux != engine.AuxSubResource|engine.AuxUnacknowledged|journal.AuxDoubt {
		t.Errorf("owed %b, aux %b", p.Owed, p.Aux)
	}
	if got := taskOf(&p, n.names); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	want.Owed = []string{"d:9000"}
	if _, err := n.pending(&want); err == nil || !strings.Contains(err.Error(), `"d:9000"`) {
		t.Errorf("a backend that is not known: %v", err)
	}
}

// Promise must hand on every field.
func TestEngineJournalPromise(t *testing.T) {
	n := mustOpenJournal(t, t.TempDir(), "a:9000", "b:9000")
	j := &engineJournal{Journal: n.journal}
	want := repair.Task{
		Seq: j.Stamp(time.Now()), Method: "DELETE", Target: "/b\xff/k?x", Host: "h", Bucket: "b\xff", Key: "k\x00", ETag: "e", ID: "i", Reason: "r",
		Size: 7, Owed: []string{"b:9000"}, Unacknowledged: true,
	}
	want.First = want.Seq
	err := j.Promise([]engine.Promise{{
		Seq: want.Seq, Method: want.Method, Target: []byte(want.Target), Host: []byte(want.Host), Bucket: []byte(want.Bucket),
		Key: []byte(want.Key), ETag: []byte(want.ETag), ID: []byte(want.ID), Reason: []byte(want.Reason), Size: want.Size,
		Owed: 0b10, Aux: engine.AuxUnacknowledged,
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := n.tasks(t)
	want.Version = got[0].Version // of no meaning here
	if !reflect.DeepEqual(got, []repair.Task{want}) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	// As many as a multi-object delete has, and then few again.
	var many []engine.Promise
	for i := range 1000 {
		many = append(many, engine.Promise{Seq: j.Stamp(time.Now()), Method: "DELETE", Bucket: []byte("b"), Key: fmt.Append(nil, i), Owed: 1})
	}
	if err := errors.Join(j.Promise(many), j.Promise(many[:1])); err != nil {
		t.Fatal(err)
	}
	if got := len(n.tasks(t)); got != 1001 {
		t.Errorf("%d tasks", got)
	}
}

func TestNamedJournal(t *testing.T) {
	n := mustOpenJournal(t, t.TempDir(), "a:9000", "b:9000")
	mustPromise(t, n, "PUT", "b", "one", 0b01, "stalled")
	mustPromise(t, n, "DELETE", "b", "two", 0b10, "demoted")
	all := n.tasks(t)
	if got := objects(all); got != "b/one b/two" {
		t.Fatalf("tasks %q", got)
	}

	all[0].Tries, all[0].LastError, all[0].NotBefore, all[0].Parked = 3, "no luck", time.Unix(1_900_000_000, 0), true
	if err := n.Note(&all[0]); err != nil {
		t.Fatal(err)
	}
	if got := n.tasks(t)[0]; got.Tries != 3 || got.LastError != "no luck" || !got.NotBefore.Equal(all[0].NotBefore) || !got.Parked {
		t.Errorf("noted: %+v", got)
	}

	// Of what it owes a part is done.
	mustPromise(t, n, "DELETE", "b", "two", 0b11, "demoted")
	less := n.tasks(t)[1]
	less.Owed, less.Tries = less.Owed[:1], 5
	if err := n.Note(&less); err != nil {
		t.Fatal(err)
	}
	if got := n.tasks(t)[1]; got.Tries != 5 || len(got.Owed) != 2 {
		t.Errorf("noted with less: %+v", got)
	}

	// A newer write than the one that was repaired keeps the key.
	old := n.tasks(t)[1]
	mustPromise(t, n, "PUT", "b", "two", 0b01, "stalled")
	if ok, err := n.Resolve(&old); ok || err != nil {
		t.Errorf("Resolve of an old one: %t, %v", ok, err)
	}
	now := n.tasks(t)[1]
	if now.Method != "PUT" || fmt.Sprint(now.Owed) != "[a:9000]" || now.First != old.First {
		t.Errorf("both together: %+v", now)
	}
	if ok, err := n.Resolve(&now); !ok || err != nil {
		t.Errorf("Resolve: %t, %v", ok, err)
	}
	if got := objects(n.tasks(t)); got != "b/one" {
		t.Errorf("tasks %q", got)
	}

	if err := n.Add(&repair.Task{Bucket: "b", Key: "three", Owed: []string{"b:9000"}, Reason: "size"}); err != nil {
		t.Fatal(err)
	}
	got := n.tasks(t)
	if last := got[len(got)-1]; last.Key != "three" || last.Method != "" || last.Reason != "size" || last.Seq == 0 {
		t.Errorf("added: %+v", last)
	}
}

// A write of tags after one of content: repair must look at both.
func TestNamedJournalMixed(t *testing.T) {
	n := mustOpenJournal(t, t.TempDir(), "a:9000", "b:9000")
	write := func(method, target, key string, aux uint8) {
		t.Helper()
		err := (&engineJournal{Journal: n.journal}).Promise([]engine.Promise{{
			Seq: n.journal.Stamp(time.Now()), Method: method, Target: []byte(target), Bucket: []byte("b"), Key: []byte(key), Owed: 0b10, Aux: aux,
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	write("PUT", "/b/k", "k", 0)
	write("DELETE", "/b/k?tagging", "k", engine.AuxSubResource)
	write("DELETE", "/b/tags?tagging", "tags", engine.AuxSubResource)
	all := n.tasks(t)
	if objects(all) != "b/k b/tags" || all[0].Method != "" || all[0].SubResource || all[1].Method != "DELETE" || !all[1].SubResource {
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
	n := mustOpenJournal(t, t.TempDir(), "a:9000", "b:9000", "c:9000")
	mustPromise(t, n, "PUT", "b", "k", 0b001, "stalled")
	old := n.tasks(t)[0]
	if err := n.Add(&repair.Task{Bucket: "b", Key: "k", Owed: []string{"c:9000"}, Reason: "missing"}); err != nil {
		t.Fatal(err)
	}
	if ok, err := n.Resolve(&old); ok || err != nil {
		t.Errorf("Resolve: %t, %v", ok, err)
	}
	if got := n.tasks(t); len(got) != 1 || fmt.Sprint(got[0].Owed) != "[a:9000]" || got[0].Method != "PUT" {
		t.Errorf("tasks %+v", got)
	}
}

func TestOpenJournalFails(t *testing.T) {
	c := config.Default()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.DataDir = filepath.Join(file, "x")
	if _, err := openJournal(c, []string{"a"}, nil, nil); err == nil || !strings.HasPrefix(err.Error(), "cannot make the directory of the journal (DataDir: "+fmt.Sprintf("%q", c.DataDir)) {
		t.Errorf("no directory: %v", err)
	}
	c.DataDir = t.TempDir()
	mustOpenJournal(t, c.DataDir, "a")
	_, err := openJournal(c, []string{"a"}, nil, nil)
	if !errors.Is(err, journal.ErrLocked) || !strings.HasPrefix(err.Error(), "cannot open the journal (DataDir: ") ||
		!strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("locked: %v", err)
	}
}

func TestResolvedRecord(t *testing.T) {
	task := repair.Task{
		Seq: 1, Method: "PUT", Target: "/b/k", Bucket: "b", Key: "k", ETag: "e", Size: 3, ID: "i", Reason: "stalled",
		Owed: []string{"a:1", "c:1"},
	}
	before := time.Now()
	r := resolvedRecord(&task, "copied", []string{"a:1", "b:1", "c:1"})
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

func TestDirID(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	one, err := remote.DirID(dir)
	if err != nil || one == "" {
		t.Fatal(one, err)
	}
	if other, err := remote.DirID(link); err != nil || other != one {
		t.Errorf("%q through a link, %v; want %q", other, err, one)
	}
	if other, err := remote.DirID(t.TempDir()); err != nil || other == one {
		t.Errorf("another one is %q too, %v", other, err)
	}
	if _, err := remote.DirID(filepath.Join(dir, "none")); err == nil {
		t.Error("none has an id")
	}
}

// What is under way when a process ends is pending when the next one begins, once;
// and a disk that has no room for it keeps writes from going on, unless that is
// wanted (OnJournalError).
func TestInflightIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	names := []string{"a:9000", "b:9000"}
	n := mustOpenJournal(t, dir, names...)
	table := mustOpenInflight(t, dir, n)
	j := newEngineJournal(n.journal, table, names, false)
	for _, key := range []string{"k", "\xff"} {
		if _, err := j.Begin([]byte("b"), []byte(key), []byte("s3"), []byte("/b/"+key)); err != nil {
			t.Fatal(err)
		}
	}
	done, err := j.Begin([]byte("b"), []byte("done"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	j.End(done)
	// MinIO ends where S3 does, versitygw where the file system does.
	for _, n := range []int{1024, 1025, 3072, 3700} {
		slot, err := j.Begin([]byte("b"), []byte(strings.Repeat("k", n)), nil, nil)
		if err != nil {
			t.Fatalf("a key of %d bytes: %v", n, err)
		}
		j.End(slot)
	}
	if _, err := j.Begin([]byte("b"), []byte(strings.Repeat("k", 5000)), nil, nil); !errors.Is(err, engine.ErrKeyTooLong) {
		t.Fatalf("a key that has no room: %v", err)
	}
	if len(n.tasks(t)) > 0 {
		t.Fatal("pending while it is under way")
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time nothing is left to be taken
		table = mustOpenInflight(t, dir, n)
		if err := table.Close(); err != nil {
			t.Fatal(err)
		}
		got := n.tasks(t)
		if objects(got) != "b/k b/\xff" && objects(got) != "b/\xff b/k" || got[0].Method != "" || len(got[0].Owed) != 2 {
			t.Fatalf("tasks %+v", got)
		}
	}

	// The table is closed: it has no room.
	if _, err := j.Begin([]byte("b"), []byte("k"), nil, nil); err == nil {
		t.Fatal("noted nowhere")
	}
	told := 0
	j.onFull = func(error) { told++ }
	if slot, err := j.Begin([]byte("b"), []byte("k"), nil, nil); slot != -1 || err != nil || told != 1 {
		t.Fatalf("slot %d, %v, told %d times", slot, err, told)
	}
}

// killed is the data directory as a process that is killed now leaves it.
func killed(t *testing.T, dir string) string {
	t.Helper()
	left := t.TempDir()
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return left
}

// takenOver is what is pending for the proxy that starts on it.
func takenOver(t *testing.T, dir string, names ...string) []repair.Task {
	t.Helper()
	n := mustOpenJournal(t, dir, names...)
	if err := mustOpenInflight(t, dir, n).Close(); err != nil {
		t.Fatal(err)
	}
	return n.tasks(t)
}

// bubble is a test whose clock stands still until all wait for it.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// intent is a PUT that backend 1 may not have yet.
func intent(j *engineJournal, key string) *engine.Promise {
	return &engine.Promise{
		Seq: j.Stamp(time.Now()), Method: "PUT", Target: []byte("/b/" + key), Host: []byte("s3"), Bucket: []byte("b"),
		Key: []byte(key), ETag: []byte("e"), ID: []byte("id"), Size: 5, Owed: 2, Open: true,
	}
}

// Whenever the process is killed, an acknowledged write that a backend may lack is
// known with the place that it has among others, whether the log has it or not.
func TestR20IntentsSurviveInTheirSlots(t *testing.T) {
	for _, power := range []bool{false, true} {
		// What the log has is a matter of time, which is the test's own.
		bubble(t, fmt.Sprintf("power %v", power), func(t *testing.T) {
			dir := t.TempDir()
			names := []string{"a:9000", "b:9000"}
			n := mustOpenJournal(t, dir, names...)
			table := mustOpenInflight(t, dir, n)
			defer table.Close()
			j := newEngineJournal(n.journal, table, names, power)
			begin := func(key string) (int32, *engine.Promise) {
				t.Helper()
				slot, err := j.Begin([]byte("b"), []byte(key), []byte("s3"), []byte("/b/"+key))
				if err != nil {
					t.Fatal(err)
				}
				p := intent(j, key)
				if err := j.Intend(slot, p); err != nil {
					t.Fatal(err)
				}
				return slot, p
			}
			want := func(what string, tasks []repair.Task, want ...string) {
				t.Helper()
				var got []string
				for i := range tasks {
					task := &tasks[i]
					got = append(got, fmt.Sprintf("%s %s %s %d %q %d", task.Method, task.Key, task.ETag, task.Size, task.Owed, task.Seq))
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%s: pending %q, want %q", what, got, want)
				}
			}

			logged := func() { // the log has all that was intended
				time.Sleep(time.Second)
				synctest.Wait() // what is to be done at this time, too
			}

			slot, p := begin("k")
			known := fmt.Sprintf(`PUT k e 5 ["b:9000"] %d`, p.Seq)
			want("under way", takenOver(t, killed(t, dir), names...), known)
			if power {
				left := killed(t, dir)
				if err := os.Remove(filepath.Join(left, "journal", "inflight")); err != nil {
					t.Fatal(err)
				}
				want("under way, power cut", takenOver(t, left, names...), known)
			} else {
				// Who owes is told by places in the list of backends: by another list
				// it cannot be told.
				want("under way, backends in another order", takenOver(t, killed(t, dir), "b:9000", "a:9000"),
					fmt.Sprintf(`PUT k e 5 ["b:9000" "a:9000"] %d`, p.Seq))
				logged() // which knows the backends by name
				want("logged, backends in another order", takenOver(t, killed(t, dir), "b:9000", "a:9000"), known)
				want("logged", takenOver(t, killed(t, dir), names...), known)
			}

			j.Settle(p.Seq, 2, []byte("it refused"))
			want("settled", takenOver(t, killed(t, dir), names...), known)
			j.End(slot)
			want("ended", takenOver(t, killed(t, dir), names...), known)

			slot, p = begin("well")
			if !power {
				logged()
			}
			j.Settle(p.Seq, 0, nil)
			j.End(slot)
			// That it ended well is not written yet where the intent is.
			want("ended well", takenOver(t, killed(t, dir), names...), known, fmt.Sprintf(`PUT well e 5 ["b:9000"] %d`, p.Seq))
			if err := j.Flush(); err != nil {
				t.Fatal(err)
			}
			want("ended well, written", takenOver(t, killed(t, dir), names...), known)

			slot, p = begin("sooner")
			j.Settle(p.Seq, 0, nil)
			j.End(slot)
			if !power {
				want("ended well before it was in the log", takenOver(t, killed(t, dir), names...), known)
			}
		})
	}
}

// What was acknowledged keeps its place; of a part of an object whose target did not
// fit into the slot, the whole object is looked at.
func TestR20EntryOfAWriteUnderWay(t *testing.T) {
	names := []string{"a:1", "b:2"}
	ack := inflight.Ack{Seq: 7, Owed: 2, Order: orderOf(names), Method: "PUT", Aux: journal.AuxSubresource}
	w := inflight.Write{Bucket: []byte("b"), Key: []byte("k"), Target: []byte("/b/k?acl"), Ack: ack}
	if e := entryOf(&w, names); e.Seq != 7 || e.Owed != 2 || e.Method != "PUT" || e.Aux != journal.AuxSubresource {
		t.Errorf("acknowledged: %+v", e)
	}
	w.Target = nil
	if e := entryOf(&w, names); e.Seq != 0 || e.Owed != 3 || e.Method != "" || e.Aux != 0 {
		t.Errorf("an unknown part: %+v", e)
	}
	w.Ack.Aux = 0
	if e := entryOf(&w, names); e.Seq != 7 || e.Owed != 2 || e.Method != "PUT" {
		t.Errorf("acknowledged, the target did not fit: %+v", e)
	}
	w.Ack = inflight.Ack{}
	if e := entryOf(&w, names); e.Seq != 0 || e.Owed != 3 || e.Method != "" {
		t.Errorf("not acknowledged: %+v", e)
	}
}

// fullDisk has no room for another file while it is full.
type fullDisk struct {
	journal.FS
	full atomic.Bool
}

func (d *fullDisk) Create(name string) (journal.File, error) {
	if d.full.Load() {
		return nil, syscall.ENOSPC
	}
	return d.FS.Create(name)
}

// While nothing can be written down, a write that has ended keeps its slot.
func TestR20SlotsAreKeptWhileTheJournalFails(t *testing.T) {
	dir := t.TempDir()
	disk := &fullDisk{FS: journal.OS()}
	log, err := journal.Open(journal.Options{
		Dir: filepath.Join(dir, "log"), Backends: []string{"a", "b"}, SegmentSize: 1, FS: disk, // a segment a batch
	})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	table, err := inflight.Open(filepath.Join(dir, "inflight"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	j := newEngineJournal(log, table, []string{"a", "b"}, false)
	begin := func(key string) int32 {
		t.Helper()
		slot, err := j.Begin([]byte("b"), []byte(key), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return slot
	}
	slot, p := begin("k"), intent(j, "k")
	if err := j.Intend(slot, p); err != nil {
		t.Fatal(err)
	}
	disk.full.Store(true)
	j.Settle(p.Seq, 2, nil)
	for i := 0; !j.Failed(); i++ { // the first may have gone to a file that was there
		if i == 100 {
			t.Fatal("it does not fail")
		}
		_ = j.Promise([]engine.Promise{{Seq: j.Stamp(time.Now()), Method: "PUT", Bucket: []byte("b"), Key: []byte("x"), Owed: 1}})
	}
	other := begin("other")
	j.End(slot)
	j.End(other)
	if n := table.Len(); n != 2 {
		t.Fatalf("%d slots are kept, want 2", n)
	}
	disk.full.Store(false)
	for deadline := time.Now().Add(30 * time.Second); j.Failed(); time.Sleep(10 * time.Millisecond) { // it tries each second
		if time.Now().After(deadline) {
			t.Fatal("it does not work again")
		}
	}
	j.End(begin("next"))
	if n := table.Len(); n != 0 {
		t.Fatalf("%d slots are kept", n)
	}
	j.onFull = func(error) {}
	j.End(begin("last"))
	if n := table.Len(); n != 0 {
		t.Fatalf("%d slots are kept", n)
	}
}
