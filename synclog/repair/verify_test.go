package repair

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// verify runs Verify over the world's stores and gives the differences as
// "kind key".
func (w *world) verify(change func(*VerifyOptions)) (map[string]string, VerifySummary, error) {
	w.t.Helper()
	found := map[string]string{}
	o := VerifyOptions{
		Backends: w.o.Backends, Bucket: "b", Log: w.log, Timeout: 20 * time.Second,
		OnDifference: func(d Difference) { found[d.Key] = d.Kind },
	}
	if change != nil {
		change(&o)
	}
	sum, err := Verify(w.t.Context(), o)
	return found, sum, err
}

func TestVerifyFindsEveryDifference(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	for i := range 3500 { // several pages
		for _, s := range w.stores {
			s.put("b", fmt.Sprintf("p/%05d", i), "same", time.Hour)
		}
	}
	for _, key := range []string{"p/", "p/ x", "p/zz/ümlaut+%2F", "p/~", "p/\xff", "p/\x01"} {
		for _, s := range w.stores {
			s.put("b", key, "same", time.Hour)
		}
	}
	for _, s := range w.stores {
		s.put("b", "outside", fmt.Sprint(s.name), time.Hour)
		s.put("b", "p/etag", "same", time.Hour)
		s.put("b", "p/metadata", "same", time.Hour)
	}
	w.stores[0].remove("b", "p/00000")
	w.stores[1].remove("b", "p/01500")
	w.stores[2].remove("b", "p/03499")
	w.stores[1].put("b", "p/~~", "alone", time.Hour)
	w.stores[2].put("b", "p/02000", "other size", time.Hour)
	w.stores[2].put("b", "p/etag", "emas", time.Hour)
	w.stores[1].put("b", "p/metadata", "same", time.Hour, "x-amz-meta-m", "1")
	w.stores[0].buckets["b"].objects["p/00007"].body = []byte("rott") // its ETag is what it was
	want := map[string]string{
		"p/00000": DiffMissing, "p/01500": DiffMissing, "p/03499": DiffMissing, "p/~~": DiffMissing,
		"p/02000": DiffSize, "p/etag": DiffETag,
	}
	found, sum, err := w.verify(func(o *VerifyOptions) { o.Prefix = "p/" })
	if err != nil || fmt.Sprint(found) != fmt.Sprint(want) {
		t.Errorf("got %v, %v, want %v", found, err, want)
	}
	if sum.Keys != 3509 || sum.Differences != 6 || sum.Missing != 4 || sum.Last != "p/\xff" {
		t.Errorf("%+v", sum)
	}
	want["p/00007"], want["p/metadata"] = DiffDamaged, DiffMetadata
	found, sum, err = w.verify(func(o *VerifyOptions) { o.Prefix, o.Deep = "p/", true })
	if err != nil || fmt.Sprint(found) != fmt.Sprint(want) {
		t.Errorf("deep: got %v, %v, want %v", found, err, want)
	}
	if sum.Bytes < 3*3500*4 {
		t.Errorf("deep: %+v", sum)
	}
	found, _, err = w.verify(func(o *VerifyOptions) { o.Prefix, o.IgnoreETags = "p/", true })
	if delete(want, "p/00007"); err != nil || found["p/etag"] != "" || found["p/02000"] != DiffSize {
		t.Errorf("without ETags: %v, %v", found, err)
	}
}

func TestVerifyJournalsForRepair(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	a, b := w.stores[0], w.stores[1]
	a.put("b", "missing", "x", time.Hour)
	a.put("b", "older", "old", time.Hour)
	b.put("b", "older", "new", time.Minute)
	_, sum, err := w.verify(func(o *VerifyOptions) { o.Journal, o.Missing = w.q, MissingCopy })
	if err != nil || sum.Added != 2 || len(w.q.added) != 2 {
		t.Fatalf("%+v, %v", sum, err)
	}
	for _, task := range w.q.added {
		if task.Method != "" || task.Bucket != "b" || len(task.Owed) == 0 || task.Target != "/b/"+task.Key {
			t.Errorf("%+v", task)
		}
	}
	w.mustPark("older", task.Conflict)
	w.mustEqual("missing")
	if sum, err := w.repairer().Settle(t.Context(), "b", "older", "", Decision{Newest: true}); err != nil || !sum.Done {
		t.Fatalf("%+v, %v", sum, err)
	}
	if o := w.mustEqual("older"); string(o.body) != "new" {
		t.Errorf("got %q", o.body)
	}
	if found, _, err := w.verify(nil); err != nil || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}
}

// A write between two listings, or between a listing and the look, is no difference.
func TestVerifyLooksAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.stores[0].put("b", "k", "x", time.Hour)
	w.stores[1].setHook(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == "HEAD" {
			w.stores[1].put("b", "k", "x", 0)
		}
		return false
	})
	if found, sum, err := w.verify(nil); err != nil || len(found) > 0 || sum.Keys != 1 {
		t.Errorf("%v, %+v, %v", found, sum, err)
	}
}

// Storages that know only the first version of the listing go by its marker.
func TestVerifyOldListing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.stores[1].quirks.v1Listing = true
	for i := range 2500 {
		for _, s := range w.stores {
			s.put("b", fmt.Sprintf("%05d", i), "same", time.Hour)
		}
	}
	if found, sum, err := w.verify(nil); err != nil || len(found) > 0 || sum.Keys != 2500 {
		t.Errorf("%v, %+v, %v", found, sum, err)
	}
}

func TestVerifyMissingBucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	delete(w.stores[1].buckets, "b")
	w.stores[0].put("b", "k", "x", time.Hour)
	found, sum, err := w.verify(func(o *VerifyOptions) { o.Journal, o.Missing = w.q, MissingCopy })
	if err != nil || found[""] != DiffBucket || found["k"] != DiffMissing || sum.Added != 2 {
		t.Errorf("%v, %+v, %v", found, sum, err)
	}
	w.mustResolve()
	w.mustEqual("k")

	delete(w.stores[0].buckets, "b")
	delete(w.stores[1].buckets, "b")
	if _, _, err := w.verify(nil); err == nil || !strings.Contains(err.Error(), `no backend has it`) {
		t.Errorf("got %v", err)
	}
}

// A listing that fails is an error, not a bucket that has come to its end.
func TestVerifyListingFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	for i := range 1500 {
		for _, s := range w.stores {
			s.put("b", fmt.Sprintf("%05d", i), "same", time.Hour)
		}
	}
	pages := 0
	w.stores[1].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.RequestURI, "list-type") {
			return false
		}
		if pages++; pages > 1 {
			refuse(rw, 403, "AccessDenied")
			return true
		}
		return false
	})
	found, _, err := w.verify(nil)
	if err == nil || !strings.Contains(err.Error(), "AccessDenied") || !strings.Contains(err.Error(), w.stores[1].name) || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}
}

func TestVerifyBackendCannotSay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.stores[0].put("b", "k", "x", time.Hour)
	w.stores[1].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.RequestURI, "/b/k") {
			refuse(rw, 403, "AccessDenied")
			return true
		}
		return false
	})
	found, sum, err := w.verify(func(o *VerifyOptions) { o.Journal = w.q })
	if err != nil || found["k"] != DiffError || sum.Errors != 1 || sum.Added != 0 {
		t.Errorf("%v, %+v, %v", found, sum, err)
	}
}

func TestVerifyCancelled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	w.stores[0].setHook(func(http.ResponseWriter, *http.Request) bool { cancel(); return false })
	_, err := Verify(ctx, VerifyOptions{Backends: w.o.Backends, Bucket: "b"})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
