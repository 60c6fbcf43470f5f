package journal

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/task"
)

// A payload that can be parsed is written again as the same record.
func FuzzPayload(f *testing.F) {
	e := put("key", 5)
	e.ETags = []task.BackendETag{{Backend: 1, ETag: []byte("other")}}
	r := record{
		bucket: e.Bucket, key: e.Key, writes: []Entry{e, of(task.Tags, e)}, rivals: []Entry{untold(e)}, rivalsLost: 1, targetsLost: true,
		first: 3, closes: 9, tries: 2, notBefore: -1, parked: []byte("lost"), lastError: []byte("no"),
	}
	f.Add(byte(typeState), r.appendPayload(nil))
	f.Add(byte(typeIntent), appendIntent(nil, &e))
	f.Add(byte(typeGone), appendGone(nil, r.ident(), 4))
	for _, old := range oldPayloads(f) {
		f.Add(old.typ, old.payload)
	}
	f.Add(byte(typeNames), appendNames(nil, []string{"a:1", "b:2"}))
	f.Fuzz(func(t *testing.T, typ byte, p []byte) {
		switch typ {
		case typeIntent, typeOldIntent:
			var e, again Entry
			if parseIntent(&e, p, typ, 7) != nil {
				return
			}
			q := appendIntent(nil, &e)
			testkit.MustDo(t, parseIntent(&again, q, typeIntent, 7))
			if len(e.Reason) <= maxReason && !bytes.Equal(appendIntent(nil, &again), q) {
				t.Fatalf("%x became %x", p, q)
			}
			if again.Seq != e.Seq || again.Owed != e.Owed || again.Took != e.Took || !identOf(&again).is(identOf(&e)) || again.Aspect != e.Aspect {
				t.Fatalf("%+v became %+v", e, again)
			}
		case typeState, typeOldState:
			var r, again record
			if r.parsePayload(p, typ, 7) != nil {
				return
			}
			q := r.appendPayload(nil)
			testkit.MustDo(t, again.parsePayload(q, typeState, 7))
			if !bytes.Equal(again.appendPayload(nil), q) {
				t.Fatalf("%x became %x", p, q)
			}
			if again.seq() != r.seq() || again.owed() != r.owed() || again.lacking(math.MaxUint64) != r.lacking(math.MaxUint64) || !again.ident().is(r.ident()) ||
				len(again.writes) != len(r.writes) || len(again.rivals) != len(r.rivals) {
				t.Fatalf("%+v became %+v", r, again)
			}
		case typeGone:
			of, closes, err := parseGone(p)
			if err != nil {
				return
			}
			again, c, err := parseGone(appendGone(nil, of, closes))
			if err != nil || c != closes || !again.is(of) {
				t.Fatalf("%+v became %+v, %v", of, again, err)
			}
		case typeNames:
			d := decoder{p: p}
			names := d.names()
			if d.end() != nil {
				return
			}
			d = decoder{p: appendNames(nil, names)}
			if again := d.names(); d.end() != nil || !slices.Equal(again, names) {
				t.Fatalf("%q became %q", names, again)
			}
		}
	})
}

// Whatever stands in a segment, a journal opens, works, and finds the same again.
func FuzzSegment(f *testing.F) {
	files, name, ends := sampleLog(f)
	data := files.files[name].data
	f.Add(data, false)
	f.Add(data[:ends[3]+5], true)
	f.Add([]byte{}, false)
	f.Add([]byte(segmentMagic), true)
	f.Add(append([]byte("garbage"), data...), false)
	f.Add(slices.Concat(data[:50], data[70:]), true)
	num, salt, _ := parseSegmentName(name[2:])
	f.Fuzz(func(t *testing.T, data []byte, reseal bool) {
		data = slices.Clone(data)
		if reseal { // so that the fuzzer gets behind the CRC
			for off := len(segmentMagic); off < len(data); {
				n := frameSize(data[off:])
				if n == 0 || off+n > len(data) {
					break
				}
				endFrame(data[off:off+n], salt)
				off += n
			}
		}
		m := newMemFS()
		m.files[name] = &memInode{data: data, synced: data}
		before := (&segment{num: num, salt: salt}).name()
		r := &rig{t: t, fs: m, o: Options{Dir: "j", Backends: []string{"a:1", "b:2", "c:3"}, manual: true, SegmentSize: 1000}}
		r.open()
		found := r.linesOf(r.all())
		r.promise(put("new key", 1))
		r.tick()
		r.restart()
		var again []string
		for _, p := range r.all() {
			if string(p.Key) != "new key" {
				again = append(again, r.linesOf([]task.Task{p})...)
			}
		}
		found = slices.DeleteFunc(found, func(l string) bool { return len(l) > 8 && l[:8] == "new key " })
		slices.Sort(again)
		if !slices.Equal(found, again) {
			t.Fatalf("%s: found %q, then %q", before, found, again)
		}
	})
}

// A checkpoint is used in whole or not at all.
func FuzzCheckpoint(f *testing.F) {
	r := newRig(f, Options{scanBelow: 1})
	for _, k := range []string{"a", "b", "c"} {
		r.promise(put(k, 3))
	}
	r.promise(opened(put("open", 1)))
	if err := r.checkpoint(); err != nil {
		f.Fatal(err)
	}
	r.promise(put("after", 4))
	files, name := r.fs.kill(), "j/"+checkpointName
	f.Add(files.files[name].data)
	f.Add([]byte(checkpointMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := files.clone()
		m.files[name].data = slices.Clone(data)
		r := &rig{t: t, fs: m, o: Options{Dir: "j", Backends: []string{"a:1", "b:2", "c:3"}, manual: true, scanBelow: 1}}
		r.open()
		if s := r.Stats(); s.Pending != 5 {
			t.Fatalf("%+v", s)
		}
	})
}
