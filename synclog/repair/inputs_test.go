package repair

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// knows journals a key's writes, in order; the queue has their tasks as they are.
func (w *world) knows(key string, writes ...task.Write) *task.Task {
	t := &task.Task{Bucket: "b", Key: key}
	base := uint64(time.Now().Add(-time.Minute).UnixNano())
	for i, wr := range writes {
		wr.Seq = base + uint64(i)
		if wr.Target == "" {
			wr.Target = "/b/" + key
		}
		if wr.Unacknowledged {
			t.Rivals = append(t.Rivals, wr)
		} else {
			t.Writes = append(t.Writes, wr)
		}
	}
	f := flat{Bucket: "b", Key: key, Seq: base + uint64(len(writes)) - 1, First: base, whole: t}
	w.q.push(f)
	return t
}

// by is a write that these backends took and the others owe.
func (w *world) by(aspect task.Aspect, method, etag, query string, took ...int) task.Write {
	wr := task.Write{Aspect: aspect, Method: method, ETag: etag}
	if query != "" {
		wr.Target = "/b/k?" + query
	}
	for i, s := range w.stores {
		if slices.Contains(took, i) {
			wr.Took = append(wr.Took, s.name)
		} else {
			wr.Owed = append(wr.Owed, s.name)
		}
	}
	return wr
}

func (w *world) versioned() {
	for _, s := range w.stores {
		s.buckets["b"].versioned = true
	}
}

// drops is a client's DELETE, and purges one of a version.
func (f *fake) drops(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.buckets["b"].objects, key)
	f.buckets["b"].push(key, nil)
}

func (f *fake) purges(key, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.buckets["b"].drop(key, id)
}

func (f *fake) doc(key, name string) string {
	o, _ := f.get("b", key)
	return o.docs[name]
}

