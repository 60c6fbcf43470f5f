package repair

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// sealing has a store refuse to show objects without the key that their client has, as S3 and MinIO do (SSE-C).
func (f *fake) sealing() {
	f.setHook(func(w http.ResponseWriter, r *http.Request) bool {
		sealed := (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.Count(r.URL.Path, "/") > 1 && r.URL.RawQuery == ""
		if _, there := f.get("b", strings.TrimPrefix(r.URL.Path, "/b/")); !sealed || !there {
			return false
		}
		w.WriteHeader(http.StatusBadRequest)
		if r.Method == http.MethodGet {
			fmt.Fprint(w, "<Error><Code>InvalidRequest</Code><Message>The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.</Message></Error>")
		}
		return true
	})
}

// What only its client can read is not copied, and a person is told at once. It is deleted where its delete is owed, and is
// right where it has what its backend answered.
func TestR35ObjectsThatOnlyTheirClientReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	a, b := w.stores[0], w.stores[1]
	missed := a.put("b", "missed", "x", 0)
	w.knows("missed", w.by(task.Content, "PUT", missed.etag, "", 0))
	b.put("b", "deleted", "x", time.Hour)
	w.knows("deleted", w.by(task.Content, "DELETE", "", "", 0))
	both := w.by(task.Content, "PUT", a.put("b", "both", "one", 0).etag, "", 0, 1)
	both.ETags = map[string]string{b.name: b.put("b", "both", "two", 0).etag} // the same text under two keys
	both.Owed = []string{a.name, b.name}
	w.knows("both", both)
	changed := w.by(task.Content, "PUT", a.put("b", "changed", "one", 0).etag, "", 0, 1)
	b.put("b", "changed", "two", 0) // past the proxy
	changed.Owed = []string{a.name, b.name}
	w.knows("changed", changed)
	a.sealing()
	b.sealing()
	w.once()
	if _, there := b.get("b", "deleted"); there {
		t.Error("not deleted")
	}
	parked := map[string]task.ParkReason{}
	for _, left := range w.q.left() {
		parked[left.Key] = left.Parked
		if left.Key == "missed" && !strings.Contains(left.LastError, "SSE-C") {
			t.Errorf("said: %s", left.LastError)
		}
	}
	if want := map[string]task.ParkReason{"missed": task.NeedsPerson, "changed": task.NeedsPerson}; fmt.Sprint(parked) != fmt.Sprint(want) {
		t.Errorf("parked: %v, want %v", parked, want)
	}
}
