package journal

import (
	"fmt"
	"slices"
	"testing"
)

// TestR36Owing: by backend, how much it is owed and since when; exactly where there is little, and from a
// sample where there is much.
func TestR36Owing(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	if o := r.Owing(); slices.Max(o.Oldest) != 0 || slices.Max(o.Bytes) != 0 {
		t.Fatalf("at first: %+v", o)
	}
	sized := func(key string, owed uint64, size int64) uint64 {
		e := put(key, owed)
		e.Size = size
		return r.promise(e)
	}
	first := sized("a", 0b10, 1000)
	sized("b", 0b110, 24)
	gone := put("c", 0b10)
	gone.Method = "DELETE"
	gone.Size = 77 // of the request's body
	r.promise(gone)
	o := r.Owing()
	if o.Bytes[1] != 1024 || o.Bytes[2] != 24 || o.Bytes[0] != 0 {
		t.Errorf("owed are %v bytes", o.Bytes)
	}
	if o.Oldest[1] != first || o.Oldest[2] <= first || o.Oldest[0] != 0 {
		t.Errorf("the oldest are %v, and the first was %d", o.Oldest, first)
	}

	const many = 20 * owingSample
	for i := range many {
		sized(fmt.Sprint("k", i), 0b1, int64(i/(many/2)*8192)) // the first half is empty, so that a sample has to be spread
	}
	if o := r.Owing(); o.Bytes[0] < many*4096*9/10 || o.Bytes[0] > many*4096*11/10 {
		t.Errorf("of %d keys, of 4096 bytes on average, %d bytes are owed, want about %d", many, o.Bytes[0], many*4096)
	}
	if s := r.Stats(); s.SyncTime < 0 || (s.SyncTime > 0) != (s.Syncs > 0) {
		t.Errorf("%d syncs took %v", s.Syncs, s.SyncTime)
	}
}
