package repair

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// trips repairs one key after the other, and tells how many round trips to the far backend the last one took, one after
// the other, and how many requests.
func trips(t *testing.T, far int, keys int, prepare func(w *world, key string)) (trips, requests int) {
	t.Helper()
	const trip = time.Second
	wires := []*wire{{}, {}}
	wires[far].trip = trip
	w := newWired(t, wires...)
	r := w.repairer()
	for i := range keys {
		prepare(w, "k"+strings.Repeat("x", i))
		begun, before := time.Now(), w.stores[far].requests("")
		sum, err := r.RunOnce(t.Context())
		if err != nil || sum.Resolved != 1 {
			t.Fatalf("%+v, %v; %s", sum, err, r.Status().LastError)
		}
		trips, requests = int(time.Since(begun)/trip), w.stores[far].requests("")-before
	}
	return trips, requests
}

// TestRoundTrips: a key costs a far backend no more round trips than what is looked at and done there has to be done
// in order: a look, the deed, a look at what came of it (R35).
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	put := func(w *world, i int, key, body string) string {
		return w.stores[i].put("b", key, body, time.Minute).etag
	}
	for _, c := range []struct {
		name            string
		far             int
		trips, requests int
		prepare         func(w *world, key string)
	}{
		{"a small object to a far backend that has none", 1, 3, 3, func(w *world, key string) {
			w.wrote(key, put(w, 0, key, "new"), 1)
		}},
		// The listing is asked beside the first look.
		{"a small object over an older one", 1, 3, 4, func(w *world, key string) {
			put(w, 1, key, "old")
			w.wrote(key, put(w, 0, key, "new"), 1)
		}},
		{"a delete", 1, 3, 4, func(w *world, key string) {
			put(w, 1, key, "old")
			w.deleted(key, 1)
		}},
		// Tags, ACL and content at once.
		{"a small object from a far backend", 0, 3, 5, func(w *world, key string) {
			w.wrote(key, put(w, 0, key, "new"), 1)
		}},
		{"what is equal", 1, 2, 3, func(w *world, key string) { // with tags and ACL, which may differ
			put(w, 1, key, "new")
			w.wrote(key, put(w, 0, key, "new"), 1)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				// The first one shows what backends are like.
				got, requests := trips(t, c.far, 2, c.prepare)
				if got != c.trips || requests != c.requests {
					t.Errorf("%d round trips and %d requests in place of %d and %d", got, requests, c.trips, c.requests)
				}
			})
		})
	}
}
