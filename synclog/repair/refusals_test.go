package repair

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// R35: keys that a backend refuses for what they are do not take all turns of one that is
// taken not to take any: the next one's turn shows that it does.
func TestR35RefusedKeysLeaveTurnsToOthers(t *testing.T) {
	w := newWorld(t, 2)
	now := time.Now()
	w.o.Now = func() time.Time { return now }
	w.o.RetryBase, w.o.RetryMax = time.Second, time.Second
	refused := func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method != "PUT" || !strings.Contains(r.RequestURI, "poison") {
			return false
		}
		refuse(rw, 403, "AccessDenied")
		return true
	}
	w.stores[1].setHook(refused)
	put := func(key string) {
		w.knows(key, w.by(task.Content, "PUT", w.stores[0].put("b", key, "x", 0).etag, "", 0))
	}
	for i := range refusedInRow + 2 {
		put(fmt.Sprint("poison", i))
	}
	r := w.repairer()
	pass := func() {
		t.Helper()
		now = now.Add(10 * time.Minute)
		mustRun(t, r)
	}
	pass()
	if s := r.Status(); !s.Backends[1].Refuses {
		t.Fatal("it is not taken to refuse all")
	}
	put("other")
	for range 2 * (refusedInRow + 2) {
		pass()
		if _, taken := w.stores[1].get("b", "other"); taken {
			return
		}
	}
	t.Error("it never had a turn")
}

// R35: one key that is refused while nothing else is pending uses up none of its tries: it
// may be the backend. Beside others that are taken it does.
func TestR35OneRefusedKey(t *testing.T) {
	t.Parallel()
	for _, alone := range []bool{true, false} {
		w := newWorld(t, 2)
		now := time.Now()
		w.o.Now = func() time.Time { return now }
		w.o.MaxTries, w.o.RetryBase, w.o.RetryMax = 4, time.Second, time.Second
		w.stores[1].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Method != "PUT" || !strings.Contains(r.RequestURI, "poison") {
				return false
			}
			refuse(rw, 503, "SlowDown")
			return true
		})
		put := func(key string) {
			w.knows(key, w.by(task.Content, "PUT", w.stores[0].put("b", key, "x", 0).etag, "", 0))
		}
		put("poison")
		r := w.repairer()
		for i := range 8 {
			if !alone {
				put(fmt.Sprint("k", i))
			}
			now = now.Add(time.Hour)
			mustRun(t, r)
		}
		left := w.q.left()
		if len(left) != 1 || (left[0].Parked == task.Failed) == alone {
			t.Errorf("alone %v: %+v", alone, left)
		}
	}
}

// R35: a backend that fails at all writes (500) uses up no key's tries, however long; what it
// has failed at once is tried again before.
func TestR35BackendThatFailsAtAllWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	now := time.Now()
	w.o.Now = func() time.Time { return now }
	w.o.MaxTries, w.o.RetryBase, w.o.RetryMax = 3, time.Second, time.Second
	w.stores[1].quirks.fails = true
	for i := range 10 {
		key := fmt.Sprint("k", i)
		w.knows(key, w.by(task.Content, "PUT", w.stores[0].put("b", key, "x", 0).etag, "", 0))
	}
	r := w.repairer()
	pass := func() {
		t.Helper()
		now = now.Add(time.Hour)
		mustRun(t, r)
	}
	for range 20 {
		pass()
	}
	for _, f := range w.q.left() {
		if f.Parked != "" || f.Tries > 1 {
			t.Errorf("%+v", f)
		}
	}
	if n := w.stores[1].requests("PUT"); n > 40 || !r.Status().Backends[1].Refuses {
		t.Errorf("%d writes were tried, %+v", n, r.Status().Backends[1])
	}
	w.stores[1].quirks.fails = false
	for range 3 {
		pass()
	}
	if left := w.q.left(); len(left) > 0 {
		t.Errorf("%d are left: %+v", len(left), left)
	}
}

