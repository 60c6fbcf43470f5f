package journal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
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

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/inflight"
	"github.com/akubra/akubra/synclog/task"
)

// openDoor opens a journal in dir with a table of writes under way, until the test's end.
func openDoor(t testing.TB, dir string, o Options) *Journal {
	t.Helper()
	o.Dir = dir
	if o.Backends == nil {
		o.Backends = []string{"a:9000", "b:9000"}
	}
	if o.Writes == 0 {
		o.Writes = inflight.DefaultMax
	}
	if o.OnError == nil {
		o.OnError = func(err error) { t.Errorf("the journal: %v", err) }
	}
	j, err := Open(o)
	testkit.MustDo(t, err)
	t.Cleanup(func() {
		if err := j.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return j
}

func mustBegin(t testing.TB, j *Journal, key string) *Write {
	t.Helper()
	w, err := j.Begin("PUT", []byte("b"), []byte(key), []byte("s3"), []byte("/b/"+key))
	testkit.MustDo(t, err)
	return w
}

// intentOf is a PUT that backend 1 may not have yet.
func intentOf(j *Journal, key string) Entry {
	return Entry{
		Seq: j.Stamp(time.Now()), Method: "PUT", Target: []byte("/b/" + key), Host: []byte("s3"), Bucket: []byte("b"),
		Key: []byte(key), ETag: []byte("e"), ID: []byte("id"), Size: 5, Owed: 2, Open: true,
	}
}

func pendingTasks(j *Journal) (all []task.Task) {
	for cursor := uint64(0); ; {
		t, next, ok := j.Next(cursor)
		if !ok {
			return all
		}
		all, cursor = append(all, t), next
	}
}

// killed is the directory as a process that is killed now leaves it.
func killed(t *testing.T, dir string) string {
	t.Helper()
	left := t.TempDir()
	testkit.MustDo(t, os.CopyFS(left, os.DirFS(dir)))
	return left
}

// takenOver is what is pending for the process that starts on it.
func takenOver(t *testing.T, dir string, names ...string) []task.Task {
	t.Helper()
	j := openDoor(t, dir, Options{Backends: names})
	defer func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}()
	return pendingTasks(j)
}

// Every field of an entry comes through the door, but for secrets; and as many keys as
// a multi-object delete has, by one write to the log.
func TestWriteSettlesAllFields(t *testing.T) {
	dir := t.TempDir()
	j := openDoor(t, dir, Options{})
	w := task.Write{
		Seq: j.Stamp(time.Now()), Method: "DELETE", Target: "/b\xff/k?x&X-Amz-Signature=***", Host: "h", ETag: "e", ID: "i", Reason: "r",
		Size: 7, Owed: []string{"b:9000"}, Took: []string{"a:9000"}, ETags: map[string]string{"b:9000": "other"},
		Made:       map[string]string{"a:9000": task.NullVersion, "b:9000": "id"},
		Overlapped: true, Unacknowledged: true, Unrepeatable: true, Carried: task.CarriedLock,
	}
	want := task.Task{Bucket: "b\xff", Key: "k\x00", First: w.Seq, Rivals: []task.Write{w}}
	target := []byte("/b\xff/k?x&X-Amz-Signature=secret")
	e := Entry{
		Seq: w.Seq, Method: w.Method, Target: target, Host: []byte(w.Host), Bucket: []byte(want.Bucket),
		Key: []byte(want.Key), ETag: []byte(w.ETag), ID: []byte(w.ID), Reason: []byte(w.Reason), Size: w.Size,
		Owed: 0b10, Took: 0b01, ETags: []task.BackendETag{{Backend: 1, ETag: []byte("other")}},
		Made: []task.BackendETag{{Backend: 1, ETag: []byte("id")}}, MadeNull: 0b01,
		Overlapped: true, Unacknowledged: true, Unrepeatable: true, Carried: task.CarriedLock,
	}
	write := mustBegin(t, j, "k")
	testkit.MustDo(t, write.Settle([]Entry{e}))
	write.End()
	if !bytes.Contains(target, []byte("secret")) {
		t.Error("the client's own target has changed")
	}
	got := pendingTasks(j)
	want.Version, want.Place, want.Rivals[0].Settled = got[0].Version, got[0].Place, got[0].Rivals[0].Settled // of no meaning here
	if !reflect.DeepEqual(got, []task.Task{want}) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	write = mustBegin(t, j, "0")
	var many []Entry
	for i := range 1000 {
		if i > 0 {
			testkit.MustDo(t, write.Add([]byte("b"), fmt.Append(nil, i), nil))
		}
		many = append(many, Entry{Seq: j.Stamp(time.Now()), Method: "DELETE", Bucket: []byte("b"), Key: fmt.Append(nil, i), Owed: 1, Open: true})
	}
	if n := j.writes.table.Len(); n != 1000 {
		t.Errorf("%d are under way", n)
	}
	before := j.Stats().Batches
	testkit.MustDo(t, write.Acknowledge(many))
	for i := range many {
		many[i].Open = false
	}
	testkit.MustDo(t, write.Settle(many))
	write.End()
	if got := len(pendingTasks(j)); got != 1001 {
		t.Errorf("%d tasks", got)
	}
	if n := j.writes.table.Len(); n != 0 {
		t.Errorf("%d are still under way", n)
	}
	if n := j.Stats().Batches - before; n > 10 { // the flusher's are among them
		t.Errorf("%d writes to the log", n)
	}
}

// R20, R35: a delete of a version that was under way when a process ended is one, and none of
// the object, whether DELETE or DeleteObjects asked for it; acknowledged or not.
func TestR35VersionsUnderWayAreVersions(t *testing.T) {
	dir := t.TempDir()
	j := openDoor(t, dir, Options{})
	target := func(id string) []byte { return []byte("/b?delete&versionId=" + id) }
	for _, acknowledged := range []bool{false, true} {
		w, err := j.Begin("DELETE", []byte("b"), []byte("k"), nil, target("1"))
		if err == nil {
			err = w.Add([]byte("b"), []byte("k"), target("2"))
		}
		if err == nil && acknowledged {
			if !w.Waits() {
				t.Error("the slots cannot say all of two keys, but it would not wait for the log")
			}
			e := Entry{Method: "DELETE", Aspect: task.Version, Target: target("1"), Bucket: []byte("b"), Key: []byte("k"), Took: 1, Owed: 3, Open: true}
			other := e
			e.Seq, other.Seq, other.Target = j.Stamp(time.Now()), j.Stamp(time.Now()), target("2")
			err = w.Acknowledge([]Entry{e, other})
		}
		testkit.MustDo(t, err)
		got := takenOver(t, killed(t, dir))
		if len(got) != 1 {
			t.Fatalf("tasks %+v", got)
		}
		for _, w := range slices.Concat(got[0].Writes, got[0].Rivals) {
			if w.Aspect != task.Version || w.Method != "DELETE" {
				t.Errorf("acknowledged %t: it is taken for %+v", acknowledged, w)
			}
		}
		if n := len(got[0].Writes); (n == 2) != acknowledged {
			t.Errorf("%d acknowledged ones, although %t", n, acknowledged)
		}
	}
}

// R20, R35: what the log has of a write that is over, and of which it does not know that yet,
// does not stand for the key after a kill, if another write has come to all since: that one
// is known, or what was there before it is closed.
func TestR35WhatIsOverDoesNotComeBack(t *testing.T) {
	del := func(j *Journal) (*Write, Entry) {
		e := intentOf(j, "k")
		e.Method, e.Took = "DELETE", 1
		w := mustBegin(t, j, "k")
		testkit.MustDo(t, w.Acknowledge([]Entry{e}))
		testkit.MustDo(t, j.Flush()) // a tick
		e.Open = false
		return w, e
	}
	for name, over := range map[string]func(j *Journal){
		"a settlement": func(j *Journal) {
			w, e := del(j)
			e.Owed, e.Took = 0, 3
			testkit.MustDo(t, w.Settle([]Entry{e}))
			w.End()
		},
		"a repair": func(j *Journal) {
			w, e := del(j)
			testkit.MustDo(t, w.Settle([]Entry{e}))
			w.End()
			if tasks := pendingTasks(j); len(tasks) != 1 || !j.Resolve(&tasks[0]) {
				t.Fatalf("cannot resolve %+v", tasks)
			}
		},
	} {
		for _, promised := range []bool{false, true} {
			dir := t.TempDir()
			j := openDoor(t, dir, Options{SyncEvery: time.Hour})
			over(j)
			if j.Quiet() {
				t.Errorf("%s: the engine would not tell of what comes now", name)
			}
			e := intentOf(j, "k")
			e.Took = 1
			w := mustBegin(t, j, "k")
			if promised {
				testkit.MustDo(t, w.Acknowledge([]Entry{e}))
			}
			e.Open, e.Owed, e.Took = false, 0, 3
			testkit.MustDo(t, w.Settle([]Entry{e}))
			w.End()
			// It is settled late, and killed copies one file after the other.
			testkit.Eventually(t, "the slot is free", func() bool { return j.writes.table.Len() == 0 })
			for _, task := range takenOver(t, killed(t, dir)) {
				if newest := task.Newest(); newest.Method == "DELETE" {
					t.Errorf("%s, promised %t: the delete stands: %+v", name, promised, task)
				}
			}
		}
	}
}

// What is under way when a process ends is pending when the next one begins, once; and a
// disk that has no room for it keeps writes from going on, unless that is wanted
// (OnJournalError).
func TestR20WritesUnderWayAreTakenOver(t *testing.T) {
	dir := t.TempDir()
	j := openDoor(t, dir, Options{})
	for _, key := range []string{"k", "\xff"} {
		if mustBegin(t, j, key).Waits() {
			t.Error("an intent would wait for a disk")
		}
	}
	mustBegin(t, j, "done").End()
	// MinIO ends where S3 does, versitygw where the file system does.
	for _, n := range []int{1024, 1025, 3072, 3700} {
		w, err := j.Begin("PUT", []byte("b"), []byte(strings.Repeat("k", n)), nil, nil)
		if err != nil {
			t.Fatalf("a key of %d bytes: %v", n, err)
		}
		w.End()
	}
	if w, err := j.Begin("PUT", []byte("b"), []byte(strings.Repeat("k", 5000)), nil, nil); w != nil || !errors.Is(err, task.ErrKeyTooLong) {
		t.Fatalf("a key that has no room: %v, %v", w, err)
	}
	j.writes.table.SetMax(2)
	if w, err := j.Begin("PUT", []byte("b"), []byte("k"), nil, nil); w != nil || !errors.Is(err, task.ErrTooManyWrites) {
		t.Fatalf("as many as may be: %v, %v", w, err)
	}
	if len(pendingTasks(j)) > 0 {
		t.Fatal("pending while it is under way")
	}
	left := killed(t, dir)
	for range 2 { // the second time nothing is left to be taken
		got := takenOver(t, left)
		keys := []string{}
		for i := range got {
			keys = append(keys, got[i].Key)
		}
		slices.Sort(keys)
		if !slices.Equal(keys, []string{"k", "\xff"}) || got[0].Newest().Method != "PUT" || len(got[0].Owed()) != 2 {
			t.Fatalf("tasks %+v", got)
		}
	}

	// The table is closed: it has no room.
	testkit.MustDo(t, j.writes.table.Close())
	j.writes.table.SetMax(inflight.DefaultMax)
	if _, err := j.Begin("PUT", []byte("b"), []byte("k"), nil, nil); err == nil {
		t.Fatal("noted nowhere")
	}
	var told []error
	j.o.Continue, j.o.OnError = true, func(err error) { told = append(told, err) }
	w, err := j.Begin("PUT", []byte("b"), []byte("k"), []byte("s3"), []byte("/b/k"))
	if err != nil || len(told) != 1 || !errors.Is(told[0], ErrUnnoted) {
		t.Fatalf("%v, told of %v", err, told)
	}
	if !w.Waits() {
		t.Error("no slot can say what an intent says, but it would not wait for the log")
	}
	e := intentOf(j, "k")
	if err := w.Acknowledge([]Entry{e}); err != nil {
		t.Error(err)
	}
	e.Open = false
	if err := w.Settle([]Entry{e}); err != nil {
		t.Error(err)
	}
	w.End()
	if got := pendingTasks(j); len(got) != 1 {
		t.Errorf("tasks %+v", got)
	}
	j.writes.table = nil
}

// Whenever the process is killed, an acknowledged write that a backend may lack is
// known with the place that it has among others, whether the log has it or not.
func TestR20IntentsSurviveInTheirSlots(t *testing.T) {
	for _, power := range []bool{false, true} {
		// What the log has is a matter of time, which is the test's own.
		t.Run(fmt.Sprintf("power %v", power), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { intentsSurvive(t, power) })
		})
	}
}