func mustBe(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func (w *world) body(i int, key string) string {
	o, ok := w.stores[i].get("b", key)
	if !ok {
		return "-"
	}
	return string(o.body)
}

// R35, input 1: a DeleteObjects after a PUT is a delete.
func TestR35DeletedByMany(t *testing.T) {
	w := newWorld(t, 2)
	w.stores[1].put("b", "k", "v0", time.Hour)
	w.knows("k", w.by(task.Content, "DELETE", "", "delete", 0))
	w.mustResolve()
	mustBe(t, "B", w.body(1, "k"), "-")
}

// R35, inputs 2, 3, 4, 7: what was done to versions is done by each backend's own ids, where
// the rest of them is the same, and a deleted version stays deleted.
func TestR35Versions(t *testing.T) {
	version := func(w *world, id string) task.Write { return w.by(task.Version, "DELETE", "", "versionId="+id, 0) }
	t.Run("2: deleted, then an old version purged", func(t *testing.T) {
		w := newWorld(t, 2)
		w.versioned()
		for _, s := range w.stores {
			s.put("b", "k", "v0", time.Hour)
		}
		old := w.stores[0].versionIDs("b", "k")[0]
		w.stores[0].drops("k")
		w.stores[0].purges("k", old)
		w.knows("k", w.by(task.Content, "DELETE", "", "", 0), version(w, old))
		w.mustResolve()
		mustBe(t, "versions of B", fmt.Sprintf("%q", w.stores[1].etags("b", "k")), `[""]`)
	})
	t.Run("3: came back empty", func(t *testing.T) {
		w := newWorld(t, 2)
		w.versioned()
		w.stores[0].put("b", "k", "v1", time.Hour)
		w.knows("k", version(w, "gone"))
		w.mustPark("k", task.NeedsPerson)
		mustBe(t, "A", w.body(0, "k"), "v1")
		if n := w.stores[0].requests("DELETE") + w.stores[1].requests("DELETE"); n > 0 {
			t.Errorf("%d deletes", n)
		}
	})
	t.Run("an id that one of them does not know, which says yes all the same", func(t *testing.T) {
		w := newWorld(t, 2)
		w.versioned()
		for _, s := range w.stores {
			s.put("b", "k", "v0", 2*time.Hour)
			s.put("b", "k", "v1", time.Hour)
		}
		current := w.stores[1].versionIDs("b", "k")[0]
		w.stores[1].purges("k", current)
		both := version(w, current)
		both.Took = []string{w.stores[0].name, w.stores[1].name}
		both.Owed = both.Took
		w.knows("k", both)
		w.mustResolve()
		mustBe(t, "A", w.body(0, "k"), "v0")
		mustBe(t, "B", w.body(1, "k"), "v0")
	})
	t.Run("7: the current one", func(t *testing.T) {
		w := newWorld(t, 2)
		w.versioned()
		for _, s := range w.stores {
			s.put("b", "k", "v0", 2*time.Hour)
			s.put("b", "k", "v1", time.Hour)
		}
		current := w.stores[0].versionIDs("b", "k")[0]
		w.stores[0].purges("k", current)
		w.knows("k", w.by(task.Content, "PUT", md5Hex([]byte("v1")), "", 0, 1), version(w, current))
		w.mustResolve()
		mustBe(t, "A", w.body(0, "k"), "v0")
		mustBe(t, "B", w.body(1, "k"), "v0")
	})
	t.Run("7: the current one, which the other one never had", func(t *testing.T) {
		w := newWorld(t, 2)
		w.versioned()
		for _, s := range w.stores {
			s.put("b", "k", "v0", 2*time.Hour)
		}
		w.stores[0].put("b", "k", "v1", time.Hour)
		current := w.stores[0].versionIDs("b", "k")[0]
		w.stores[0].purges("k", current)
		w.knows("k", w.by(task.Content, "PUT", md5Hex([]byte("v1")), "", 0), version(w, current))
		w.mustResolve()
		mustBe(t, "B", w.body(1, "k"), "v0")
	})
	t.Run("4: null below a newer one", func(t *testing.T) {
		w := newWorld(t, 2)
		w.stores[0].put("b", "k", "v1", time.Hour)
		for i, s := range w.stores {
			s.buckets["b"].versioned = true
			s.buckets["b"].stacks = map[string][]fakeVersion{}
			if i == 1 {
				o := s.put("b", "k", "v0", time.Hour)
				s.buckets["b"].stacks["k"] = []fakeVersion{{"null", o}}
			}
		}
		a, b := w.stores[0], w.stores[1]
		for _, s := range []*fake{a, b} {
			s.put("b", "k", "v2", 0)
		}
		w.knows("k", version(w, "null"))
		w.mustResolve()
		mustBe(t, "B", w.body(1, "k"), "v2")
		if got := len(b.etags("b", "k")); got != 1 {
			t.Errorf("B has %d versions", got)
		}
	})
	t.Run("tags of an old one", func(t *testing.T) {
		w := newWorld(t, 2)
		w.versioned()
		for _, s := range w.stores {
			s.put("b", "k", "v0", 2*time.Hour)
			s.put("b", "k", "v1", time.Hour)
		}
		old := w.stores[0].versionIDs("b", "k")[1]
		w.stores[0].buckets["b"].version("k", old).docs["tagging"] = tagDoc("a=1")
		w.knows("k", w.by(task.Version, "PUT", "", "tagging&versionId="+old, 0))
		w.mustResolve()
		there := w.stores[1].versionIDs("b", "k")[1]
		if got, _ := normalTags([]byte(w.stores[1].buckets["b"].version("k", there).docs["tagging"])); got != "a=1" {
			t.Errorf("tags are %q", got)
		}
		mustBe(t, "tags of the current one", w.stores[1].doc("k", "tagging"), "")
	})
}

// R35, input 5: a backend that keeps no tags and no Cache-Control erases them nowhere.
func TestR35LossyBackendIsNoSource(t *testing.T) {
	w := newWorld(t, 2)
	w.o.Memory, _ = OpenManners("")
	w.stores[1].quirks.noTags, w.stores[1].quirks.dropHeader = true, "Cache-Control"
	for i := range 3 {
		key := fmt.Sprint("k", i)
		for _, s := range w.stores {
			s.put("b", key, "body", time.Hour, "Cache-Control", "no-store", "X-Amz-Tagging", "a=1")
		}
	}
	for range 2 {
		_, sum, err := w.verify(func(o *VerifyOptions) { o.Journal, o.Deep, o.Memory = w.q, true, w.o.Memory })
		if err != nil || sum.Differences != 3 {
			t.Fatalf("%+v, %v", sum, err)
		}
		w.mustPark("k0", task.Conflict)
	}
	o, _ := w.stores[0].get("b", "k0")
	mustBe(t, "Cache-Control at A", o.header.Get("Cache-Control"), "no-store")
	if o.docs["tagging"] == "" {
		t.Error("the tags at A are gone")
	}
	// Once that is known it is told once, and is no difference each night.
	w.stores[0].put("b", "new", "body", time.Hour, "Cache-Control", "no-store", "X-Amz-Tagging", "a=1")
	w.knows("new", w.by(task.Content, "PUT", md5Hex([]byte("body")), "", 0))
	w.mustPark("new", task.NotKept)
	var told []string
	_, sum, err := w.verify(func(o *VerifyOptions) {
		o.Deep, o.Memory = true, w.o.Memory
		o.OnNotKept = func(backend, what string) { told = append(told, what) }
	})
	slices.Sort(told)
	if err != nil || sum.Differences != 0 || sum.NotKept != 4 || fmt.Sprint(told) != "[Cache-Control Tags]" {
		t.Errorf("%+v, told %q, %v", sum, told, err)
	}
}

// R35, input 6: clocks decide nothing.
func TestR35ClocksDecideNothing(t *testing.T) {
	w := newWorld(t, 2)
	w.stores[1].offset = time.Hour
	o := w.stores[0].put("b", "k", "v1", 0)
	w.stores[1].put("b", "k", "v0", 0)
	w.stores[1].put("b", "d", "v0", 0)
	w.knows("k", w.by(task.Content, "PUT", o.etag, "", 0))
	w.knows("d", w.by(task.Content, "DELETE", "", "", 0))
	w.mustResolve()
	mustBe(t, "k at B", w.body(1, "k"), "v1")
	mustBe(t, "d at B", w.body(1, "d"), "-")
}

// R35, inputs 8, 9: the last copy is not deleted, and what nobody has is lost.
func TestR35LastCopy(t *testing.T) {
	w := newWorld(t, 2)
	one, two := w.by(task.Content, "PUT", md5Hex([]byte("one")), "", 0, 1), w.by(task.Content, "PUT", md5Hex([]byte("two")), "", 0, 1)
	w.stores[1].put("b", "k", "one", 0)
	one.Overlapped, two.Overlapped = true, true
	tk := w.knows("k", two)
	one.Seq = tk.Writes[0].Seq - 1
	tk.Rivals = append(tk.Rivals, one)
	f := w.mustPark("k", task.Conflict)
	mustBe(t, "B", w.body(1, "k"), "one")
	if !strings.Contains(f.LastError, w.stores[0].name+": none") || !strings.Contains(f.LastError, w.stores[1].name+": 3 B") {
		t.Errorf("both heads are not shown: %s", f.LastError)
	}

	w = newWorld(t, 2)
	w.stores[1].put("b", "k", "v0", time.Hour)
	w.knows("k", w.by(task.Content, "PUT", md5Hex([]byte("v1")), "", 0))
	w.mustPark("k", task.Lost)
	mustBe(t, "B", w.body(1, "k"), "v0")
	if sum := w.once(); sum.Resolved > 0 {
		t.Errorf("closed: %+v", sum)
	}
}

// R35, input 10: the same bytes again are not the same object.
func TestR35SameBytesOtherTags(t *testing.T) {
	w := newWorld(t, 2)
	w.stores[0].quirks.noTagCount, w.stores[1].quirks.noTagCount = true, true
	a := w.stores[0].put("b", "tags", "same", 0, "X-Amz-Tagging", "new=1")
	w.stores[1].put("b", "tags", "same", time.Hour, "X-Amz-Tagging", "old=1")
	w.knows("tags", w.by(task.Content, "PUT", a.etag, "", 0))
	for _, s := range w.stores {
		s.buckets["b"].docs["object-lock"] = lockDoc
	}
	w.stores[0].put("b", "hold", "same", 0, lineHold, "ON")
	w.stores[1].put("b", "hold", "same", time.Hour)
	w.knows("hold", w.by(task.Content, "PUT", a.etag, "", 0))
	// ?tagging after a PUT, and a legal hold after that: each by itself.
	w.stores[0].put("b", "parts", "same", 0, "X-Amz-Tagging", "new=1", lineHold, "ON")
	w.stores[1].put("b", "parts", "same", time.Hour)
	w.knows("parts", w.by(task.Content, "PUT", a.etag, "", 0, 1), w.by(task.Tags, "PUT", "", "tagging", 0), w.by(task.LegalHold, "PUT", "", "legal-hold", 0))
	w.mustResolve()
	for key, want := range map[string]string{"tags": "new=1", "parts": "new=1"} {
		got, _ := normalTags([]byte(w.stores[1].doc(key, "tagging")))
		mustBe(t, key, got, want)
	}
	for _, key := range []string{"hold", "parts"} {
		got, _ := normalHold([]byte(w.stores[1].doc(key, "legal-hold")))
		mustBe(t, key, got, "ON")
	}
}

// R35: the content comes from one backend, and its newer tags from another one.
func TestR35ContentAndTagsOfTwo(t *testing.T) {
	w := newWorld(t, 2)
	o := w.stores[0].put("b", "k", "v1", 0, "X-Amz-Tagging", "old=1")
	w.stores[1].put("b", "k", "v0", time.Hour, "X-Amz-Tagging", "new=1")
	w.knows("k", w.by(task.Content, "PUT", o.etag, "", 0), w.by(task.Tags, "PUT", "", "tagging", 1))
	w.mustResolve()
	for i := range w.stores {
		mustBe(t, "content", w.body(i, "k"), "v1")
		tags, _ := normalTags([]byte(w.stores[i].doc("k", "tagging")))
		mustBe(t, "tags", tags, "new=1")
	}
}

// R35, inputs 11, 12, 16: locks.
func TestR35Locks(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.stores[0], w.stores[1]
	a.makeBucket("locked")
	a.buckets["locked"].docs["object-lock"] = lockDoc
	seq := uint64(time.Now().UnixNano())
	w.q.push(flat{Seq: seq, Method: "PUT", Bucket: "locked", Target: "/locked", Owed: []string{b.name}})
	w.mustResolve()
	if b.buckets["locked"] == nil || b.buckets["locked"].docs["object-lock"] == "" {
		t.Error("the bucket is not there with object lock")
	}

	// One that exists without it is told of.
	a.makeBucket("plain")
	a.buckets["plain"].docs["object-lock"] = lockDoc
	b.makeBucket("plain")
	w.q.push(flat{Seq: seq + 1, Method: "PUT", Bucket: "plain", Target: "/plain", Owed: []string{b.name}})
	w.once()
	if left := w.q.left(); len(left) != 1 || left[0].Parked != task.NotKept || !strings.Contains(left[0].LastError, "object lock") {
		t.Errorf("left: %+v", left)
	}

	// An expired retention does not take the hold along; a document is spelled as all take it.
	w = newWorld(t, 2)
	for _, s := range w.stores {
		s.buckets["b"].docs["object-lock"] = lockDoc
	}
	o := w.stores[0].put("b", "expired", "x", 0, lineMode, "GOVERNANCE", lineDate, expired(), lineHold, "ON")
	w.knows("expired", w.by(task.Content, "PUT", o.etag, "", 0))
	w.stores[0].put("b", "still", "x", 0, lineMode, "GOVERNANCE", lineDate, still())
	w.knows("still", w.by(task.Content, "PUT", o.etag, "", 0))
	w.stores[0].put("b", "first", "x", 0, lineHold, "ON")
	w.stores[1].put("b", "first", "x", 0)
	w.knows("first", w.by(task.LegalHold, "PUT", "", "legal-hold", 0))
	w.stores[0].put("b", "kept", "x", 0, lineMode, "GOVERNANCE", lineDate, still())
	w.stores[1].put("b", "kept", "x", 0)
	w.knows("kept", w.by(task.Retention, "PUT", "", "retention", 0))
	w.stores[1].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method == "PUT" && r.Header.Get(lineDate) == expired() {
			refuse(rw, 400, "InvalidArgument")
			return true
		}
		return false
	})
	w.mustResolve()
	for _, key := range []string{"expired", "first"} {
		if got, _ := normalHold([]byte(w.stores[1].doc(key, "legal-hold"))); got != "ON" {
			t.Errorf("%s: no hold: %q", key, w.stores[1].doc(key, "legal-hold"))
		}
	}
	for _, key := range []string{"still", "kept"} {
		if got, _ := normalRetention([]byte(w.stores[1].doc(key, "retention"))); !strings.HasPrefix(got, "GOVERNANCE ") {
			t.Errorf("%s: no retention: %q", key, w.stores[1].doc(key, "retention"))
		}
	}
	if doc := w.stores[1].doc("kept", "retention"); !strings.Contains(doc, `<Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Mode>`) {
		t.Errorf("sent as %s", doc)
	}

	// Where it cannot be locked, that is told.
	w = newWorld(t, 2)
	w.stores[0].buckets["b"].docs["object-lock"] = lockDoc
	w.stores[0].put("b", "k", "x", 0, lineHold, "ON")
	w.knows("k", w.by(task.Content, "PUT", o.etag, "", 0))
	w.mustPark("k", task.NotKept)
}

