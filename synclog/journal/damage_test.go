package journal

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

// sampleLog is a small journal's files, the name of its one segment with
// anything in it, and where each of its records ends.
func sampleLog(t testing.TB) (files *memFS, name string, ends []int) {
	r := newRig(t, Options{})
	mark := func() {
		r.mustFlush()
		ends = append(ends, len(r.fs.files[name].data))
	}
	name = r.path(r.cur.seg.name())
	mark()
	for i := range 4 {
		r.promise(put(fmt.Sprint("k", i), 2))
		mark()
	}
	r.settle(r.promise(opened(put("well", 6))), 0, nil)
	mark()
	r.settle(r.promise(opened(put("badly", 6))), 4, nil)
	mark()
	p := r.all()[1]
	r.Resolve(&p)
	mark()
	r.promise(put("k2", 4))
	mark()
	r.promise(put("last", 1))
	mark()
	return r.fs.kill(), name, ends
}

// whatIs are the keys that a journal knows with at least that many records of the
// sample, of those that do not go again.
func whatIs(n int) (keys []string) {
	for i, k := range []string{1: "k0", 3: "k2", 4: "k3", 6: "badly", 9: "last"} {
		if k != "" && n >= i {
			keys = append(keys, k)
		}
	}
	return keys
}

// openDamaged opens and checks that what is to be there is, and that it stays.
func openDamaged(t *testing.T, files *memFS, want []string) *rig {
	t.Helper()
	r := &rig{t: t, fs: files, o: Options{Dir: "j", Backends: []string{"a:1", "b:2", "c:3"}, manual: true}}
	r.o.OnError = func(err error) { r.errs = append(r.errs, err.Error()) }
	r.open()
	keys := func() (have []string) {
		for _, p := range r.all() {
			have = append(have, string(p.Key))
		}
		return have
	}
	have := keys()
	for _, k := range want {
		if !slices.Contains(have, k) {
			t.Fatalf("%q is lost, there are %q; errors %q", k, have, r.errs)
		}
	}
	first := r.errs
	r.tick()
	r.restart()
	if again := keys(); !slices.Equal(again, have) {
		t.Fatalf("at first %q, later %q", have, again)
	}
	r.errs = first
	return r
}

func TestTruncatedAtEveryByte(t *testing.T) {
	t.Parallel()
	files, name, ends := sampleLog(t)
	whole := len(files.files[name].data)
	for size := range whole + 1 {
		m := files.clone()
		m.files[name].data = m.files[name].data[:size]
		n := 0
		for n+1 < len(ends) && ends[n+1] <= size {
			n++
		}
		r := openDamaged(t, m, whatIs(n))
		// The sample's marks are not all of its records: two make one mark twice.
		clean := size == 0 || size == ends[n] || len(r.errs) == 0 && recordEnds(files.files[name].data, size)
		if !clean && (len(r.errs) != 1 || !strings.Contains(r.errs[0], "is torn at offset")) {
			t.Fatalf("cut at %d: errors %q", size, r.errs)
		}
		if clean && len(r.errs) != 0 {
			t.Fatalf("cut at %d, between records: errors %q", size, r.errs)
		}
	}
}

func recordEnds(data []byte, at int) bool {
	off := len(segmentMagic)
	for off < at {
		off += frameSize(data[off:])
	}
	return off == at
}

func TestEachBitFlipped(t *testing.T) {
	t.Parallel()
	files, name, ends := sampleLog(t)
	data := files.files[name].data
	for bit := range 8 * len(data) {
		m := files.clone()
		m.files[name].data[bit/8] ^= 1 << (bit % 8)
		n := 0
		for n+1 < len(ends) && ends[n+1] <= bit/8 {
			n++
		}
		want := whatIs(n)
		// What is behind the damage is there too.
		for _, k := range whatIs(99) {
			i := slices.Index([]string{1: "k0", 3: "k2", 4: "k3", 6: "badly", 9: "last"}, k)
			if ends[i-1] > bit/8 {
				want = append(want, k)
			}
		}
		r := openDamaged(t, m, want)
		if len(r.errs) == 0 {
			t.Fatalf("bit %d of byte %d: no error", bit%8, bit/8)
		}
		at := fmt.Sprintf("%q", strings.TrimPrefix(name, "j/"))
		for _, e := range r.errs {
			if !strings.Contains(e, at) {
				t.Fatalf("bit %d of byte %d: error %q does not name the segment", bit%8, bit/8, e)
			}
		}
		torn := strings.Contains(r.errs[0], "torn")
		if kept := r.fs.files[name+damagedExt]; !torn && (kept == nil || string(kept.data) != flipped(data, bit)) {
			t.Fatalf("bit %d of byte %d: the segment is not kept; errors %q", bit%8, bit/8, r.errs)
		}
	}
}

