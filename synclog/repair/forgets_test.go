package repair

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// forgets has a storage say yes to parts of objects, and keep none of them.
func (f *fake) forgets(name string) {
	f.setHook(func(_ http.ResponseWriter, r *http.Request) bool {
		return r.Method == http.MethodPut && r.URL.Query().Has(name)
	})
}

// lockParts are sub-resources, the headers by which a PUT brings them, and their aspects.
var lockParts = []struct {
	name    string
	aspect  task.Aspect
	headers []string
}{
	{"tagging", task.Tags, []string{"X-Amz-Tagging", "a=1"}},
	{"retention", task.Retention, []string{lineMode, "GOVERNANCE", lineDate, still()}},
	{"legal-hold", task.LegalHold, []string{lineHold, "ON"}},
}

// R35: a backend that says yes to tags or a lock, and does not keep them, is told of and remembered, and its key is not
// closed as equal: whether it was that to which a client wrote them, or repair.
func TestR35PartThatIsNotKept(t *testing.T) {
	t.Parallel()
	for _, part := range lockParts {
		for name, write := range map[string]func(w *world) task.Write{
			"that was owed": func(w *world) task.Write { return w.by(part.aspect, "PUT", "", part.name, 0) },
			"that was taken": func(w *world) task.Write {
				wr := w.by(part.aspect, "PUT", "", part.name, 0, 1)
				wr.Owed = append(wr.Owed, w.stores[1].name) // one before it may have come late
				return wr
			},
			"of unknown outcome": func(w *world) task.Write {
				wr := w.by(part.aspect, "PUT", "", part.name)
				wr.Unacknowledged = true
				return wr
			},
			"of a version": func(w *world) task.Write {
				return w.by(task.Version, "PUT", "", part.name+"&versionId="+w.stores[0].versionIDs("b", "k")[0], 0)
			},
		} {
			t.Run(part.name+" "+name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, 2)
				w.versioned()
				for _, s := range w.stores {
					s.buckets["b"].docs["object-lock"] = lockDoc
				}
				w.stores[0].put("b", "k", "x", time.Hour, part.headers...)
				w.stores[1].put("b", "k", "x", time.Hour)
				w.stores[1].forgets(part.name)
				memory, _ := OpenManners("")
				w.o.Memory = memory
				w.knows("k", write(w))
				w.mustPark("k", task.NotKept)
				if !memory.Loses(w.stores[1].name, "?"+part.name) || memory.Lossy(w.stores[0].name) {
					t.Errorf("of A is remembered: %t, of B: %t", memory.Lossy(w.stores[0].name), memory.Loses(w.stores[1].name, "?"+part.name))
				}
				if doc := w.stores[0].doc("k", part.name); doc == "" {
					t.Error("A has lost it, too")
				}
			})
		}
	}
}

// R35: of two reasons to park a key the more serious one counts, and none takes nothing away.
func TestR35WorseReason(t *testing.T) {
	none, forgotten, changed := plan{source: -1}, parked(task.NotKept, "tags"), parked(task.Conflict, "changed")
	for _, tt := range []struct {
		a, b plan
		want task.ParkReason
	}{
		{none, none, ""}, {none, forgotten, task.NotKept}, {forgotten, none, task.NotKept}, {forgotten, changed, task.Conflict},
		{changed, forgotten, task.Conflict}, {changed, none, task.Conflict}, {none, changed, task.Conflict},
	} {
		if got := worse(tt.a, tt.b).park; got != tt.want {
			t.Errorf("of %q and %q: %q, want %q", tt.a.park, tt.b.park, got, tt.want)
		}
	}
}

// R35: that a bucket has no object lock says nothing about the backend's other buckets.
func TestR35BucketWithoutLockIsNoManner(t *testing.T) {
	t.Parallel()
	for _, part := range lockParts[1:] {
		w := newWorld(t, 2)
		w.stores[0].buckets["b"].docs["object-lock"] = lockDoc
		w.stores[0].put("b", "k", "x", time.Hour, part.headers...)
		w.stores[1].put("b", "k", "x", time.Hour)
		w.stores[1].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
			refuses := r.Method == http.MethodPut && r.URL.Query().Has(part.name)
			if refuses {
				refuse(rw, 400, "NoSuchObjectLockConfiguration")
			}
			return refuses
		})
		memory, _ := OpenManners("")
		w.o.Memory = memory
		w.knows("k", w.by(part.aspect, "PUT", "", part.name, 0))
		w.mustPark("k", task.NotKept)
		if memory.Lossy(w.stores[1].name) {
			t.Errorf("?%s: it is remembered of the backend", part.name)
		}
	}
}

