package journal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func (r *rig) segmentFiles() (n int, bytes int64) {
	for name, in := range r.fs.files {
		if strings.HasSuffix(name, segmentExt) {
			n++
			bytes += int64(len(in.data))
		}
	}
	return n, bytes
}

// A log of intents that end well stays small, whatever goes through it.
func TestLogStaysSmall(t *testing.T) {
	r := newRig(t, Options{SegmentSize: 10000})
	most := int64(0)
	for i := range 5000 {
		r.settle(r.promise(opened(put(fmt.Sprint("k", i), 2))), 0, nil)
		if i%10 == 0 {
			r.tick()
			_, bytes := r.segmentFiles()
			most = max(most, bytes)
		}
	}
	if most > 30000 {
		t.Errorf("%d bytes on disk", most)
	}
	if n, _ := r.segmentFiles(); n > 2 {
		t.Errorf("%d segments", n)
	}
	if s := r.Stats(); s.Bytes > 30000 || s.Segments != len(r.segs) {
		t.Errorf("%+v", s)
	}
	r.quiet()
}

// Old keys that stay do not keep the log of all that came after them.
func TestLogIsCleaned(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{SegmentSize: 10000})
	for i := range 300 {
		r.promise(put(fmt.Sprint("old", i), 1))
	}
	open := r.promise(opened(put("open", 2)))
	most := int64(0)
	for i := range 5000 {
		r.settle(r.promise(opened(put(fmt.Sprint("k", i), 2))), 0, nil)
		if i%10 == 0 {
			r.tick()
			_, bytes := r.segmentFiles()
			most = max(most, bytes)
		}
	}
	if limit := 2*(r.book.keys.bytes+r.opens.bytes) + 4*10000; most > limit {
		t.Errorf("%d bytes on disk, limit %d", most, limit)
	}
	for range 2 {
		ps := r.all()
		if len(ps) != 300 {
			t.Fatalf("%d keys", len(ps))
		}
		for i, p := range ps {
			if string(p.Key) != fmt.Sprint("old", i) {
				t.Fatalf("key %d is %q: not in order", i, p.Key)
			}
		}
		if r.Stats().Open == 1 {
			r.settle(open, 0, nil)
			r.reopen()
		}
	}
	r.quiet()
}

func TestFewFilesAfterManyStarts(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	for i := range 100 {
		r.promise(put(fmt.Sprint("k", i), 1))
		r.tick()
		if i%2 == 0 {
			r.restart()
		} else {
			r.reopen()
		}
	}
	if n, _ := r.segmentFiles(); n > 12 {
		t.Errorf("%d segments", n)
	}
	if n := len(r.all()); n != 100 {
		t.Errorf("%d keys", n)
	}
	r.quiet()
}

func TestCheckpointsAreFewAndUsed(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{SegmentSize: 10000, scanBelow: 15000})
	renames := 0
	r.fs.fault = func(op, _ string) error {
		if op == "rename" {
			renames++
		}
		return nil
	}
	logged := int64(0)
	for i := range 3000 {
		if r.promise(put(fmt.Sprint("k", i%200), 1)); i%7 == 0 {
			r.tick()
		}
		logged += 110 // about
	}
	if renames < 3 || renames > int(logged/40000)+1 {
		t.Errorf("%d checkpoints for %d bytes", renames, logged)
	}
	r.fs = r.fs.kill()
	_, bytes := r.segmentFiles()
	read := false
	r.fs.fault = func(op, name string) error {
		read = read || op == "read" && name == checkpointName
		return nil
	}
	r.open()
	if n := len(r.all()); n != 200 || !read {
		t.Errorf("%d keys, checkpoint read: %v, of %d bytes", n, read, bytes)
	}
	r.quiet()
}

// The memory of the keys: what the issue allows, and that it is given back.
func TestMemoryOfKeys(t *testing.T) {
	const n = 200_000
	before := heap()
	var k keys
	k.init(3)
	ids := make(map[int]uint64, 100)
	for i := range n {
		k.add(owing(uint64(i+1), 2), rand.Uint32(), place{seg: 1, off: uint32(i), size: 200})
		if i%(n/100) == 0 {
			ids[i] = k.lastAge
		}
	}
	if b := (heap() - before) / n; b > 36 {
		t.Errorf("%.1f bytes a key", b)
	}
	for age := uint64(0); ; { // all but a few
		id, ok := k.after(age, false)
		if !ok {
			break
		}
		age = k.at(id).age
		if ids[int(age-1)] == 0 {
			k.remove(id)
		}
	}
	if k.live != 100 || len(k.order) > 2 {
		t.Errorf("%d keys in %d pages", k.live, len(k.order))
	}
	if left := heap() - before; left > 400_000 {
		t.Errorf("%.0f bytes for 100 keys", left)
	}
}

