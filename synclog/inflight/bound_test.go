package inflight

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

func sizeOf(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	testkit.MustDo(t, err)
	return info.Size()
}

// mapped counts the chunks that are there.
func (t *Table) mapped() (n int) {
	for _, p := range *t.chunks.Load() {
		if p != nil {
			n++
		}
	}
	return n
}

func TestR23WritesAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inflight")
	table, _ := mustOpen(t, path)
	defer table.Close()
	const most = 3*chunkSlots + 7
	table.SetMax(most)
	var slots []int32
	for i := range most {
		slots = append(slots, mustBegin(t, table, write("b", fmt.Sprint(i))))
	}
	size := sizeOf(t, path)
	for range 1000 {
		if _, err := table.Begin(new(write("b", "one more"))); !errors.Is(err, ErrFull) {
			t.Fatalf("error is %v", err)
		}
	}
	if now := sizeOf(t, path); now != size || now != 4*chunkSize {
		t.Fatalf("the file has %d bytes", now)
	}
	table.End(slots[5])
	mustBegin(t, table, write("b", "in its place"))
}

// After a peak file and memory are given back, by themselves.
func TestR23TablePeakIsGivenBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inflight")
	table, _ := mustOpen(t, path)
	defer table.Close()
	kept := mustBegin(t, table, write("b", "stays")) // in the first chunk
	var slots []int32
	for i := range 20 * chunkSlots {
		slots = append(slots, mustBegin(t, table, write("b", fmt.Sprint(i))))
	}
	if size := sizeOf(t, path); size < 20*chunkSize {
		t.Fatalf("the peak takes %d bytes", size)
	}
	for _, s := range slots {
		table.End(s)
	}
	testkit.Eventually(t, "the file is small again", func() bool { return sizeOf(t, path) <= 2*chunkSize })
	if n := table.mapped(); n > 2 {
		t.Errorf("%d chunks are mapped", n)
	}
	_, left := mustOpen(t, copyOf(t, path))
	if len(left) != 1 || string(left[0].Key) != "stays" {
		t.Fatalf("left: %v", names(left))
	}
	table.End(kept)
	// And it grows again.
	for i := range 5 * chunkSlots {
		mustBegin(t, table, write("b", fmt.Sprint(i)))
	}
	if n := len(names(leftIn(t, path))); n != 5*chunkSlots || table.Len() != n {
		t.Errorf("%d writes are left, and the table has %d", n, table.Len())
	}
}

func leftIn(t testing.TB, path string) []Write {
	t.Helper()
	table, left := mustOpen(t, copyOf(t, path))
	testkit.MustDo(t, table.Close())
	return left
}

// One write that hangs at the end keeps no more than its own chunk: the rest is a hole,
// which is filled again.
func TestR23HolesBeforeAWriteThatHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inflight")
	table, _ := mustOpen(t, path)
	defer table.Close()
	var slots []int32
	for i := range 10 * chunkSlots {
		slots = append(slots, mustBegin(t, table, write("b", fmt.Sprint(i))))
	}
	for _, s := range slots[:len(slots)-1] {
		table.End(s)
	}
	table.trim()
	if n, size := table.mapped(), sizeOf(t, path); n != 2 || size != 10*chunkSize {
		t.Fatalf("%d chunks are mapped of a file of %d bytes", n, size)
	}
	if n := allocated(t, path); n > 3*chunkSize {
		t.Errorf("the file takes %d bytes of the disk", n)
	}
	for i := range 4 * chunkSlots {
		mustBegin(t, table, write("b", fmt.Sprint("again", i)))
	}
	if n := sizeOf(t, path); n != 10*chunkSize {
		t.Errorf("the file has grown to %d bytes", n)
	}
	if n := len(leftIn(t, path)); n != 4*chunkSlots+1 {
		t.Errorf("%d writes are left", n)
	}
}

// Nobody who ends or acknowledges a write waits for one that waits for the disk.
func TestR23EndWaitsForNoDisk(t *testing.T) {
	table, _ := mustOpen(t, filepath.Join(t.TempDir(), "inflight"))
	defer table.Close()
	slot, other := mustBegin(t, table, write("b", "k")), mustBegin(t, table, write("b", "l"))
	table.growing.Lock() // as by a disk that stands still
	done := make(chan error)
	go func() {
		err := table.Acknowledge(slot, &Ack{Seq: 1, Method: "PUT"})
		table.End(slot)
		table.End(other)
		if _, failed := table.Begin(new(write("b", "m"))); err == nil { // there is room
			err = failed
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("they wait")
	}
	table.growing.Unlock()
}

// Writes that come and go while the file grows and shrinks keep their slots.
func TestTableUnderLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inflight")
	table, _ := mustOpen(t, path)
	defer table.Close()
	stop := make(chan struct{})
	var trims, writers sync.WaitGroup
	trims.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				table.trim()
			}
		}
	})
	for w := range 4 {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			for range 30 {
				var slots []int32
				for i := range random.IntN(3 * chunkSlots) {
					key := fmt.Sprintf("%d/%d", w, i)
					slot, err := table.Begin(new(write("b", key)))
					if err != nil {
						t.Error(err)
						return
					}
					if err := table.Acknowledge(slot, &Ack{Seq: uint64(i + 1), Method: "PUT", ID: []byte(key)}); err != nil {
						t.Error(err)
					}
					slots = append(slots, slot)
				}
				for i, slot := range slots {
					got, ok := parse(bytes.Clone(table.slot(slot)))
					if want := fmt.Sprintf("%d/%d", w, i); !ok || string(got.Key) != want || string(got.Ack.ID) != want {
						t.Errorf("slot %d has %q (%v), not %q", slot, got.Key, ok, want)
					}
					table.End(slot)
				}
			}
		})
	}
	testkit.Finish(t, "the writers end", writers.Wait)
	close(stop)
	testkit.Finish(t, "the trimming ends", trims.Wait)
	if table.Len() != 0 || strings.Join(names(leftIn(t, path)), "") != "" {
		t.Errorf("%d are left", table.Len())
	}
}
