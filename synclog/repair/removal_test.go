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

// The lock of a version that was deleted is lifted where it is known to be old: a change of it is owed, which who
// took the delete has taken as well.
func TestR35OutdatedLock(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change string // of the lock, "" is none
		owed   bool
		gone   bool
	}{
		{"a hold", "legal-hold", true, true},
		{"a retention", "retention", true, true},
		{"none", "", true, false},
		{"one that it has taken", "legal-hold", false, false},
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
				refused := held && (tt.change != "retention" || r.Header.Get("X-Amz-Bypass-Governance-Retention") == "")
				if refused {
					refuse(rw, 403, "AccessDenied")
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
			w.knows("k", append(writes, of("DELETE", ""))...)
			w.once()
			if left := w.q.left(); (len(left) == 0) != tt.gone || (len(b.versionIDs("b", "k")) == 0) != tt.gone {
				t.Errorf("left: %+v, versions %q", left, b.versionIDs("b", "k"))
			} else if !tt.gone && left[0].Parked != task.NeedsPerson {
				t.Errorf("not parked: %+v", left[0])
			}
		})
	}
}
