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

// bucketTask journals writes of a bucket itself, in order.
func (w *world) bucketTask(bucket string, writes ...task.Write) {
	t := &task.Task{Bucket: bucket, Target: "/" + bucket}
	base := uint64(time.Now().Add(-time.Minute).UnixNano())
	for i, wr := range writes {
		wr.Seq, wr.Settled, wr.Target = base+uint64(2*i), base+uint64(2*i)+1, t.Target
		if i+1 < len(writes) {
			t.Rivals = append(t.Rivals, wr)
		} else {
			t.Writes = append(t.Writes, wr)
		}
	}
	w.q.push(flat{Bucket: bucket, Target: t.Target, Seq: newestSeq(t), First: base, whole: t})
}

// owes journals a key of a bucket that store 1 owes, and which is parked.
func (w *world) owes(bucket, key string, age time.Duration) {
	seq := uint64(time.Now().Add(-age).UnixNano())
	w.q.push(flat{Seq: seq, Settled: seq, Method: "DELETE", Bucket: bucket, Key: key, Target: "/" + bucket + "/" + key, Owed: []string{w.stores[1].name}, Parked: task.NeedsPerson, LastError: "who knows"})
}

// A removal that was forced is not parked before repair has looked: the bucket may be gone, or be removed
// without force. What is in it is not taken away unasked.
func TestR35ForcedRemovalLooksFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	b := w.stores[1]
	forced := w.by(task.Content, "DELETE", "", "", 0)
	forced.Unrepeatable = true
	for _, bucket := range []string{"gone", "empty", "full"} {
		w.bucketTask(bucket, forced)
	}
	b.makeBucket("empty")
	b.makeBucket("full")
	b.put("full", "k", "x", time.Hour)
	sum := w.once()
	left := w.q.left()
	if sum.Resolved != 2 || b.buckets["empty"] != nil || b.requests("DELETE /gone") > 0 {
		t.Errorf("%+v, %d buckets", sum, len(b.buckets))
	}
	if len(left) != 1 || left[0].Bucket != "full" || left[0].Parked != task.NeedsPerson || !strings.Contains(left[0].LastError, `"k"`) || b.buckets["full"] == nil {
		t.Errorf("left: %+v", left)
	}
}

// What keeps a bucket from being removed where that is owed, and is owed there itself, goes with the bucket, and
// what is pending of it ends, parked or not. What nothing is known of stays, and so does the bucket.
func TestR35RemovalTakesAlongWhatIsOwed(t *testing.T) {
	t.Parallel()
	for _, versions := range []bool{false, true} {
		t.Run(fmt.Sprint(versions), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2)
			b := w.stores[1]
			for _, bucket := range []string{"old", "other"} {
				b.makeBucket(bucket)
				b.buckets[bucket].versioned = versions
				b.put(bucket, "k", "x", time.Hour)
				b.put(bucket, "k", "y", time.Hour)
				w.owes(bucket, "k", time.Hour)
				w.bucketTask(bucket, w.by(task.Content, "DELETE", "", "", 0))
			}
			w.owes("old", "nowhere", time.Hour)
			w.owes("old", "younger", 0)
			b.put("other", "foreign", "z", time.Hour)
			w.once()
			var left []string
			for _, task := range w.q.left() {
				left = append(left, task.Bucket+"/"+task.Key)
			}
			if b.buckets["old"] != nil || b.buckets["other"] == nil || b.buckets["other"].objects["foreign"] == nil || b.buckets["other"].objects["k"] != nil {
				t.Errorf("buckets: %+v", b.buckets)
			}
			slices.Sort(left)
			if want := []string{"old/younger", "other/", "other/k"}; !slices.Equal(left, want) {
				t.Errorf("left: %q, want %q", left, want)
			}
		})
	}
}

// Nor do delete markers keep a bucket that have nothing under them, as where one backend alone has made one of a
// DELETE of nothing; but what is under one does.
func TestR35RemovalTakesAlongBareDeleteMarkers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	b := w.stores[1]
	for _, bucket := range []string{"bare", "other"} {
		b.makeBucket(bucket)
		b.buckets[bucket].versioned = true
		b.buckets[bucket].push("k", nil)
		b.buckets[bucket].push("k", nil)
		w.bucketTask(bucket, w.by(task.Content, "DELETE", "", "", 0))
	}
	b.put("other", "l", "x", time.Hour)
	delete(b.buckets["other"].objects, "l")
	b.buckets["other"].push("l", nil)
	w.once()
	if left := w.q.left(); len(left) != 1 || left[0].Bucket != "other" || b.buckets["bare"] != nil || b.buckets["other"] == nil {
		t.Fatalf("left: %+v, buckets: %+v", left, b.buckets)
	}
	if n := len(b.versionIDs("other", "l")); n != 2 {
		t.Errorf("%d versions of l", n)
	}
}

