package repair

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// R36: a backend that comes and goes all the time does not fill the log, and the last word about one that stays out is
// that it is out.
func TestR36BreakerTellsOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		flapping := &wire{}
		w := newWired(t, &wire{}, flapping)
		r := w.repairer()
		b := r.backends[1]
		ctx, cancel := context.WithCancel(t.Context())
		goesOut := func() {
			t.Helper()
			flapping.f.setHook(func(w http.ResponseWriter, _ *http.Request) bool { refuse(w, 503, "SlowDown"); return true })
			if !r.suspect(ctx, b, errors.New("a request failed")) {
				t.Fatal("it is not out")
			}
		}
		comesBack := func(after time.Duration) {
			t.Helper()
			flapping.f.setHook(nil)
			time.Sleep(after) // in the bubble
			if b.breaker.open.Load() {
				t.Fatal("it is not back")
			}
		}
		told := func(when string, out, back int) {
			t.Helper()
			if o, b := w.log.count("a backend is out: its keys wait"), w.log.count("a backend is back"); o != out || b != back {
				t.Errorf("%s: told %d times that it is out and %d times that it is back, want %d and %d", when, o, b, out, back)
			}
		}
		for range 19 {
			goesOut()
			comesBack(3 * time.Second)
		}
		told("after 57 s of coming and going", 1, 1)
		goesOut()
		time.Sleep(5 * time.Minute) // in the bubble
		told("when it has stayed out", 2, 1)
		comesBack(time.Minute)
		told("when it is back", 2, 2)
		cancel()
		r.running.Wait()
	})
}