// R35: a backend that shows nothing of a bucket, for its rights were withdrawn or it redirects everybody, uses up no key's
// tries, however long, nor is it asked all the time; others get what they lack.
func TestR35BackendThatShowsNothing(t *testing.T) {
	for _, status := range []int{301, 307, 400, 401, 403} {
		code := "AccessDenied"
		if status == 400 {
			code = "AuthorizationHeaderMalformed" // the bucket is in another region
		}
		for _, refuser := range []int{0, 1} { // who has it, or one of those that lack it
			w := newWorld(t, 3)
			now := time.Now()
			w.o.Now = func() time.Time { return now }
			w.o.MaxTries, w.o.RetryBase, w.o.RetryMax = 3, time.Second, time.Second
			w.knows("k", w.by(task.Content, "PUT", w.stores[0].put("b", "k", "x", 0).etag, "", 0))
			w.stores[refuser].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
				if r.RequestURI == "/" {
					return false // the list of buckets is another right
				}
				refuse(rw, status, code)
				return true
			})
			r := w.repairer()
			for range 10 {
				mustRun(t, r)
				now = now.Add(time.Minute)
			}
			if left := w.q.left(); len(left) != 1 || left[0].Parked != "" || left[0].Tries > 0 || !strings.Contains(left[0].LastError, fmt.Sprint(status)) {
				t.Errorf("%d from %d: %+v", status, refuser, left)
			}
			if n := w.log.count("a backend shows nothing of a bucket: its keys wait"); n != 1 || w.stores[refuser].requests("") > 10*5 {
				t.Errorf("%d from %d: told %d times, asked %d times", status, refuser, n, w.stores[refuser].requests(""))
			}
			if refuser == 1 {
				mustBe(t, "C", w.body(2, "k"), "x")
			}
			w.stores[refuser].setHook(nil)
			mustRun(t, r)
			if left := w.q.left(); len(left) > 0 {
				t.Errorf("%d from %d, in the end: %+v", status, refuser, left)
			}
		}
	}
}

// R35: a backend that redirects all writes, such as to its own master, uses up no key's tries, however long.
func TestR35BackendThatRedirectsAllWrites(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 307, 308} {
		w := newWorld(t, 2)
		now := time.Now()
		w.o.Now = func() time.Time { return now }
		w.o.MaxTries, w.o.RetryBase, w.o.RetryMax = 4, time.Second, time.Second
		w.stores[1].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				refuse(rw, status, "PermanentRedirect")
			}
			return r.Method == http.MethodPut
		})
		for i := range 5 {
			key := fmt.Sprint("k", i)
			w.knows(key, w.by(task.Content, "PUT", w.stores[0].put("b", key, "x", 0).etag, "", 0))
		}
		r := w.repairer()
		pass := func() {
			t.Helper()
			now = now.Add(time.Hour)
			mustRun(t, r)
		}
		for range 10 {
			pass()
		}
		for _, f := range w.q.left() {
			if f.Parked != "" || f.Tries > 1 {
				t.Errorf("%d: %+v", status, f)
			}
		}
		w.stores[1].setHook(nil)
		for range 3 {
			pass()
		}
		if left := w.q.left(); len(left) > 0 {
			t.Errorf("%d: %d are left: %+v", status, len(left), left)
		}
	}
}

// R35: one key that a backend fails at uses up its tries, and is shown to a person: it may be
// too much for it.
func TestR35OneKeyThatABackendFailsAt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	now := time.Now()
	w.o.Now = func() time.Time { return now }
	w.o.MaxTries, w.o.RetryBase, w.o.RetryMax = 2*refusedInRow, time.Second, time.Second
	w.stores[1].quirks.fails = true
	w.knows("poison", w.by(task.Content, "PUT", w.stores[0].put("b", "poison", "x", 0).etag, "", 0))
	r := w.repairer()
	for range w.o.MaxTries {
		now = now.Add(time.Hour)
		mustRun(t, r)
	}
	if left := w.q.left(); len(left) != 1 || left[0].Parked != task.Failed || r.Status().Backends[1].Refuses {
		t.Errorf("%+v, %+v", left, r.Status().Backends[1])
	}
}

