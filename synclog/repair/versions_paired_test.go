package repair

import (
	"fmt"
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// R35: backends that have been away have other versions than the others. What was done to
// one is done to the same on them all the same, where the proxy knows what they call it.
func TestR35PairedVersions(t *testing.T) {
	// B has a version that A lacks, another one that looks like the one that is named, and the same otherwise.
	apart := func(t *testing.T) (w *world, old, there string) {
		w = newWorld(t, 2)
		w.versioned()
		w.stores[1].put("b", "k", "w", 4*time.Hour)
		w.stores[1].put("b", "k", "v0", 3*time.Hour)
		for _, s := range w.stores {
			s.put("b", "k", "v0", 2*time.Hour)
			s.put("b", "k", "v1", time.Hour)
		}
		return w, w.stores[0].versionIDs("b", "k")[1], w.stores[1].versionIDs("b", "k")[1]
	}
	of := func(w *world, method, query, there string) task.Write {
		write := w.by(task.Version, method, "", query, 0)
		if there != "" {
			write.ETags = map[string]string{w.stores[1].name: there}
		}
		return write
	}
	versions := func(w *world) string { return fmt.Sprint(w.stores[1].versionIDs("b", "k")) }
	t.Run("deleted", func(t *testing.T) {
		w, old, there := apart(t)
		w.stores[0].purges("k", old)
		w.knows("k", of(w, "DELETE", "versionId="+old, there))
		ids := w.stores[1].versionIDs("b", "k")
		w.mustResolve()
		mustBe(t, "versions of B", versions(w), fmt.Sprint([]string{ids[0], ids[2], ids[3]}))
	})
	t.Run("deleted, and nobody knows what B calls it", func(t *testing.T) {
		w, old, _ := apart(t)
		w.stores[0].purges("k", old)
		w.knows("k", of(w, "DELETE", "versionId="+old, ""))
		w.mustPark("k", task.NeedsPerson)
		mustBe(t, "versions of B", fmt.Sprint(len(w.stores[1].versionIDs("b", "k"))), "4")
	})
	t.Run("the current one is deleted, and what is current then differs", func(t *testing.T) {
		w, old, _ := apart(t)
		w.stores[0].purges("k", old)
		ids := [2][]string{w.stores[0].versionIDs("b", "k"), w.stores[1].versionIDs("b", "k")}
		w.stores[0].purges("k", ids[0][0])
		w.knows("k", of(w, "DELETE", "versionId="+ids[0][0], ids[1][0]))
		w.mustPark("k", task.NeedsPerson)
		mustBe(t, "versions of B", versions(w), fmt.Sprint(ids[1][1:]))
	})
	t.Run("the same, and the journal has the write that made it", func(t *testing.T) {
		w, old, _ := apart(t)
		w.stores[0].purges("k", old)
		put := w.by(task.Content, "PUT", w.stores[1].etags("b", "k")[0], "", 0, 1)
		ids := [2][]string{w.stores[0].versionIDs("b", "k"), w.stores[1].versionIDs("b", "k")}
		put.Made = map[string]string{w.stores[0].name: ids[0][0], w.stores[1].name: ids[1][0]}
		w.stores[0].purges("k", ids[0][0])
		w.knows("k", put, of(w, "DELETE", "versionId="+ids[0][0], ""))
		w.mustPark("k", task.NeedsPerson)
		mustBe(t, "versions of B", versions(w), fmt.Sprint(ids[1][1:]))
	})
	for _, tt := range []struct {
		name        string
		parts, from int // whose id the client names
	}{{"by one request", 1, 0}, {"in parts", 2, 0}, {"by the copy's id", 1, 1}} {
		t.Run("a copy of repair's own "+tt.name, func(t *testing.T) {
			w := newWorld(t, 2)
			w.versioned()
			w.stores[1].put("b", "k", "w", time.Hour)
			w.stores[0].put("b", "k", "v0", time.Hour)
			if tt.parts > 1 {
				o, _ := w.stores[0].get("b", "k")
				o.joined([][]byte{[]byte("v"), []byte("0")})
			}
			w.knows("k", w.by(task.Content, "PUT", w.stores[0].etags("b", "k")[0], "", 0))
			r := w.repairer()
			run := func() {
				t.Helper()
				if _, err := r.RunOnce(t.Context()); err != nil || len(w.q.left()) > 0 {
					t.Fatalf("%v; left: %+v", err, w.q.left())
				}
			}
			run()
			ids := [2][]string{w.stores[0].versionIDs("b", "k"), w.stores[1].versionIDs("b", "k")}
			for _, s := range w.stores {
				s.put("b", "k", "now", time.Minute)
			}
			w.stores[tt.from].purges("k", ids[tt.from][0])
			w.knows("k", w.by(task.Version, "DELETE", "", "versionId="+ids[tt.from][0], tt.from))
			run()
			for i, s := range w.stores {
				mustBe(t, "versions of "+s.name, fmt.Sprint(s.versionIDs("b", "k")[1:]), fmt.Sprint(ids[i][1:]))
			}
		})
	}
	t.Run("tags", func(t *testing.T) {
		w, old, there := apart(t)
		w.stores[0].buckets["b"].version("k", old).docs["tagging"] = tagDoc("a=1")
		w.knows("k", of(w, "PUT", "tagging&versionId="+old, there))
		w.mustResolve()
		if got, _ := normalTags([]byte(w.stores[1].buckets["b"].version("k", there).docs["tagging"])); got != "a=1" {
			t.Errorf("tags are %q", got)
		}
	})
}
