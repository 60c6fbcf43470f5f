package repair

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// R35: nothing is written to a bucket while it is being made: it would be without its versions and its lock.
func TestR35CopyWaitsForTheBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m making
		made, err := m.begin(t.Context(), "b")
		if made == nil || err != nil {
			t.Fatalf("the first one: %v", err)
		}
		var waited [2]bool
		go func() {
			if end, err := m.begin(t.Context(), "b"); end != nil || err != nil {
				t.Errorf("who makes it as the second one: %t, %v", end != nil, err)
			}
			waited[0] = true
		}()
		go func() {
			if err := m.wait(t.Context(), "b"); err != nil {
				t.Error(err)
			}
			waited[1] = true
		}()
		synctest.Wait()
		if waited != [2]bool{} {
			t.Errorf("somebody has not waited: %v", waited)
		}
		if err := m.wait(t.Context(), "another"); err != nil {
			t.Error(err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := m.wait(gone, "b"); !errors.Is(err, context.Canceled) {
			t.Errorf("a repair that ends: %v", err)
		}
		made()
		synctest.Wait()
		if waited != [2]bool{true, true} {
			t.Errorf("somebody waits on: %v", waited)
		}
		if again, err := m.begin(t.Context(), "b"); again == nil || err != nil {
			t.Errorf("the next one: %v", err)
		}
	})
}

// R35: MinIO shows a bucket a moment before it locks it, and refuses locked objects until then.
func TestR35LockRefusedWhileTheBucketIsMade(t *testing.T) {
	for _, locks := range []bool{true, false} {
		t.Run(fmt.Sprintf("the bucket locks: %t", locks), func(t *testing.T) {
			w := newWorld(t, 2)
			a, b := w.stores[0], w.stores[1]
			a.buckets["b"].docs["object-lock"] = lockDoc
			if locks {
				b.buckets["b"].docs["object-lock"] = lockDoc
			}
			o := a.put("b", "k", "x", time.Hour, lineHold, "ON")
			b.setHook(once("PUT /b/k", func(rw http.ResponseWriter, _ *http.Request) bool {
				rw.WriteHeader(http.StatusBadRequest)
				fmt.Fprint(rw, "<Error><Code>InvalidRequest</Code><Message>Bucket is missing ObjectLockConfiguration</Message></Error>")
				return true
			}))
			w.knows("k", w.by(task.Content, "PUT", o.etag, "", 0))
			if !locks {
				w.mustPark("k", task.NotKept)
				return
			}
			w.mustResolve()
			if hold, _ := normalHold([]byte(b.doc("k", "legal-hold"))); hold != "ON" {
				t.Errorf("the copy's hold: %q", hold)
			}
		})
	}
}