func intentsSurvive(t *testing.T, power bool) {
	dir := t.TempDir()
	names := []string{"a:9000", "b:9000"}
	j := openDoor(t, dir, Options{Power: power})
	begin := func(key string) (*Write, Entry) {
		t.Helper()
		w, e := mustBegin(t, j, key), intentOf(j, key)
		testkit.MustDo(t, w.Acknowledge([]Entry{e}))
		return w, e
	}
	want := func(what string, tasks []task.Task, want ...string) {
		t.Helper()
		var got []string
		for i := range tasks {
			w := tasks[i].Newest()
			got = append(got, fmt.Sprintf("%s %s %s %d %q %d", w.Method, tasks[i].Key, w.ETag, w.Size, w.Owed, w.Seq))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s: pending %q, want %q", what, got, want)
		}
	}
	settle := func(w *Write, e Entry) {
		t.Helper()
		testkit.MustDo(t, w.Settle([]Entry{e}))
	}
	logged := func() { // the log has all that was intended
		time.Sleep(time.Second) // of the bubble's
		synctest.Wait()         // what is to be done at this time, too
	}

	w, e := begin("k")
	known := fmt.Sprintf(`PUT k e 5 ["b:9000"] %d`, e.Seq)
	want("under way", takenOver(t, killed(t, dir), names...), known)
	if power {
		left := killed(t, dir)
		testkit.MustDo(t, os.Remove(filepath.Join(left, InflightName)))
		want("under way, power cut", takenOver(t, left, names...), known)
	} else {
		// Who owes is told by places in the list of backends: by another list
		// it cannot be told.
		want("under way, backends in another order", takenOver(t, killed(t, dir), "b:9000", "a:9000"),
			fmt.Sprintf(`PUT k e 5 ["b:9000" "a:9000"] %d`, e.Seq))
		logged() // which knows the backends by name
		want("logged, backends in another order", takenOver(t, killed(t, dir), "b:9000", "a:9000"), known)
		want("logged", takenOver(t, killed(t, dir), names...), known)
	}

	settle(w, Entry{Seq: e.Seq, Owed: 2, Reason: []byte("it refused")})
	want("settled", takenOver(t, killed(t, dir), names...), known)
	w.End()
	want("ended", takenOver(t, killed(t, dir), names...), known)

	w, e = begin("well")
	if !power {
		logged()
	}
	settle(w, Entry{Seq: e.Seq})
	w.End()
	// That it ended well is not written yet where the intent is.
	want("ended well", takenOver(t, killed(t, dir), names...), known, fmt.Sprintf(`PUT well e 5 ["b:9000"] %d`, e.Seq))
	testkit.MustDo(t, j.Flush())
	want("ended well, written", takenOver(t, killed(t, dir), names...), known)

	w, e = begin("sooner")
	settle(w, Entry{Seq: e.Seq})
	w.End()
	if !power {
		want("ended well before it was in the log", takenOver(t, killed(t, dir), names...), known)
	}
}

