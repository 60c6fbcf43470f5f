package service

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
	"github.com/akubra/akubra/internal/ledger/ledgertest"
	"github.com/akubra/akubra/synclog/inflight"
	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/task"
)

// Promise must hand on every field.
func TestEngineJournalPromise(t *testing.T) {
	n := ledgertest.MustOpen(t, t.TempDir(), "a:9000", "b:9000")
	j := &engineJournal{Journal: n.Journal}
	w := task.Write{
		Seq: j.Stamp(time.Now()), Method: "DELETE", Target: "/b\xff/k?x", Host: "h", ETag: "e", ID: "i", Reason: "r",
		Size: 7, Owed: []string{"b:9000"}, Unacknowledged: true,
	}
	want := task.Task{Bucket: "b\xff", Key: "k\x00", First: w.Seq, Rivals: []task.Write{w}}
	err := j.Promise([]engine.Promise{{
		Seq: w.Seq, Method: w.Method, Target: []byte(w.Target), Host: []byte(w.Host), Bucket: []byte(want.Bucket),
		Key: []byte(want.Key), ETag: []byte(w.ETag), ID: []byte(w.ID), Reason: []byte(w.Reason), Size: w.Size,
		Owed: 0b10, Unacknowledged: true,
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := ledgertest.Tasks(t, n)
	want.Version, want.Place, want.Rivals[0].Settled = got[0].Version, got[0].Place, got[0].Rivals[0].Settled // of no meaning here
	if !reflect.DeepEqual(got, []task.Task{want}) {
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
	if got := len(ledgertest.Tasks(t, n)); got != 1001 {
		t.Errorf("%d tasks", got)
	}
}

// What is under way when a process ends is pending when the next one begins, once;
// and a disk that has no room for it keeps writes from going on, unless that is
// wanted (OnJournalError).
func TestInflightIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	names := []string{"a:9000", "b:9000"}
	n := ledgertest.MustOpen(t, dir, names...)
	table := ledgertest.MustOpenInflight(t, dir, n)
	j := newEngineJournal(n.Journal, table, names, false)
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
	if len(ledgertest.Tasks(t, n)) > 0 {
		t.Fatal("pending while it is under way")
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time nothing is left to be taken
		table = ledgertest.MustOpenInflight(t, dir, n)
		if err := table.Close(); err != nil {
			t.Fatal(err)
		}
		got := ledgertest.Tasks(t, n)
		if ledgertest.Objects(got) != "b/k b/\xff" && ledgertest.Objects(got) != "b/\xff b/k" || got[0].Newest().Method != "" || len(got[0].Owed()) != 2 {
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
func takenOver(t *testing.T, dir string, names ...string) []task.Task {
	t.Helper()
	n := ledgertest.MustOpen(t, dir, names...)
	if err := ledgertest.MustOpenInflight(t, dir, n).Close(); err != nil {
		t.Fatal(err)
	}
	return ledgertest.Tasks(t, n)
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
			n := ledgertest.MustOpen(t, dir, names...)
			table := ledgertest.MustOpenInflight(t, dir, n)
			defer table.Close()
			j := newEngineJournal(n.Journal, table, names, power)
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

			logged := func() { // the log has all that was intended
				time.Sleep(time.Second) // of the bubble's
				synctest.Wait()         // what is to be done at this time, too
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

			j.Settle(&engine.Promise{Seq: p.Seq, Owed: 2, Reason: []byte("it refused")})
			want("settled", takenOver(t, killed(t, dir), names...), known)
			j.End(slot)
			want("ended", takenOver(t, killed(t, dir), names...), known)

			slot, p = begin("well")
			if !power {
				logged()
			}
			j.Settle(&engine.Promise{Seq: p.Seq})
			j.End(slot)
			// That it ended well is not written yet where the intent is.
			want("ended well", takenOver(t, killed(t, dir), names...), known, fmt.Sprintf(`PUT well e 5 ["b:9000"] %d`, p.Seq))
			if err := j.Flush(); err != nil {
				t.Fatal(err)
			}
			want("ended well, written", takenOver(t, killed(t, dir), names...), known)

			slot, p = begin("sooner")
			j.Settle(&engine.Promise{Seq: p.Seq})
			j.End(slot)
			if !power {
				want("ended well before it was in the log", takenOver(t, killed(t, dir), names...), known)
			}
		})
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
	j.Settle(&engine.Promise{Seq: p.Seq, Owed: 2})
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