// R35: a backend that fails to show any object, while it lists them, uses up no key's tries, however long, whether it lacks
// them or has them. That is told once.
func TestR35BackendThatShowsNoObject(t *testing.T) {
	t.Parallel()
	head := func(r *http.Request) bool { return r.Method == http.MethodHead }
	object := func(r *http.Request) bool {
		return head(r) || len(r.URL.Path) > len("/b/") && r.Method == http.MethodGet
	}
	for _, c := range []struct {
		name    string
		status  int
		refuses func(r *http.Request) bool
	}{
		{"empty, HEAD 500", 500, head}, {"empty, HEAD 405", 405, head}, {"empty, HEAD 403", 403, head},
		{"HEAD 500", 500, head}, {"HEAD 503", 503, head}, {"HEAD 405", 405, head}, {"HEAD 429", 429, head},
		{"HEAD 403 where GET is allowed", 403, head},
		{"HEAD and GET 403", 403, object},
		{"all of the bucket 500", 500, func(r *http.Request) bool { return r.URL.Path != "/" }},
		{"what there is 403, and what there is not 404", 403, func(r *http.Request) bool { return head(r) && strings.HasPrefix(r.URL.Path, "/b/k") }},
	} {
		for refuser := range 2 { // who has it, or who lacks it
			t.Run(fmt.Sprint(c.name, " from ", refuser), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, 2)
				now := time.Now()
				w.o.Now = func() time.Time { return now }
				w.o.MaxTries, w.o.RetryBase, w.o.RetryMax = 3, time.Hour, time.Hour
				for i := range 10 {
					key := fmt.Sprint("k", i)
					if !strings.HasPrefix(c.name, "empty") {
						w.stores[1].put("b", key, "old", time.Hour)
					}
					w.knows(key, w.by(task.Content, "PUT", w.stores[0].put("b", key, "x", 0).etag, "", 0))
				}
				w.stores[refuser].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
					if c.refuses(r) {
						refuse(rw, c.status, "Refused")
						return true
					}
					return false
				})
				r := w.repairer()
				for range 10 {
					now = now.Add(time.Hour)
					mustRun(t, r)
				}
				for _, f := range w.q.left() {
					if f.Parked != "" || f.Tries > 0 || !strings.Contains(f.LastError, fmt.Sprint(c.status)) {
						t.Errorf("%+v", f)
					}
				}
				n := w.log.count("a backend shows no object of a bucket: its keys wait") + w.log.count("a backend shows nothing of a bucket: its keys wait")
				if len(w.q.left()) != 10 || n != 1 {
					t.Errorf("%d are left, told %d times", len(w.q.left()), n)
				}
				w.stores[refuser].setHook(nil)
				now = now.Add(time.Hour)
				mustRun(t, r)
				if left := w.q.left(); len(left) > 0 {
					t.Errorf("%d are left in the end: %+v", len(left), left)
				}
			})
		}
	}
}

// R35: an object that a backend fails to show, while it shows others, uses up its tries, and is shown to a person.
func TestR35OneObjectThatABackendFailsToShow(t *testing.T) {
	t.Parallel()
	for _, status := range []int{403, 405, 500, 503} {
		for _, others := range []int{0, 1, 5} {
			w := newWorld(t, 2)
			now := time.Now()
			w.o.Now = func() time.Time { return now }
			w.o.MaxTries, w.o.RetryBase, w.o.RetryMax = 3, time.Hour, time.Hour
			for i := range others {
				w.stores[1].put("b", fmt.Sprint("p/k", i), "x", time.Hour)
			}
			w.stores[1].put("b", "p/damaged", "old", time.Hour)
			w.knows("p/damaged", w.by(task.Content, "PUT", w.stores[0].put("b", "p/damaged", "x", 0).etag, "", 0))
			w.stores[1].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
				ours := strings.HasPrefix(r.URL.Path, "/b/p/") // rights end there
				if r.Method != http.MethodHead || ours && r.URL.Path != "/b/p/damaged" {
					return false
				}
				refuse(rw, status, "Refused")
				return true
			})
			r := w.repairer()
			for range w.o.MaxTries {
				now = now.Add(time.Hour)
				mustRun(t, r)
			}
			if left := w.q.left(); len(left) != 1 || left[0].Parked != task.Failed {
				t.Errorf("%d beside %d others: %+v", status, others, left)
			}
		}
	}
}