// Where the bucket was made again, its removal is done first, and noted before the new one is made: nothing is
// written into the old one.
func TestR17RemovalComesFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	a, b := w.stores[0], w.stores[1]
	a.makeBucket("old")
	a.put("old", "k", "new", time.Hour)
	b.makeBucket("old")
	b.put("old", "k", "old", time.Hour)
	seq := uint64(time.Now().UnixNano())
	w.q.push(flat{Seq: seq, Settled: seq, Method: "PUT", ETag: md5Hex([]byte("new")), Bucket: "old", Key: "k", Target: "/old/k", Owed: []string{b.name}})
	w.bucketTask("old", w.by(task.Content, "DELETE", "", "", 0), w.by(task.Content, "PUT", "", "", 0))
	w.once()
	if got, ok := b.get("old", "k"); !ok || string(got.body) != "new" || len(w.q.left()) > 0 || w.q.notes == 0 {
		t.Errorf("got %q, left: %+v", got.body, w.q.left())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	at := func(line string) int { return slices.Index(b.log, line) }
	if removed, made, put := at("DELETE /old"), at("PUT /old"), at("PUT /old/k"); removed < 0 || made < removed || put < made {
		t.Errorf("it had %q", b.log)
	}
}

// A key of before the removal of its bucket does not bring the bucket back where that was removed, also if another backend
// shows both again, as one that was restored: that is the bucket's conflict.
func TestR35KeyBringsNoRemovedBucketBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	a, b := w.stores[0], w.stores[1]
	a.makeBucket("old")
	o := a.put("old", "k", "x", time.Hour)
	seq := uint64(time.Now().Add(-time.Hour).UnixNano())
	w.q.push(flat{Seq: seq, Settled: seq, Method: "PUT", ETag: o.etag, Bucket: "old", Key: "k", Target: "/old/k", Owed: []string{b.name}})
	w.bucketTask("old", w.by(task.Content, "DELETE", "", "", 0))
	for range 2 {
		w.once()
	}
	left := map[string]task.ParkReason{}
	for _, t := range w.q.left() {
		left[t.Bucket+"/"+t.Key] = t.Parked
	}
	if len(left) != 2 || left["old/"] != task.Conflict || left["old/k"] != "" || b.requests("PUT /old") > 0 {
		t.Errorf("left: %q, B had %q", left, b.log)
	}
}

// The lock of a version that was deleted is lifted where it is known to be old: a change of it is owed, which who
// took the delete has taken as well. A retention that the client has bypassed is bypassed. MinIO refuses otherwise than S3.
func TestR35OutdatedLock(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change string // of the lock, "" is none
		owed   bool
		gone   bool
		// bypassed: the client that deleted the version has bypassed its retention; held: there is a hold as well.
		bypassed, held bool
		status         int
		code           string
	}{
		{"a hold", "legal-hold", true, true, false, false, 403, "AccessDenied"},
		{"a hold at MinIO", "legal-hold", true, true, false, false, 400, "InvalidRequest"},
		{"a retention", "retention", true, true, false, false, 403, "AccessDenied"},
		{"a retention at MinIO", "retention", true, true, false, false, 400, "InvalidRequest"},
		{"none", "", true, false, false, false, 403, "AccessDenied"},
		{"none at MinIO", "", true, false, false, false, 400, "InvalidRequest"},
		{"one that it has taken", "legal-hold", false, false, false, false, 403, "AccessDenied"},
		{"a retention that was bypassed", "", true, true, true, false, 403, "AccessDenied"},
		{"a retention that was bypassed at MinIO", "", true, true, true, false, 400, "InvalidRequest"},
		{"a hold beside a retention that was bypassed", "", true, false, true, true, 400, "InvalidRequest"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2)
			w.versioned()
			b := w.stores[1]
			o := b.put("b", "k", "x", time.Hour)
			o.docs["legal-hold"] = "<LegalHold><Status>ON</Status></LegalHold>"
			id := b.versionIDs("b", "k")[0]
			b.setHook(func(rw http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodDelete || !r.URL.Query().Has("versionId") {
					return false
				}
				b.mu.Lock()
				held := strings.Contains(o.docs["legal-hold"], "ON")
				b.mu.Unlock()
				bypassed := (tt.change == "retention" || tt.bypassed && !tt.held) && r.Header.Get("X-Amz-Bypass-Governance-Retention") != ""
				refused := held && !bypassed
				if refused {
					refuse(rw, tt.status, tt.code)
				}
				return refused
			})
			of := func(method, query string) task.Write {
				wr := w.by(task.Version, method, "", query+"versionId=7", 0)
				wr.ETags = map[string]string{b.name: id}
				return wr
			}
			var writes []task.Write
			if tt.change != "" {
				change := of("PUT", tt.change+"&")
				if !tt.owed {
					change.Owed, change.Took = nil, append(change.Took, b.name)
				}
				writes = append(writes, change)
			}
			deleted := of("DELETE", "")
			if tt.bypassed {
				deleted.Carried = task.CarriedBypass
			}
			w.knows("k", append(writes, deleted)...)
			w.once()
			if left := w.q.left(); (len(left) == 0) != tt.gone || (len(b.versionIDs("b", "k")) == 0) != tt.gone {
				t.Errorf("left: %+v, versions %q", left, b.versionIDs("b", "k"))
			} else if !tt.gone && left[0].Parked != task.NeedsPerson {
				t.Errorf("not parked: %+v", left[0])
			}
		})
	}
}

