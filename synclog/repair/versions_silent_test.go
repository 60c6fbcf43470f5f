package repair

import (
	"fmt"
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// R35: a backend may have deleted a version and have given no answer. That it does not have any more
// what it took before is no change past the proxy.
func TestR35VersionDeletedWithoutAnAnswer(t *testing.T) {
	// A and B have taken v1, on v0; A has deleted it since, and nobody has heard of that.
	silent := func(t *testing.T, older bool) (w *world, put, purge task.Write) {
		w = newWorld(t, 2)
		w.versioned()
		for _, s := range w.stores {
			if older {
				s.put("b", "k", "v0", 2*time.Hour)
			}
			s.put("b", "k", "v1", time.Hour)
		}
		put = w.by(task.Content, "PUT", w.stores[1].etags("b", "k")[0], "", 0, 1)
		id := w.stores[0].versionIDs("b", "k")[0]
		w.stores[0].purges("k", id)
		purge = w.by(task.Version, "DELETE", "", "versionId="+id)
		return w, put, purge
	}
	versions := func(w *world) string {
		return fmt.Sprint(len(w.stores[0].versionIDs("b", "k")), len(w.stores[1].versionIDs("b", "k")))
	}
	for _, older := range []bool{false, true} {
		t.Run(fmt.Sprintf("under way when the proxy died, an older version: %t", older), func(t *testing.T) {
			w, put, purge := silent(t, older)
			before := versions(w)
			purge.Unacknowledged = true
			w.knows("k", put, purge)
			w.mustPark("k", task.NeedsPerson)
			mustBe(t, "versions", versions(w), before)
		})
		t.Run(fmt.Sprintf("B has said yes and does not know the id, an older version: %t", older), func(t *testing.T) {
			w, put, purge := silent(t, older)
			purge.Took = []string{w.stores[1].name}
			purge.ETags = map[string]string{w.stores[1].name: w.stores[1].versionIDs("b", "k")[0]}
			w.knows("k", put, purge)
			w.mustResolve()
			mustBe(t, "versions", versions(w), map[bool]string{false: "0 0", true: "1 1"}[older])
		})
	}
}