// R35, inputs 13, 14: damaged content is spread to nobody, and mended from who is whole.
func TestR35Damaged(t *testing.T) {
	for _, size := range []int{10, smallObject + 1} {
		rot := func(s *fake, key string) {
			s.put("b", "other", "whole", time.Hour) // which shows that its ETags are MD5s
			s.mu.Lock()
			defer s.mu.Unlock()
			body := []byte(strings.Repeat("x", size))
			copy(body, "rot!")
			s.buckets["b"].objects[key].body = body
		}
		w := newWorld(t, 3)
		body := strings.Repeat("x", size)
		etag := w.stores[0].put("b", "k", body, 0).etag
		w.stores[1].put("b", "k", "v0", time.Hour)
		w.stores[2].put("b", "k", body, 0)
		rot(w.stores[0], "k")
		w.knows("k", w.by(task.Content, "PUT", etag, "", 0, 2))
		w.mustResolve()
		for i := range w.stores {
			if w.body(i, "k") != body {
				t.Errorf("%d bytes: %d is not mended", size, i)
			}
		}

		w = newWorld(t, 2)
		w.stores[0].put("b", "k", body, 0)
		w.stores[1].put("b", "k", "v0", time.Hour)
		rot(w.stores[0], "k")
		w.knows("k", w.by(task.Content, "PUT", etag, "", 0))
		w.mustPark("k", task.Damaged)
		mustBe(t, "B", w.body(1, "k"), "v0")

		// Found by verify, where all seem equal.
		w = newWorld(t, 2)
		for _, s := range w.stores {
			s.put("b", "k", body, 0)
		}
		rot(w.stores[1], "k")
		w.stores[0].put("b", "other", "whole", time.Hour)
		found, sum, err := w.verify(func(o *VerifyOptions) { o.Journal, o.Deep = w.q, true })
		if err != nil || found["k"] != DiffDamaged || sum.Added != 1 {
			t.Fatalf("%v, %+v, %v", found, sum, err)
		}
		w.mustResolve()
		if w.body(1, "k") != body {
			t.Errorf("%d bytes: what verify found is not mended", size)
		}
	}
}

