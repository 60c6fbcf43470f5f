package repair

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// R35: a listing that was asked for before the look may not have what the look shows. That is no other key's
// object: the listing is asked again.
func TestR35ListingAheadOfTheLook(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.wrote("k", w.stores[0].put("b", "k", "new", time.Minute).etag, 1)
	w.stores[1].put("b", "k", "old", time.Hour)
	var listed atomic.Int32
	w.stores[1].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.RequestURI, "prefix=k") || listed.Add(1) > 1 {
			return false
		}
		fmt.Fprint(rw, "<ListBucketResult></ListBucketResult>") // as it was before the object came
		return true
	})
	r := w.repairer()
	r.backends[1].overwritten.Store(true)
	mustRun(t, r)
	if left := w.q.left(); len(left) > 0 || listed.Load() == 0 {
		t.Fatalf("left after %d listings: %+v", listed.Load(), left)
	}
	w.mustEqual("k")
}

// A source that does not tell how long an object is fails that key, and nothing else.
func TestSourceWithoutLength(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	etag := w.stores[0].put("b", "k", "content", time.Minute).etag
	w.wrote("k", etag, 1)
	w.stores[0].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.RequestURI != "/b/k" {
			return false
		}
		rw.Header().Set("ETag", `"`+etag+`"`)
		rw.WriteHeader(http.StatusOK)
		rw.(http.Flusher).Flush() // chunked
		fmt.Fprint(rw, "content")
		return true
	})
	w.once()
	if left := w.q.left(); len(left) != 1 || !strings.Contains(left[0].LastError, "length") {
		t.Errorf("left: %+v", left)
	}
}
