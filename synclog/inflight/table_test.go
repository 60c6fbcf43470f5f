package inflight

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

func mustOpen(t testing.TB, path string) (*Table, []Write) {
	t.Helper()
	var left []Write
	table, err := Open(path, func(w []Write) error {
		left = w
		return nil
	})
	testkit.MustDo(t, err)
	return table, left
}

func write(bucket, key string) Write {
	return Write{Bucket: []byte(bucket), Key: []byte(key), Host: []byte("s3.test"), Target: []byte("/" + bucket + "/" + key)}
}

func mustBegin(t testing.TB, table *Table, w Write) int32 {
	t.Helper()
	slot, err := table.Begin(&w)
	testkit.MustDo(t, err)
	return slot
}

func names(ws []Write) (list []string) {
	for _, w := range ws {
		list = append(list, string(w.Bucket)+"/"+string(w.Key))
	}
	slices.Sort(list)
	return list
}

// copyOf is the file as a process that is killed now leaves it.
func copyOf(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	testkit.MustDo(t, err)
	left := filepath.Join(t.TempDir(), "left")
	testkit.MustDo(t, os.WriteFile(left, b, 0o600))
	return left
}

func TestWhatIsUnderWayIsLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inflight")
	table, left := mustOpen(t, path)
	defer table.Close()
	if len(left) > 0 {
		t.Fatal("a new file has something")
	}
	a, b := mustBegin(t, table, write("b", "a")), mustBegin(t, table, write("b", "\xff\x00k"))
	mustBegin(t, table, write("b", ""))
	table.End(a)
	if table.Len() != 2 {
		t.Fatalf("%d under way", table.Len())
	}
	again, left := mustOpen(t, copyOf(t, path))
	if got := strings.Join(names(left), " "); got != "b/ b/\xff\x00k" {
		t.Fatalf("left: %q", got)
	}
	for _, w := range left {
		if string(w.Host) != "s3.test" || !strings.HasPrefix(string(w.Target), "/b/") {
			t.Errorf("left: %+v", w)
		}
	}
	testkit.MustDo(t, again.Close())
	table.End(b)
}

// What was left is there until somebody has it.
func TestForgottenOnlyWhenTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inflight")
	table, _ := mustOpen(t, path)
	mustBegin(t, table, write("b", "k"))
	testkit.MustDo(t, table.Close())
	full := errors.New("disk full")
	if _, err := Open(path, func([]Write) error { return full }); !errors.Is(err, full) {
		t.Fatalf("error is %v", err)
	}
	table, left := mustOpen(t, path)
	if len(left) != 1 {
		t.Fatalf("left: %v", left)
	}
	_ = table.Close()
	table, left = mustOpen(t, path)
	defer table.Close()
	if len(left) > 0 {
		t.Fatalf("left twice: %v", left)
	}
}

// Whatever a killed writer has not come to, and whatever has become of the file:
// what is whole is found, and nothing else.
func TestTornAndDamagedSlots(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inflight")
	table, _ := mustOpen(t, path)
	defer table.Close()
	first, second := write("b", "first"), write("bucket", "second")
	mustBegin(t, table, first)
	mustBegin(t, table, second)
	whole, err := os.ReadFile(path)
	testkit.MustDo(t, err)
	used := headLen + 8 + len(first.Bucket) + len(first.Key) + len(first.Host) + len(first.Target)
	for i := range used {
		for bit := range 8 {
			damaged := bytes.Clone(whole)
			damaged[i] ^= 1 << bit
			testkit.MustDo(t, os.WriteFile(path+"2", damaged, 0o600))
			f, err := os.Open(path + "2")
			testkit.MustDo(t, err)
			left, err := read(f)
			_ = f.Close()
			if got := strings.Join(names(left), " "); err != nil || got != "bucket/second" {
				t.Fatalf("bit %d of byte %d: %q, %v", bit, i, got, err)
			}
		}
	}
	for _, size := range []int{0, 1, slotSize - 1, slotSize, slotSize + 1, 2*slotSize - 1, 2 * slotSize} {
		testkit.MustDo(t, os.WriteFile(path+"3", whole[:size], 0o600))
		short, left := mustOpen(t, path+"3")
		if len(left) != size/slotSize {
			t.Errorf("of %d bytes %d writes are left", size, len(left))
		}
		_ = short.Close()
	}
}

func ack(seq uint64) *Ack {
	return &Ack{Seq: seq, Owed: 5, Order: 0xfedcba98, Size: 1 << 40, Took: 2, Aspect: 4, Flags: 3, Method: "PUT", ETag: []byte("abc"), ID: []byte("1f")}
}

func TestAcknowledgedOnesAreLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inflight")
	table, _ := mustOpen(t, path)
	defer table.Close()
	slot := mustBegin(t, table, write("b", "k"))
	look := func() Ack {
		t.Helper()
		again, left := mustOpen(t, copyOf(t, path))
		defer again.Close()
		if len(left) != 1 || string(left[0].Key) != "k" {
			t.Fatalf("left: %+v", left)
		}
		return left[0].Ack
	}
	if a := look(); !reflect.DeepEqual(a, Ack{}) {
		t.Fatalf("not acknowledged yet: %+v", a)
	}
	for _, seq := range []uint64{7, 1 << 60} { // the later one counts
		testkit.MustDo(t, table.Acknowledge(slot, ack(seq)))
		if a := look(); !reflect.DeepEqual(a, *ack(seq)) {
			t.Fatalf("left: %+v", a)
		}
	}
	// The next write in the slot, to the same key even, is another one.
	table.End(slot)
	if again := mustBegin(t, table, write("b", "k")); again != slot {
		t.Fatalf("slot %d, want %d", again, slot)
	}
	if a := look(); a.Seq != 0 {
		t.Fatalf("not acknowledged: %+v", a)
	}
	long := ack(8)
	long.ETag = bytes.Repeat([]byte("e"), ackSize)
	long.Method = strings.Repeat("M", ackSize)
	testkit.MustDo(t, table.Acknowledge(slot, long))
	if a := look(); a.Seq != 8 || a.Owed != 5 || len(a.ETag) > 0 || a.Method != long.Method[:maxMethod] {
		t.Fatalf("left: %+v", a)
	}
}

// An acknowledgement that is damaged, or not complete, is none, and does the write
// no harm.
func TestTornAcknowledgement(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inflight")
	table, _ := mustOpen(t, path)
	defer table.Close()
	testkit.MustDo(t, table.Acknowledge(mustBegin(t, table, write("b", "k")), ack(9)))
	slot, err := os.ReadFile(path)
	testkit.MustDo(t, err)
	slot = slot[:slotSize]
	used := headLen + ackFixed + 3*2 + len("PUT") + len("abc") + len("1f")
	for i := range used {
		for bit := range 8 {
			damaged := bytes.Clone(slot)
			damaged[ackAt+i] ^= 1 << bit
			if w, ok := parse(damaged); !ok || w.Ack.Seq != 0 || string(w.Key) != "k" {
				t.Fatalf("bit %d of byte %d: %+v, %v", bit, i, w, ok)
			}
		}
		torn := bytes.Clone(slot) // all but the length, which is written last
		clear(torn[ackAt : ackAt+4])
		clear(torn[ackAt+min(headLen+i, used) : ackAt+used])
		if w, ok := parse(torn); !ok || w.Ack.Seq != 0 {
			t.Fatalf("torn at %d: %+v, %v", i, w, ok)
		}
	}
}

func TestLongOnes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inflight")
	table, _ := mustOpen(t, path)
	defer table.Close()
	long := write("b", strings.Repeat("k", 1024))
	long.Target = bytes.Repeat([]byte("%41"), 1024)
	mustBegin(t, table, long)
	if _, err := table.Begin(new(write("b", strings.Repeat("k", slotSize)))); !errors.Is(err, ErrTooLong) {
		t.Fatalf("error is %v", err)
	}
	again, left := mustOpen(t, copyOf(t, path))
	defer again.Close()
	if len(left) != 1 || !bytes.Equal(left[0].Key, long.Key) || len(left[0].Bucket) != 1 {
		t.Fatalf("left: %+v", left)
	}
}

// Many goroutines, more writes than a chunk has slots: each is found as long as it
// is under way.
func TestManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inflight")
	table, _ := mustOpen(t, path)
	defer table.Close()
	const writers, each = 8, 100
	var mu sync.Mutex
	var want []string
	var wg sync.WaitGroup
	for g := range writers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 1))
			for i := range each {
				key := fmt.Sprint(g, "-", i)
				slot, err := table.Begin(new(write("b", key)))
				if err != nil {
					t.Error(err)
					return
				}
				if random.IntN(3) > 0 {
					table.End(slot)
					continue
				}
				mu.Lock()
				want = append(want, "b/"+key)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if table.Len() != len(want) {
		t.Errorf("%d under way, want %d", table.Len(), len(want))
	}
	again, left := mustOpen(t, copyOf(t, path))
	defer again.Close()
	slices.Sort(want)
	if got := names(left); !slices.Equal(got, want) {
		t.Fatalf("%d are left, want %d", len(got), len(want))
	}
}

// A page that the system cannot give is an error, not the end of the process.
func TestPageThatIsNotThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inflight")
	table, _ := mustOpen(t, path)
	defer table.Close()
	slot := mustBegin(t, table, write("b", "k"))
	testkit.MustDo(t, os.Truncate(path, 0))
	if _, err := table.Begin(new(write("b", "k2"))); err == nil {
		t.Fatal("written to nowhere")
	}
	table.End(slot)
}

func BenchmarkBeginAcknowledgeEnd(b *testing.B) {
	table, _ := mustOpen(b, filepath.Join(b.TempDir(), "inflight"))
	defer table.Close()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		w, a := write("bucket", "some/folder/an-object.jpg"), ack(1)
		for pb.Next() {
			slot := mustBegin(b, table, w)
			if err := table.Acknowledge(slot, a); err != nil {
				b.Fatal(err)
			}
			table.End(slot)
		}
	})
}

func BenchmarkBeginEnd(b *testing.B) {
	table, _ := mustOpen(b, filepath.Join(b.TempDir(), "inflight"))
	defer table.Close()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		w := write("bucket", "some/folder/an-object.jpg")
		for pb.Next() {
			table.End(mustBegin(b, table, w))
		}
	})
}