// R35: a checksum is not dropped because a target refuses it.
func TestR35ChecksumIsNotDropped(t *testing.T) {
	w := newWorld(t, 2)
	o := w.stores[0].put("b", "k", "body", 0, "X-Amz-Checksum-Crc32c", "AAAAAA==")
	w.knows("k", w.by(task.Content, "PUT", o.etag, "", 0))
	w.stores[1].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Amz-Checksum-Crc32c") != "" {
			refuse(rw, 400, "XAmzContentChecksumMismatch")
			return true
		}
		return false
	})
	w.mustPark("k", task.Damaged)
	mustBe(t, "B", w.body(1, "k"), "-")
}

// R35, input 15: a backend's own refusals use up no key's tries, however long.
func TestR35RefusalsOfABackend(t *testing.T) {
	for _, m := range []manners{{full: true}, {readOnly: true}} {
		w := newWorld(t, 2)
		w.o.MaxTries = 2
		now := time.Now()
		w.o.Now = func() time.Time { return now }
		for i := range 40 {
			key := fmt.Sprint("k", i)
			o := w.stores[0].put("b", key, "x", 0)
			w.knows(key, w.by(task.Content, "PUT", o.etag, "", 0))
		}
		w.stores[1].quirks.manners = m
		r := w.repairer()
		for range 50 {
			mustRun(t, r)
			now = now.Add(time.Hour)
		}
		for _, f := range w.q.left() {
			if f.Parked != "" || f.Tries > 0 {
				t.Fatalf("%+v: %+v", m, f)
			}
		}
		if n := w.stores[1].requests("PUT"); n > 60 {
			t.Errorf("%+v: %d writes were tried", m, n)
		}
		if n := w.log.count("a backend takes no writes: its keys wait"); n != 1 {
			t.Errorf("%+v: told %d times", m, n)
		}
		if s := r.Status(); !s.Backends[1].Refuses {
			t.Errorf("%+v: %+v", m, s.Backends[1])
		}
		w.stores[1].quirks.manners = manners{}
		for range 3 {
			mustRun(t, r)
			now = now.Add(time.Hour)
		}
		if left := w.q.left(); len(left) > 0 {
			t.Errorf("%+v: %d are left", m, len(left))
		}
	}
}