// fullDisk has no room for another file while it is full.
type fullDisk struct {
	FS
	full atomic.Bool
}

func (d *fullDisk) Create(name string) (File, error) {
	if d.full.Load() {
		return nil, syscall.ENOSPC
	}
	return d.FS.Create(name)
}

// While nothing can be written down, a write that has ended keeps its slots.
func TestR20SlotsAreKeptWhileTheJournalFails(t *testing.T) {
	disk := &fullDisk{FS: osFS{}}
	dir := t.TempDir()
	revived := make(chan struct{})
	j := openDoor(t, dir, Options{
		SegmentSize: 1, // a segment a batch
		FS:          disk, OnError: func(error) {}, OnRevive: func() { close(revived) },
	})
	w, e := mustBegin(t, j, "k"), intentOf(j, "k")
	testkit.MustDo(t, w.Acknowledge([]Entry{e}))
	disk.full.Store(true)
	testkit.MustDo(t, w.Settle([]Entry{{Seq: e.Seq, Owed: 2}}))
	for i := 0; !j.Refuses(); i++ { // the first may have gone to a file that was there
		if i == 100 {
			t.Fatal("it does not fail")
		}
		_ = j.Promise([]Entry{{Method: "PUT", Bucket: []byte("b"), Key: []byte("x"), Owed: 1}})
	}
	other := mustBegin(t, j, "other")
	testkit.MustDo(t, other.Add([]byte("b"), []byte("further"), nil))
	w.End()
	other.End()
	if n := j.writes.table.Len(); n != 3 {
		t.Fatalf("%d slots are kept, want 3", n)
	}
	if got := takenOver(t, killed(t, dir)); !slices.ContainsFunc(got, func(p task.Task) bool { return p.Key == "k" && len(p.Owed()) > 0 }) {
		t.Errorf("killed meanwhile: %+v", got)
	}
	disk.full.Store(false)
	testkit.Receive(t, "its revival", revived) // it tries each second
	mustBegin(t, j, "next").End()
	if n := j.writes.table.Len(); n != 0 {
		t.Fatalf("%d slots are kept", n)
	}
}