// A backend that was away when a client shortened a retention, or deleted in spite of one, is brought along: it has
// to be told each time that the retention is bypassed.
func TestR35RetentionIsBypassed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	soon, late := time.Now().Add(time.Hour).UTC().Format(time.RFC3339), still()
	for i, s := range w.stores {
		s.buckets["b"].docs["object-lock"] = lockDoc
		s.put("b", "shortened", "x", 0, lineMode, "GOVERNANCE", lineDate, []string{soon, late}[i])
	}
	w.stores[1].put("b", "deleted", "x", 0, lineMode, "GOVERNANCE", lineDate, late)
	w.knows("shortened", w.by(task.Retention, "PUT", "", "retention", 0))
	deleted := w.by(task.Content, "DELETE", "", "", 0)
	deleted.Carried = task.CarriedBypass
	w.knows("deleted", deleted)
	w.stores[1].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
		refused := (r.Method == "PUT" || r.Method == "DELETE") && r.Header.Get("X-Amz-Bypass-Governance-Retention") != "true"
		if refused {
			refuse(rw, 403, "AccessDenied")
		}
		return refused
	})
	w.mustResolve()
	if doc := w.stores[1].doc("shortened", "retention"); !strings.Contains(doc, soon) {
		t.Errorf("retained: %s", doc)
	}
	if _, there := w.stores[1].get("b", "deleted"); there {
		t.Error("not deleted")
	}
}

// A key that is closed while repair looks at it, as its bucket was removed, needs nobody: it is not told of as parked.
func TestR36ClosedWhileRepairLooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	told := 0
	w.o.OnFailed = func(task.Task, error) { told++ }
	for _, key := range []string{"gone", "stays"} { // acknowledged, and nobody has it: lost
		w.knows(key, w.by(task.Content, "PUT", "0cc175b9c0f1b6a831c399e269772661", "", 0))
	}
	w.stores[1].setHook(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/gone") {
			w.q.drop("gone")
		}
		return false
	})
	if sum := w.once(); sum.Parked != 1 || told != 1 {
		t.Errorf("%+v, told %d times", sum, told)
	}
	if left := w.q.left(); len(left) != 1 || left[0].Key != "stays" || left[0].Parked != task.Lost {
		t.Errorf("left: %+v", left)
	}
}