// R35, inputs 19, 20: directories that are shown as objects.
func TestR35Directories(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.stores[0], w.stores[1]
	b.quirks.directories = true
	for _, s := range w.stores {
		s.put("b", "u/x", "x", time.Hour)
	}
	b.put("b", "u/", "", time.Hour)
	w.knows("u/", w.by(task.Content, "DELETE", "", "", 0)) // it has one, and has to lose it
	b.put("b", "v/x", "x", time.Hour)
	w.knows("v/", w.by(task.Content, "DELETE", "", "", 0)) // it never had one
	a.put("b", "v/x", "x", time.Hour)
	o := a.put("b", "m/", "", 0)
	for _, s := range w.stores {
		s.put("b", "m/x", "x", time.Hour)
	}
	w.knows("m/", w.by(task.Content, "PUT", o.etag, "", 0)) // made while it was away
	w.mustResolve()
	for _, key := range []string{"u/", "v/"} {
		mustBe(t, key, w.body(0, key)+w.body(1, key), "--")
	}
	if _, there := b.get("b", "m/"); !there {
		t.Error("the marker was not made")
	}
	if found, _, err := w.verify(nil); err != nil || len(found) > 0 {
		t.Errorf("verify: %v, %v", found, err)
	}

	whole := a.put("b", "x/", "content", 0)
	b.put("b", "x/", "content", 0) // of which it keeps nothing
	tk := w.knows("x/", w.by(task.Content, "PUT", whole.etag, "", 0, 1))
	tk.Writes[0].Size = 7
	w.mustPark("x/", task.NotKept)
	mustBe(t, "x/ at A", w.body(0, "x/"), "content")
}