// The keys against a plain slice.
func TestKeysModel(t *testing.T) {
	t.Parallel()
	type key struct {
		age  uint64
		hash uint32
		mask uint64
	}
	chance := rand.New(rand.NewPCG(1, 2))
	var k keys
	k.init(3)
	var all []key
	find := func(want key) uint32 {
		tb := k.shard(want.hash)
		for i, id, ok := tb.first(want.hash); ok; i, id, ok = tb.after(i) {
			if k.at(id).age == want.age {
				return id
			}
		}
		t.Fatalf("%+v not found", want)
		return 0
	}
	grow := true
	for step := range 60000 {
		if len(all) > 6000 {
			grow = false
		} else if len(all) < 10 {
			grow = true
		}
		if add := chance.IntN(10) < 7; add == grow {
			hash := chance.Uint32()
			if chance.IntN(3) == 0 {
				hash &= 3 // collisions
			}
			r := owing(0, chance.Uint64N(8))
			if chance.IntN(2) == 0 {
				r.parked = []byte("failed")
			}
			k.add(r, hash, place{seg: 1 + chance.Uint32N(9), size: 100})
			id, _ := k.withAge(k.lastAge)
			all = append(all, key{age: k.lastAge, hash: hash, mask: k.classes[k.at(id).kind].owed})
		} else if len(all) > 0 {
			i := chance.IntN(len(all))
			k.remove(find(all[i]))
			all = slices.Delete(all, i, i+1)
		}
		if step%500 != 0 {
			continue
		}
		age, visible := uint64(0), 0
		for _, want := range all {
			id, ok := k.after(age, false)
			if !ok || k.at(id).age != want.age || k.classes[k.at(id).kind].owed != want.mask {
				t.Fatalf("step %d: %+v, %v, want %+v", step, k.at(id), ok, want)
			}
			age = want.age
			if want.mask&3 != 0 {
				visible++
				if id, ok := k.after(age-1, true); !ok || k.at(id).age != age {
					t.Fatalf("step %d: %+v is not visible", step, want)
				}
			}
			if find(want) != id {
				t.Fatalf("step %d: %+v found elsewhere", step, want)
			}
		}
		if _, ok := k.after(age, false); ok || k.live != len(all) || k.visible != visible {
			t.Fatalf("step %d: %d live, %d visible, want %d, %d", step, k.live, k.visible, len(all), visible)
		}
	}
}

// owing is the record of a key that backends owe.
func owing(first, owed uint64) *record {
	return &record{bucket: []byte("b"), key: []byte("k"), first: first, writes: []Entry{{Seq: first, Owed: owed}}}
}

func TestManyMasks(t *testing.T) {
	t.Parallel()
	var k keys
	k.init(^uint64(0))
	for i := range uint64(70000) {
		k.add(owing(i+1, i+1), rand.Uint32(), place{seg: 1, size: 1})
	}
	if k.live != 70000 || k.visible != 70000 {
		t.Fatal(k.live, k.visible)
	}
	for {
		id, ok := k.after(0, false)
		if !ok {
			break
		}
		k.remove(id)
	}
	for i, n := range k.byKind {
		if n != 0 {
			t.Fatalf("mask %d counts %d", i, n)
		}
	}
	if b := k.buckets["b"]; b.refs != 0 || slices.Max(b.lacking) != 0 || slices.Max(k.any.lacking) != 0 {
		t.Fatalf("%+v, %+v", b, k.any)
	}
}

// The vectors of the reference implementation: key 00..0f, messages 00, 00 01, ...
func TestSipHash(t *testing.T) {
	t.Parallel()
	want := map[int]uint64{
		0: 0x726fdb47dd0e0e31, 1: 0x74f839c593dc67fd, 7: 0xab0200f58b01d137, 8: 0x93f5f5799a932462,
		15: 0xa129ca6149be45e5, 16: 0x3f2acc7f57c29bdb,
	}
	p := make([]byte, 64)
	for i := range p {
		p[i] = byte(i)
	}
	for n, h := range want {
		if got := sipHash(0x0706050403020100, 0x0f0e0d0c0b0a0908, p[:n]); got != h {
			t.Errorf("%d bytes: %x, want %x", n, got, h)
		}
	}
}

func TestSizeCodes(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 32, 33, 4064, 4065, 8192, 8193, 100000, maxPayload + frameLen} {
		if got := codedSize(sizeCode(n)); got < int64(n) && n < maxPayload || got > int64(n)+8192 {
			t.Errorf("%d is kept as %d", n, got)
		}
	}
}