func flipped(data []byte, bit int) string {
	data = slices.Clone(data)
	data[bit/8] ^= 1 << (bit % 8)
	return string(data)
}

// A key that looks like records must not become one where damage makes the
// journal search for the next good record.
func TestForgedRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	w := put("forged", 7)
	forged := record{bucket: w.Bucket, key: w.Key, writes: []Entry{w}}
	var inner []byte
	for _, salt := range []uint32{0, r.cur.seg.salt ^ 1} {
		start := len(inner)
		inner = forged.appendPayload(beginFrame(inner, typeState))
		endFrame(inner[start:], salt)
	}
	e := put("honest", 1)
	e.Target = inner
	r.promise(e)
	r.promise(put("next", 1))
	name := r.path(r.segs[0].name())
	r.fs = r.fs.kill()
	r.fs.files[name].data[r.headerLen] ^= 1
	r.open()
	r.want("PUT next 1")
}

func TestDamageWhileOpen(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"next", "merge", "clean"} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t, Options{SegmentSize: 1000})
			for i := range 20 {
				r.promise(put(fmt.Sprint("k", i), 1))
			}
			s, _ := r.book.keys.after(0, true)
			first := r.segs[0]
			name := r.path(first.name())
			r.fs.files[name].data[r.book.keys.at(s).off+frameLen] ^= 1
			switch how {
			case "merge":
				r.promise(put("k0", 2))
				if p := r.all()[0]; p.Key != "k0" || r.owedBy(&p) != 3 {
					t.Errorf("%+v", p)
				}
			case "clean":
				testkit.MustDo(t, r.moveLive(first, r.epochs))
				if first.live != 0 {
					t.Error("the segment is still needed")
				}
			}
			n := len(r.all())
			if want := map[string]int{"next": 19, "merge": 20, "clean": 19}[how]; n != want {
				t.Errorf("%d keys, want %d", n, want)
			}
			r.tick()
			if len(r.errs) != 1 || !strings.Contains(r.errs[0], "is damaged") || r.Stats().Damaged != 1 {
				t.Errorf("errors %q", r.errs)
			}
			if r.fs.files[name+damagedExt] == nil {
				t.Error("the segment is not kept")
			}
			r.checkLive()
		})
	}
}

// checkLive checks that each pending key can be read.
func (r *rig) checkLive() {
	r.t.Helper()
	if s := r.Stats(); s.Pending != len(r.all()) {
		r.t.Fatalf("%d keys, and %+v", len(r.all()), s)
	}
}

func TestCheckpointDamaged(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{scanBelow: 1})
	for i := range 30 {
		r.promise(put(fmt.Sprint("k", i), 1))
	}
	r.promise(opened(put("open", 1)))
	testkit.MustDo(t, r.checkpoint())
	r.promise(put("after", 1))
	files := r.fs.kill()
	name := "j/" + checkpointName
	for at := range files.files[name].data {
		for _, cut := range []bool{false, true} {
			m := files.clone()
			if cut {
				m.files[name].data = m.files[name].data[:at]
			} else {
				m.files[name].data[at] ^= 0x40
			}
			r := &rig{t: t, fs: m, o: r.o}
			r.o.OnError = func(err error) { r.errs = append(r.errs, err.Error()) }
			r.open()
			if s := r.Stats(); s.Pending != 32 || s.Damaged != 1 || len(r.errs) != 1 || !strings.Contains(r.errs[0], "checkpoint") {
				t.Fatalf("byte %d, cut %v: %+v, errors %q", at, cut, s, r.errs)
			}
		}
	}
}