// R35, input 21: names that a storage takes for one.
func TestR35FoldedNames(t *testing.T) {
	w := newWorld(t, 2)
	w.stores[1].quirks.folds = true
	for _, s := range w.stores {
		s.put("b", "a/b", "another one's", time.Hour)
	}
	o := w.stores[0].put("b", "a//b", "mine", 0)
	w.knows("a//b", w.by(task.Content, "PUT", o.etag, "", 0))
	o = w.stores[0].put("b", "c//d", "mine", 0) // nothing is there yet
	w.knows("c//d", w.by(task.Content, "PUT", o.etag, "", 0))
	w.knows("a///b", w.by(task.Content, "DELETE", "", "", 0))
	w.mustPark("a//b", task.Conflict)
	w.mustPark("c//d", task.Conflict)
	mustBe(t, "a/b at B", w.body(1, "a/b"), "another one's")
	mustBe(t, "c/d at B", w.body(1, "c/d"), "-")
}

// R35: a copy that has landed under another key's name is taken back, but not what was written to that since.
func TestR35FoldedCopyIsTakenBack(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.stores[0], w.stores[1]
	b.quirks.folds = true
	o := a.put("b", "c//d", "mine", 0)
	w.knows("c//d", w.by(task.Content, "PUT", o.etag, "", 0))
	b.setHook(func(_ http.ResponseWriter, r *http.Request) bool {
		if _, landed := b.get("b", "c/d"); landed && strings.Contains(r.RequestURI, "list-type") {
			b.put("b", "c/d", "another one's", 0)
		}
		return false
	})
	w.mustPark("c//d", task.Conflict)
	mustBe(t, "c/d at B", w.body(1, "c/d"), "another one's")
}