// A journal that was opened on a disk that nothing can be written to refuses writes.
func TestR20NoWriteBeginsWithoutATable(t *testing.T) {
	disk := &fullDisk{FS: osFS{}}
	disk.full.Store(true)
	var told []error
	j := openDoor(t, t.TempDir(), Options{FS: disk, OnError: func(err error) { told = append(told, err) }})
	if !j.Refuses() || len(told) == 0 {
		t.Fatalf("it works: told of %v", told)
	}
	if w, err := j.Begin("PUT", []byte("b"), []byte("k"), nil, nil); w != nil || !errors.Is(err, ErrFailed) {
		t.Errorf("%v, %v", w, err)
	}
	disk.full.Store(false) // so that it closes
}

// An intent that neither the slot nor the log can take is nobody's to settle: it does not
// stay open for good.
func TestR20IntentThatFailsIsNotLeftOpen(t *testing.T) {
	disk := &fullDisk{FS: osFS{}}
	j := openDoor(t, t.TempDir(), Options{SegmentSize: 1, FS: disk, manual: true, OnError: func(error) {}})
	testkit.MustDo(t, j.Promise([]Entry{put("x", 1)})) // fills the segment
	w, e := mustBegin(t, j, "k"), intentOf(j, "k")
	table := filepath.Join(j.dir, InflightName)
	info, err := os.Stat(table)
	testkit.MustDo(t, err)
	testkit.MustDo(t, os.Truncate(table, 0))
	disk.full.Store(true)
	if err := w.Acknowledge([]Entry{e}); !errors.Is(err, ErrFailed) {
		t.Fatalf("acknowledged: %v", err)
	}
	if s := j.Stats(); s.Open != 0 {
		t.Errorf("%d intents are open", s.Open)
	}
	w.End()
	disk.full.Store(false)
	testkit.MustDo(t, os.Truncate(table, info.Size()))
	j.revive()
	got := pendingTasks(j)
	if len(got) != 2 || len(got[1].Rivals) != 1 || !got[1].Rivals[0].Unacknowledged {
		t.Errorf("pending: %+v", got)
	}
}