// R35: where nobody who took a lock shows it, an older one is not lifted for that elsewhere, and the key is told of as
// any other that is not kept. A hold that is shown as OFF was lifted.
func TestR35LockThatWhoTookItForgets(t *testing.T) {
	t.Parallel()
	const off = "<LegalHold><Status>OFF</Status></LegalHold>"
	hold, retention := lockParts[2], lockParts[1]
	for name, tt := range map[string]struct {
		part    int
		a       string   // what A shows
		b       []string // the headers by which B has one
		learned bool     // that A keeps none
		want    task.ParkReason
		left    string // at B
	}{
		"a retention, and an older one":        {part: 1, b: retention.headers, want: task.NotKept, left: "GOVERNANCE"},
		"a hold, and an older one":             {part: 2, b: hold.headers, want: task.NotKept, left: "ON"},
		"a hold, and none":                     {part: 2, want: task.NotKept},
		"a hold that was lifted":               {part: 2, a: off, b: hold.headers, left: "OFF"},
		"a hold that was lifted, and none":     {part: 2, a: off},
		"a hold, of whom that is known":        {part: 2, b: hold.headers, learned: true, want: task.NotKept, left: "ON"},
		"a retention, of whom that is known":   {part: 1, b: retention.headers, learned: true, want: task.NotKept, left: "GOVERNANCE"},
		"tags, and older ones: there are none": {part: 0, b: lockParts[0].headers},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2)
			part := lockParts[tt.part]
			for _, s := range w.stores {
				s.buckets["b"].docs["object-lock"] = lockDoc
			}
			a := w.stores[0].put("b", "k", "x", time.Hour)
			if tt.a != "" {
				a.docs[part.name] = tt.a
			}
			w.stores[1].put("b", "k", "x", time.Hour, tt.b...)
			memory, _ := OpenManners("")
			if w.o.Memory = memory; tt.learned {
				_, _ = memory.Learn(w.stores[0].name, "?"+part.name)
			}
			w.knows("k", w.by(part.aspect, "PUT", "", part.name, 0))
			if tt.want == "" {
				w.mustResolve()
			} else {
				w.mustPark("k", tt.want)
			}
			if doc := w.stores[1].doc("k", part.name); !strings.Contains(doc, tt.left) || tt.left == "" && doc != "" {
				t.Errorf("B has %q, want %q", doc, tt.left)
			}
		})
	}
}

// R35: a lock has gone with the version that it was of.
func TestR35LockOfAVersionThatWasDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.versioned()
	for _, s := range w.stores {
		s.buckets["b"].docs["object-lock"] = lockDoc
		s.put("b", "k", "v0", time.Hour)
	}
	purge := w.by(task.Version, "DELETE", "", "versionId=gone", 0, 1)
	w.knows("k", w.by(task.LegalHold, "PUT", "", "legal-hold", 0), purge)
	w.mustResolve()
}

// R35: a write of unknown outcome may have taken the lock away with the object.
func TestR35LockThatMayHaveGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	var etag string
	for _, s := range w.stores {
		s.buckets["b"].docs["object-lock"] = lockDoc
		etag = s.put("b", "k", "v0", time.Hour).etag
	}
	put := w.by(task.Content, "PUT", etag, "")
	put.Unacknowledged = true
	w.knows("k", w.by(task.LegalHold, "PUT", "", "legal-hold", 0), put)
	w.mustResolve()
}

// R35: of two backends that took a lock the one that shows it is the source.
func TestR35LockThatOneOfTwoShows(t *testing.T) {
	t.Parallel()
	for _, part := range lockParts[1:] {
		w := newWorld(t, 3)
		for i, s := range w.stores {
			s.buckets["b"].docs["object-lock"] = lockDoc
			headers := part.headers
			if i < 2 {
				headers = nil
			}
			s.put("b", "k", "x", time.Hour, headers...)
		}
		w.knows("k", w.by(part.aspect, "PUT", "", part.name, 0, 2))
		w.mustPark("k", task.NotKept)
		if w.stores[1].doc("k", part.name) == "" {
			t.Errorf("B has no ?%s", part.name)
		}
	}
}

// R35: a backend that lacks the object as it stands has taken a lock of what it had before. That it shows none afterwards
// is not its fault.
func TestR35LockOfWhatABackendHadBefore(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		took []int
		want task.ParkReason
	}{
		"both took it, and the other one shows that it is lifted": {[]int{0, 1}, ""},
		"it took it alone": {[]int{0}, task.NeedsPerson},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2)
			for _, s := range w.stores {
				s.buckets["b"].docs["object-lock"] = lockDoc
			}
			w.stores[0].put("b", "k", "v0", 2*time.Hour)
			o := w.stores[1].put("b", "k", "v1", time.Hour)
			if tt.want == "" {
				o.docs["legal-hold"] = "<LegalHold><Status>OFF</Status></LegalHold>"
			}
			w.knows("k", w.by(task.Content, "PUT", o.etag, "", 1), w.by(task.LegalHold, "PUT", "", "legal-hold", tt.took...))
			if tt.want == "" {
				w.mustResolve()
			} else {
				w.mustPark("k", tt.want)
			}
			if got := w.body(0, "k"); got != "v1" {
				t.Errorf("A has %q", got)
			}
		})
	}
}
