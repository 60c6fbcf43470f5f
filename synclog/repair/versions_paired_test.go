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