// What was acknowledged keeps its place; of a part of an object whose target did not
// fit into the slot, the whole object is looked at.
func TestR20EntryOfAWriteUnderWay(t *testing.T) {
	names := []string{"a:1", "b:2"}
	ack := inflight.Ack{Seq: 7, Owed: 2, Order: orderOf(names), Method: "PUT", Took: 1, Aspect: uint8(task.ACL)}
	w := inflight.Write{Bucket: []byte("b"), Key: []byte("k"), Target: []byte("/b/k?acl"), Ack: ack}
	if e := entryOf(&w, names); e.Seq != 7 || e.Owed != 2 || e.Method != "PUT" || e.Aspect != task.ACL || e.Took != 1 || e.Unacknowledged {
		t.Errorf("acknowledged: %+v", e)
	}
	w.Target = nil
	if e := entryOf(&w, names); e.Seq != 7 || e.Owed != 2 || e.Method != "" || e.Aspect != task.Content || !e.Unacknowledged {
		t.Errorf("an unknown part: %+v", e)
	}
	w.Ack.Aspect = uint8(task.Content)
	if e := entryOf(&w, names); e.Seq != 7 || e.Owed != 2 || e.Method != "PUT" {
		t.Errorf("acknowledged, the target did not fit: %+v", e)
	}
	w.Target, w.Ack = []byte("/b/k?tagging"), inflight.Ack{Seq: 7, Order: orderOf(names), Method: "PUT", Old: true, Flags: 1}
	if e := entryOf(&w, names); e.Aspect != task.Tags {
		t.Errorf("of a table of before: %+v", e)
	}
	w.Ack = inflight.Ack{}
	for _, tt := range []struct {
		method, query string
		aspect        task.Aspect
		want          string
	}{
		{"", "tagging", task.Content, ""},
		{"PUT", "tagging", task.Tags, "PUT"},
		{"DELETE", "tagging", task.Tags, "DELETE"}, // it takes no object away
		{"PUT", "legal-hold", task.LegalHold, "PUT"},
		{"DELETE", "x-id=DeleteObject", task.Content, "DELETE"},
		{"PUT", "uploadId=u", task.Content, "PUT"},
		{"DELETE", "x", task.Content, ""}, // of something, or of all: any other method leaves an object there
		{"DELETE", "versionId=v", task.Version, "DELETE"},
		{"DELETE", "tagging&versionId=v", task.Version, "DELETE"},
	} {
		w.Method, w.Target = tt.method, []byte("/b/k?"+tt.query)
		if e := entryOf(&w, names); e.Seq != 0 || e.Owed != 3 || e.Method != tt.want || e.Aspect != tt.aspect || !e.Unacknowledged {
			t.Errorf("not acknowledged, %s ?%s: %+v", tt.method, tt.query, e)
		}
	}
}

