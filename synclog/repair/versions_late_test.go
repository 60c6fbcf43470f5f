package repair

import (
	"fmt"
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// R35: what a backend has taken late, without an answer, and a client has deleted there for good since, is
// not given to it once more.
func TestR35DeletedWhereItWasLate(t *testing.T) {
	// A client deletes on A, by an id that nobody has told the proxy, what B has and A owes.
	late := func(t *testing.T, marker bool) (w *world, write, purge task.Write) {
		w = newWorld(t, 2)
		w.versioned()
		for _, s := range w.stores {
			s.put("b", "k", "v0", 2*time.Hour)
			if marker {
				s.drops("k")
			} else {
				s.put("b", "k", "v1", time.Hour)
			}
		}
		if write = w.by(task.Content, "DELETE", "", "", 1); !marker {
			write = w.by(task.Content, "PUT", w.stores[1].etags("b", "k")[0], "", 1)
			write.Made = map[string]string{w.stores[1].name: w.stores[1].versionIDs("b", "k")[0]}
		}
		id := w.stores[0].versionIDs("b", "k")[0]
		w.stores[0].purges("k", id)
		purge = w.by(task.Version, "DELETE", "", "versionId="+id, 0)
		return w, write, purge
	}
	versions := func(w *world) string {
		return fmt.Sprint(len(w.stores[0].versionIDs("b", "k")), len(w.stores[1].versionIDs("b", "k")))
	}
	for _, marker := range []bool{false, true} {
		t.Run(fmt.Sprintf("a delete marker: %t", marker), func(t *testing.T) {
			w, write, purge := late(t, marker)
			w.knows("k", write, purge)
			w.mustPark("k", task.NeedsPerson)
			mustBe(t, "versions", versions(w), "1 2")
		})
	}
	t.Run("and another backend lacks an older one", func(t *testing.T) {
		w, write, purge := late(t, false)
		w.stores[1].purges("k", w.stores[1].versionIDs("b", "k")[1])
		w.knows("k", write, purge)
		w.mustPark("k", task.NeedsPerson)
		mustBe(t, "versions", versions(w), "1 1")
	})
	t.Run("one that all had", func(t *testing.T) {
		w, write, purge := late(t, false)
		w.stores[0].purges("k", w.stores[0].versionIDs("b", "k")[0]) // which the client named, too
		w.knows("k", write, purge)
		w.once()
		mustBe(t, "content of A", w.body(0, "k"), "v1")
	})
	t.Run("before what stands", func(t *testing.T) {
		w, write, purge := late(t, false)
		w.knows("k", purge, write)
		w.once()
		mustBe(t, "content of A", w.body(0, "k"), "v1")
	})
	t.Run("another one, by the id that it had where what stands is", func(t *testing.T) {
		w, write, _ := late(t, false)
		id := w.stores[1].versionIDs("b", "k")[1]
		w.stores[1].purges("k", id)
		purge := w.by(task.Version, "DELETE", "", "versionId="+id, 0, 1) // A has said yes without knowing it
		purge.Owed = []string{w.stores[0].name, w.stores[1].name}
		w.knows("k", write, purge)
		w.mustResolve()
		mustBe(t, "versions", versions(w), "1 1")
		mustBe(t, "content of A", w.body(0, "k"), "v1")
	})
	t.Run("by an id that the proxy knows", func(t *testing.T) {
		w, write, purge := late(t, false)
		purge.ETags = map[string]string{w.stores[1].name: "another"}
		w.knows("k", write, purge)
		w.once()
		mustBe(t, "content of A", w.body(0, "k"), "v1")
	})
}
