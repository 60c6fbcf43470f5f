package repair

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// R35: some storages list the null version without an id. A delete of it names it there, too: without an id, the
// current version would be deleted.
func TestR35NullVersionWithoutID(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.stores[0], w.stores[1]
	for _, s := range w.stores {
		s.put("b", "k", "null", time.Hour)
		s.buckets["b"].stacks = map[string][]fakeVersion{"k": {{"null", s.buckets["b"].objects["k"]}}}
	}
	w.versioned()
	for _, s := range w.stores {
		s.put("b", "k", "current", 0)
	}
	a.purges("k", "null")
	b.buckets["b"].anonymous = true
	w.knows("k", w.by(task.Version, "DELETE", "", "versionId=null", 0))
	w.mustResolve()
	mustBe(t, "B", w.body(1, "k"), "current")
}

// R35: some storages answer 405 in place of 404 where the current version is a delete marker.
func TestR35DeleteMarkerIsNotAllowed(t *testing.T) {
	w := newWorld(t, 2)
	w.versioned()
	a, b := w.stores[0], w.stores[1]
	for _, s := range w.stores {
		s.put("b", "again", "v0", time.Hour)
		s.put("b", "gone", "v0", time.Hour)
		s.drops("again")
		s.setHook(func(rw http.ResponseWriter, r *http.Request) bool {
			bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
			if _, there := s.get(bucket, key); there || r.Method != "HEAD" || key == "" {
				return false
			}
			rw.Header().Set("X-Amz-Delete-Marker", "true")
			rw.WriteHeader(405)
			return true
		})
	}
	a.drops("gone")
	w.knows("gone", w.by(task.Content, "DELETE", "", "", 0))
	w.knows("again", w.by(task.Content, "PUT", a.put("b", "again", "v1", 0).etag, "", 0))
	w.mustResolve()
	mustBe(t, "B", w.body(1, "gone")+w.body(1, "again"), "-v1")
	if n := b.requests("DELETE"); n != 1 {
		t.Errorf("%d deletes", n)
	}
}