func TestCheckpointSavesReading(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{scanBelow: 1, SegmentSize: 10000})
	for i := range 1000 {
		r.promise(put(fmt.Sprint("k", i), 1))
	}
	r.reopen()
	segments, read := len(r.segs), 0
	r.fs = r.fs.kill()
	r.fs.fault = func(op, name string) error {
		if op == "read" && name != checkpointName {
			read++
		}
		return nil
	}
	r.open()
	if read > segments+1 {
		t.Errorf("%d reads for %d segments", read, segments)
	}
	if n := len(r.all()); n != 1000 {
		t.Errorf("%d keys", n)
	}
	r.quiet()
}

// A process that was killed before it wrote to its segment leaves an empty one.
func TestEmptySegment(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{scanBelow: 1})
	r.promise(put("k", 1))
	r.fs = r.fs.kill()
	r.fs.files["j/0000000002-01234567.seg"] = &memInode{}
	for range 4 {
		r.open()
		r.want("PUT k 1")
		testkit.MustDo(t, r.checkpoint())
		r.fs = r.fs.kill()
	}
	r.quiet()
}

// Only the log's very end can be torn: elsewhere nothing is cut.
func TestDamagedEndOfOlderSegment(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.promise(put("k", 1))
	r.promise(put("damaged", 1))
	name := r.path(r.cur.seg.name())
	r.restart()
	r.promise(put("later", 1))
	r.fs = r.fs.kill()
	in := r.fs.files[name]
	in.data[len(in.data)-1] ^= 1
	whole := string(in.data)
	r.open()
	r.want("PUT k 1, PUT later 1")
	r.tick()
	if len(r.errs) != 1 || !strings.Contains(r.errs[0], "is damaged") {
		t.Errorf("errors %q", r.errs)
	}
	for _, n := range []string{name, name + damagedExt} {
		if in := r.fs.files[n]; in == nil || string(in.data) != whole {
			t.Errorf("%s is not as it was", n)
		}
	}
}

// What the disk does not give today is not cut off: it may give it tomorrow.
func TestUnreadableEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	for i := range 200 {
		r.promise(put(fmt.Sprint("k", i), 1))
	}
	name := r.path(r.cur.seg.name())
	r.fs = r.fs.kill()
	whole := string(r.fs.files[name].data)
	r.fs.unreadable = len(whole) - 100
	r.open()
	if n := len(r.all()); n < 100 || n >= 200 {
		t.Errorf("%d keys", n)
	}
	if string(r.fs.files[name].data) != whole || r.fs.files[name+damagedExt] == nil {
		t.Error("it is cut, or not kept")
	}
	if len(r.errs) == 0 || !strings.Contains(strings.Join(r.errs, "\n"), "input/output error") {
		t.Errorf("errors %q", r.errs)
	}
}

// An intent that was moved is in the log twice.
func TestIntentTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	seq := r.promise(opened(put("k", 2)))
	r.promise(opened(put("l", 2)))
	testkit.MustDo(t, r.moveLive(r.segs[0], r.epochs))
	r.mustFlush()
	files := r.fs.clone()
	r.settle(seq, 0, nil)
	if s := r.Stats(); s.Open != 1 {
		t.Errorf("%+v", s)
	}
	r.mustFlush()
	r.restart()
	r.wantAlways("PUT l 10")
	r.fs = files
	r.open()
	if s := r.Stats(); s.Pending != 2 || s.Open != 0 {
		t.Errorf("%+v", s)
	}
	r.wantAlways("PUT k 10, PUT l 10")
	r.quiet()
}

// A checkpoint comes only after what it points to.
func TestCheckpointAfterLog(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{SegmentSize: 500, scanBelow: 1})
	for i := range 10 {
		r.promise(put(fmt.Sprint("k", i), 1))
	}
	testkit.MustDo(t, r.checkpoint())
	r.fs = r.fs.powerCut(nil)
	r.open()
	if n := len(r.all()); n != 10 {
		t.Errorf("%d keys", n)
	}
	r.quiet()
}
