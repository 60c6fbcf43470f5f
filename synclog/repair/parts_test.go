package repair

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// inParts is a world with one large object of n parts of 256 KiB at the first backend, which the far one lacks.
func inParts(t *testing.T, n int, far *wire) *world {
	t.Helper()
	w := newWired(t, &wire{}, far)
	w.o.Concurrency = 0
	var parts []string
	for i := range n {
		parts = append(parts, strings.Repeat(string(rune('a'+i)), 256<<10))
	}
	w.wrote("big", w.stores[0].putParts("b", "big", parts...).etag, 1)
	return w
}

// TestPartsGoBesideEachOther: one large object fills a long way, also where the parts are guessed or where
// numbers were left out; the copy is the same to a byte.
func TestPartsGoBesideEachOther(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		quirk quirks
		gap   int // this number was left out
		most  time.Duration
	}{
		{"by number", quirks{}, 0, 8 * time.Second},
		{"guessed", quirks{noPartNumber: true}, 0, 8 * time.Second},
		{"with a gap", quirks{}, 12, 14 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				far := &wire{trip: time.Second}
				w := inParts(t, 16, far)
				w.stores[0].quirks = c.quirk
				if c.gap > 0 {
					w.stores[0].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
						var n int
						if _, err := fmt.Sscan(r.URL.Query().Get("partNumber"), &n); err != nil || n < c.gap {
							return false
						}
						if n == c.gap {
							refuse(rw, http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
							return true
						}
						query := r.URL.Query()
						query.Set("partNumber", fmt.Sprint(n-1))
						r.RequestURI = "/b/big?" + query.Encode()
						return false
					})
				}
				begun := time.Now()
				w.mustResolve()
				// A look, the start, sixteen parts, the end, and the last looks, one after the other, are 21 s.
				if took := time.Since(begun); took > c.most {
					t.Errorf("it took %s", took)
				}
				from, _ := w.stores[0].get("b", "big")
				to, _ := w.stores[1].get("b", "big")
				if string(from.body) != string(to.body) || from.etag != to.etag {
					t.Errorf("%d bytes with the ETag %s in place of %d with %s", len(to.body), to.etag, len(from.body), from.etag)
				}
			})
		})
	}
}

// TestPartsStayBehindClients: they go one after the other while clients need the room.
func TestPartsStayBehindClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		far := &wire{trip: time.Second}
		w := inParts(t, 12, far)
		w.o.Pressed = func(string) bool { return true }
		w.mustResolve()
		if far.peak != 1 {
			t.Errorf("up to %d requests at once", far.peak)
		}
	})
}

// TestPartThatFails: the others end, the upload is aborted, and the next try succeeds.
func TestPartThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		far := &wire{trip: time.Second}
		w := inParts(t, 16, far)
		w.o.RetryBase, w.o.RetryMax = time.Millisecond, time.Millisecond
		var failed atomic.Bool
		w.stores[1].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.RequestURI, "partNumber=5&") && failed.CompareAndSwap(false, true) {
				refuse(rw, http.StatusBadRequest, "InvalidPart")
				return true
			}
			return false
		})
		w.mustResolve()
		w.stores[1].mu.Lock()
		defer w.stores[1].mu.Unlock()
		if n := len(w.stores[1].uploads); n != 0 || !failed.Load() {
			t.Errorf("%d uploads are left", n)
		}
	})
}

// TestPartsLeaveRoomForKeys: a large object, which may take hours, does not keep the small ones of the same backend
// waiting until it is done.
func TestPartsLeaveRoomForKeys(t *testing.T) {
	t.Parallel()
	for _, concurrency := range []int{0, 4} {
		t.Run(fmt.Sprint(concurrency), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWired(t, &wire{}, &wire{trip: time.Second})
				w.o.Concurrency = concurrency
				var parts []string
				for i := range 1000 { // two minutes and more
					parts = append(parts, fmt.Sprint("part", i))
				}
				w.wrote("big", w.stores[0].putParts("b", "big", parts...).etag, 1)
				r := w.repairer()
				r.Start()
				defer r.Close()
				time.Sleep(10 * time.Second) // it has all the room that there is
				for i := range 10 {
					key := fmt.Sprint("small", i)
					w.wrote(key, w.stores[0].put("b", key, "x", time.Minute).etag, 1)
				}
				r.Kick()
				time.Sleep(40 * time.Second) // in the bubble
				if left := w.q.left(); len(left) != 1 || left[0].Key != "big" {
					t.Errorf("%d keys are left", len(left))
				}
			})
		})
	}
}