// What a slot says of an acknowledged write is what comes out of it.
func TestR20SlotKeepsFlags(t *testing.T) {
	dir := t.TempDir()
	j := openDoor(t, dir, Options{})
	w, e := mustBegin(t, j, "k"), intentOf(j, "k")
	e.Took, e.Overlapped, e.Unrepeatable, e.Carried, e.MadeNull = 1, true, true, task.CarriedTags|task.CarriedMetadata, 1
	testkit.MustDo(t, w.Acknowledge([]Entry{e}))
	got := takenOver(t, killed(t, dir), "a:9000", "b:9000")
	if len(got) != 1 || len(got[0].Writes) != 1 {
		t.Fatalf("tasks %+v", got)
	}
	if s := got[0].Writes[0]; s.Carried != e.Carried || !s.Overlapped || !s.Unrepeatable || !slices.Equal(s.Took, []string{"a:9000"}) ||
		!maps.Equal(s.Made, map[string]string{"a:9000": task.NullVersion}) {
		t.Errorf("%+v", s)
	}
}

// R35: a delete that began after a PUT had been acknowledged stands for the key, also if the
// process is killed while both are under way to a backend.
func TestR35SlotKeepsWhenItWasAnswered(t *testing.T) {
	dir := t.TempDir()
	j := openDoor(t, dir, Options{})
	for _, method := range []string{"PUT", "DELETE"} {
		w, err := j.Begin(method, []byte("b"), []byte("k"), []byte("s3"), []byte("/b/k"))
		testkit.MustDo(t, err)
		e := intentOf(j, "k")
		e.Method, e.Took = method, 1
		if method == "DELETE" {
			e.ETag, e.Size = nil, 0
		}
		testkit.MustDo(t, w.Acknowledge([]Entry{e}))
	}
	got := takenOver(t, killed(t, dir), "a:9000", "b:9000")
	if len(got) != 1 || len(got[0].Writes) != 1 || len(got[0].Rivals) != 0 {
		t.Fatalf("tasks %+v", got)
	}
	if w := got[0].Writes[0]; w.Method != "DELETE" || w.Overlapped || !slices.Equal(w.Owed, []string{"a:9000", "b:9000"}) {
		t.Errorf("%+v", w)
	}
}
