//go:build !race

package journal

import "testing"

// A client's PUT pays no allocation for its intent.
func TestPromiseAllocatesNothing(t *testing.T) {
	j, err := Open(Options{Dir: t.TempDir(), Backends: []string{"a", "b"}, manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for _, pending := range []bool{false, true} {
		if pending { // others are, so that all is looked up
			if err := j.Promise([]Entry{put("other", 1)}); err != nil {
				t.Fatal(err)
			}
		}
		e := put("k", 2)
		e.Open = true
		touch := put("t", 0)
		if n := testing.AllocsPerRun(10000, func() {
			es := [1]Entry{e}
			if err := j.Promise(es[:]); err != nil {
				t.Fatal(err)
			}
			j.settleOpen(&Entry{Seq: es[0].Seq})
			es[0] = touch
			if err := j.Promise(es[:]); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v allocations, want 0 (others pending: %v)", n, pending)
		}
	}
	if s := j.Stats(); s.Open != 0 || s.Pending != 1 {
		t.Errorf("%+v", s)
	}
}

// Who asks on a client's way pays no allocation either (R30).
func TestR30OwedAllocatesNothing(t *testing.T) {
	j, err := Open(Options{Dir: t.TempDir(), Backends: []string{"a", "b"}, manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for _, pending := range []bool{false, true} {
		if pending {
			if err := j.Promise([]Entry{put("k", 2)}); err != nil {
				t.Fatal(err)
			}
		}
		bucket, key := []byte("b"), []byte("k")
		var counts, apart [2]int
		var owed uint64
		if n := testing.AllocsPerRun(1000, func() {
			counts = [2]int{}
			owed = j.Owed(bucket, key)
			j.OwedIn(bucket, counts[:])
			j.OwedApart(bucket, 1, apart[:], apart[:])
		}); n != 0 {
			t.Errorf("%v allocations, want 0 (pending: %v)", n, pending)
		}
		if pending != (owed == 2) || pending != (counts == [2]int{0, 1}) {
			t.Errorf("owed %b, in the bucket %v (pending: %v)", owed, counts, pending)
		}
	}
}

// The door costs nothing of its own, neither for a PUT that ends well before its answer
// nor for one with a leg out, whose slot says what is owed.
func TestWriteAllocatesNothing(t *testing.T) {
	j := openDoor(t, t.TempDir(), Options{manual: true})
	bucket, key, host, target := []byte("b"), []byte("k"), []byte("s3"), []byte("/b/k")
	es := make([]Entry, 1)
	for _, open := range []bool{false, true} {
		e := put("k", 0)
		if e.Open = open; open {
			e.Owed = 2
		}
		if n := testing.AllocsPerRun(10000, func() {
			w, err := j.Begin("PUT", bucket, key, host, target)
			if err != nil {
				t.Fatal(err)
			}
			if es[0] = e; open {
				if err := w.Acknowledge(es); err != nil {
					t.Fatal(err)
				}
				es[0].Owed = 0
			}
			if err := w.Settle(es); err != nil {
				t.Fatal(err)
			}
			w.End()
		}); n != 0 {
			t.Errorf("%v allocations a write, want 0 (legs out: %v)", n, open)
		}
	}
}