// While one backend has yet to remove a bucket that was made again, and that does not come soon, the others get what they
// lack in the new one. The old one is no source and no target, nor is it looked at; what may have gone with it waits.
func TestR17OthersDoNotWaitForRemoval(t *testing.T) {
	t.Parallel()
	for _, parked := range []bool{false, true} { // or the backend is out
		t.Run(fmt.Sprint("parked ", parked), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 4)
			a, b, c, d := w.stores[0], w.stores[1], w.stores[2], w.stores[3]
			for _, s := range w.stores {
				s.makeBucket("old")
			}
			b.put("old", "put", "new", time.Hour, "Cache-Control", "old") // as it was in the old one
			b.put("old", "foreign", "x", time.Hour)
			for _, s := range []*fake{b, c, d} {
				s.put("old", "deleted", "v0", time.Hour)
			}
			removal, made := w.by(task.Content, "DELETE", "", "", 0, 2), w.by(task.Content, "PUT", "", "", 0, 2)
			w.bucketTask("old", removal, made) // B and D owe both
			if parked {
				w.q.tasks[0].Parked = task.NeedsPerson
			}
			owed := []string{b.name, c.name, d.name}
			seq := uint64(time.Now().UnixNano())
			pending := func(method, key, etag string, seq uint64, owed ...string) {
				w.q.push(flat{Seq: seq, Settled: seq, Method: method, ETag: etag, Bucket: "old", Key: key, Target: "/old/" + key, Owed: owed})
			}
			pending("PUT", "put", a.put("old", "put", "new", time.Hour).etag, seq, owed...)
			pending("DELETE", "deleted", "", seq, owed...)
			pending("PUT", "earlier", a.put("old", "earlier", "x", time.Hour).etag, w.q.tasks[0].First-1, owed...)
			c.put("old", "equal", "x", time.Hour)
			w.q.push(flat{Seq: seq, Settled: seq, Method: "PUT", Bucket: "old", Key: "unknown", Target: "/old/unknown", Owed: owed, Unacknowledged: true})
			a.put("old", "unknown", "x", time.Hour)
			pending("PUT", "taken", a.put("old", "taken", "x", time.Hour).etag, seq, c.name)
			pending("PUT", "equal", a.put("old", "equal", "x", time.Hour).etag, seq, b.name, d.name)
			a.buckets["old"].docs["policy"] = "{}"
			w.q.push(flat{Seq: seq, Settled: seq, Method: "PUT", Bucket: "old", Target: "/old?policy", Owed: []string{c.name}})
			w.o.CopyBucketConfig = true
			w.o.Maintained = func(name string) bool { return !parked && (name == b.name || name == d.name) }
			w.once()
			if got, ok := c.get("old", "put"); !ok || string(got.body) != "new" || got.header.Get("Cache-Control") != "" {
				t.Errorf("C has %q, %v", got.body, got.header)
			}
			if _, ok := c.get("old", "deleted"); ok || c.buckets["old"].docs["policy"] == "" {
				t.Errorf("C still has what was deleted: %t, and its policy is %q", ok, c.buckets["old"].docs["policy"])
			}
			for _, key := range []string{"earlier", "unknown"} {
				if _, ok := c.get("old", key); ok {
					t.Errorf("%q, which may have gone with the old bucket, was copied", key)
				}
			}
			if b.requests("/old")+d.requests("/old") > 0 || c.requests("/old/equal") > 0 {
				t.Errorf("asked: B %q, D %q, C %q", b.log, d.log, c.log)
			}
			if left := w.q.left(); len(left) != 8 {
				t.Errorf("left: %+v", left)
			}
			b.remove("old", "foreign")
			w.o.Maintained, w.o.RetryParked = nil, true
			w.once()
			for _, s := range w.stores {
				got, _ := s.get("old", "put")
				_, ok := s.get("old", "deleted")
				if string(got.body) != "new" || ok {
					t.Errorf("in the end %q, %t", got.body, ok)
				}
			}
			for _, f := range w.q.left() {
				if f.Key != "taken" && !strings.Contains(f.Target, "policy") { // B and D owe nothing of these
					t.Errorf("left: %+v", f)
				}
			}
		})
	}
}

// Where the removal comes soon, they wait for it, and are looked at once.
func TestR17RemovalComesSoon(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	a, b := w.stores[0], w.stores[1]
	for _, s := range w.stores {
		s.makeBucket("old")
	}
	seq := uint64(time.Now().UnixNano())
	w.q.push(flat{Seq: seq, Settled: seq, Method: "PUT", ETag: a.put("old", "k", "new", time.Hour).etag, Bucket: "old", Key: "k", Target: "/old/k", Owed: []string{b.name, w.stores[2].name}})
	w.bucketTask("old", w.by(task.Content, "DELETE", "", "", 0, 2), w.by(task.Content, "PUT", "", "", 0, 2))
	w.once()
	if want := []string{": deleted the old bucket from " + b.name + ", made the bucket at " + b.name, "k: copied " + a.name + " to " + b.name + ", copied " + a.name + " to " + w.stores[2].name}; !slices.Equal(w.done, want) {
		t.Errorf("done: %q, want %q", w.done, want)
	}
}
