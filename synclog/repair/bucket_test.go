package repair

import (
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// R35: a bucket that a backend has lost with its disk is made again as the source has it: with versioning, and with
// the lock's default. Where that fails it is not forgotten, and not closed as equal.
func TestR35BucketIsMadeAgainAsItWas(t *testing.T) {
	t.Parallel()
	const (
		versioning = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
		lock       = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>"
	)
	for name, tt := range map[string]struct {
		status, times int  // how B refuses ?versioning
		silent        bool // it does not say that it has made the bucket
		left          string
	}{
		"at once":       {},
		"in silence":    {silent: true},
		"in the end":    {status: 500, times: 1},
		"as far as can": {status: 501, times: 1 << 20, left: "/b?versioning"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2)
			w.o.MaxTries = 2
			a, b := w.stores[0], w.stores[1]
			a.buckets["b"].docs["versioning"], a.buckets["b"].docs["object-lock"] = versioning, lock
			o := a.put("b", "k", "x", time.Hour)
			delete(b.buckets, "b")
			refused := 0
			b.setHook(func(rw http.ResponseWriter, r *http.Request) bool {
				b.mu.Lock()
				silent := tt.silent && r.Method == http.MethodPut && r.URL.Path == "/b" && r.URL.RawQuery == "" && b.buckets["b"] == nil
				if silent {
					b.makeBucket("b")
					b.buckets["b"].docs["object-lock"] = lockDoc
				}
				b.mu.Unlock()
				if silent {
					panic(http.ErrAbortHandler)
				}
				refuses := r.Method == http.MethodPut && r.URL.Query().Has("versioning") && refused < tt.times
				if refuses {
					refused++
					refuse(rw, tt.status, "InternalError")
				}
				return refuses
			})
			w.knows("k", w.by(task.Content, "PUT", o.etag, "", 0))
			for range 4 {
				w.once()
			}
			left := w.q.left()
			if len(left) > 1 || len(left) == 1 && (left[0].Target != tt.left || left[0].Parked == "" || !strings.Contains(left[0].LastError, "InternalError")) {
				t.Errorf("left: %+v, want %q", left, tt.left)
			}
			b.mu.Lock()
			docs := maps.Clone(b.buckets["b"].docs)
			b.mu.Unlock()
			if o, _ := b.get("b", "k"); string(o.body) != "x" || docs["object-lock"] != lock || (docs["versioning"] == versioning) != (tt.left == "") {
				t.Errorf("B has %q, %v", o.body, docs)
			}
		})
	}
}

// R35: where a backend does not say whether a bucket has object lock, it is not taken for one without.
func TestR35BucketWhoseLockIsNotKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	a, b := w.stores[0], w.stores[1]
	a.makeBucket("locked")
	a.buckets["locked"].docs["object-lock"] = lockDoc
	b.makeBucket("locked")
	var asked atomic.Int32
	a.setHook(func(rw http.ResponseWriter, r *http.Request) bool {
		fails := r.URL.Query().Has("object-lock") && asked.Add(1) == 1
		if fails {
			refuse(rw, 503, "SlowDown")
		}
		return fails
	})
	w.bucketTask("locked", w.by(task.Content, "PUT", "", "", 0))
	for range 2 {
		w.once()
	}
	if left := w.q.left(); len(left) != 1 || left[0].Parked != task.NotKept || !strings.Contains(left[0].LastError, lineLock) {
		t.Errorf("left: %+v", left)
	}
}
