package journal

import (
	"bytes"
	"slices"
	"testing"
)

// A payload that can be parsed is written again as the same record.
func FuzzPayload(f *testing.F) {
	r := record{Entry: put("key", 5), first: 3, closes: 9, tries: 2, notBefore: -1, parked: true, lastError: []byte("no")}
	f.Add(byte(typeState), r.appendPayload(nil, typeState))
	f.Add(byte(typeIntent), r.appendPayload(nil, typeIntent))
	f.Add(byte(typeGone), appendGone(nil, &r.Entry, 4))
	f.Add(byte(typeNames), appendNames(nil, []string{"a:1", "b:2"}))
	f.Fuzz(func(t *testing.T, typ byte, p []byte) {
		switch typ {
		case typeIntent, typeState:
			var r, again record
			if r.parsePayload(p, typ) != nil {
				return
			}
			q := r.appendPayload(nil, typ)
			if err := again.parsePayload(q, typ); err != nil {
				t.Fatal(err)
			}
			if len(r.Reason) <= maxReason && len(r.lastError) <= maxReason && !bytes.Equal(again.appendPayload(nil, typ), q) {
				t.Fatalf("%x became %x", p, q)
			}
			if again.Seq != r.Seq || again.Owed != r.Owed || !bytes.Equal(again.Key, r.Key) || again.parked != r.parked {
				t.Fatalf("%+v became %+v", r, again)
			}
		case typeGone:
			e, closes, err := parseGone(p)
			if err != nil {
				return
			}
			again, c, err := parseGone(appendGone(nil, &e, closes))
			if err != nil || c != closes || !bytes.Equal(again.Bucket, e.Bucket) || !bytes.Equal(again.Key, e.Key) {
				t.Fatalf("%+v became %+v, %v", e, again, err)
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
		found := linesOf(r.all())
		r.promise(put("new key", 1))
		r.tick()
		r.restart()
		var again []string
		for _, p := range r.all() {
			if string(p.Key) != "new key" {
				again = append(again, linesOf([]Pending{p})...)
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