// R35: a name that ends in "/" may be folded, too, and is no directory then. The other key's object may be the last copy.
func TestR35FoldedDirectories(t *testing.T) {
	for _, c := range []struct {
		key, other string
		trims      bool
	}{{"u/", "u", true}, {"u//", "u", true}, {"u//", "u/", false}, {"a//u/", "a/u/", false}, {"a/u//", "a/u/", false}, {"a//u/", "a/u", true}} {
		for _, ignores := range []bool{false, true} {
			w := newWorld(t, 2)
			a, b := w.stores[0], w.stores[1]
			b.quirks.folds, b.quirks.trims, b.quirks.ignoreConditions = true, c.trims, ignores
			b.put("b", c.other, "the last copy", time.Hour)
			b.put("b", c.other+"-", "beside it", time.Hour)
			o := a.put("b", c.key, "", 0)
			w.knows(c.key, w.by(task.Content, "PUT", o.etag, "", 0))
			w.mustPark(c.key, task.Conflict)
			mustBe(t, fmt.Sprintf("%+v", c), w.body(1, c.other), "the last copy")
			w = newWorld(t, 2)
			b = w.stores[1]
			b.quirks.folds, b.quirks.trims, b.quirks.ignoreConditions = true, c.trims, ignores
			b.put("b", c.other, "the last copy", time.Hour)
			w.knows(c.key, w.by(task.Content, "DELETE", "", "", 0))
			w.mustResolve()
			mustBe(t, fmt.Sprintf("%+v, deleted", c), w.body(1, c.other), "the last copy")
		}
	}
}

// R35, input 22: a type that was made up is no difference, and a copy that does not stick
// is not repeated.
func TestR35GuessedType(t *testing.T) {
	w := newWorld(t, 2)
	w.stores[1].quirks.guesses = true
	for i := range 5 {
		key := fmt.Sprint("k", i, ".txt")
		o := w.stores[0].put("b", key, "x", 0)
		w.knows(key, w.by(task.Content, "PUT", o.etag, "", 0))
	}
	w.mustResolve()
	if n := w.stores[1].requests("PUT"); n != 5 {
		t.Errorf("%d PUTs", n)
	}
	if found, sum, err := w.verify(func(o *VerifyOptions) { o.Deep = true }); err != nil || len(found) > 0 {
		t.Errorf("verify: %v, %+v, %v", found, sum, err)
	}

	w = newWorld(t, 2)
	w.stores[1].quirks.dropHeader = "Cache-Control"
	o := w.stores[0].put("b", "k", "x", 0, "Cache-Control", "no-store")
	w.knows("k", w.by(task.Content, "PUT", o.etag, "", 0))
	w.mustPark("k", task.NotKept)
	w.o.RetryParked = true
	w.mustPark("k", task.NotKept)
	if n := w.stores[1].requests("PUT"); n > 2 {
		t.Errorf("%d PUTs", n)
	}
}

// R35: an upload's numbers may have gaps.
func TestR35GapsInPartNumbers(t *testing.T) {
	for _, gap := range []int{0, 1, 7, 1000} {
		w := newWorld(t, 2)
		o := w.stores[0].putParts("b", "big", strings.Repeat("a", 5<<20), strings.Repeat("b", 6<<20), "end")
		w.knows("big", w.by(task.Content, "POST", o.etag, "", 0))
		w.stores[0].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
			var n int
			if _, number, ok := strings.Cut(r.RequestURI, "partNumber="); !ok {
				return false
			} else if _, err := fmt.Sscan(number, &n); err != nil {
				return false
			}
			if (n-1)%(gap+1) != 0 || n > 2*(gap+1)+1 {
				refuse(rw, 416, "InvalidPartNumber")
				return true
			}
			r.RequestURI, _, _ = strings.Cut(r.RequestURI, "partNumber=")
			r.RequestURI += fmt.Sprint("partNumber=", (n-1)/(gap+1)+1)
			return false
		})
		w.mustResolve()
		got, _ := w.stores[1].get("b", "big")
		if string(got.body) != string(o.body) || gap < maxGap && got.etag != o.etag || len(w.stores[1].uploads) > 0 {
			t.Errorf("a gap of %d: %d bytes, ETag %s in place of %s", gap, len(got.body), got.etag, o.etag)
		}
	}
}
