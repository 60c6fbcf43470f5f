package repair

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/task"
)

// cut closes the connection of a request without a word.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		conn.Close()
	}
}

// once lets the first request of that line, or with a word of it in its line, meet
// do.
func once(text string, do func(w http.ResponseWriter, r *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	var met atomic.Bool
	return func(w http.ResponseWriter, r *http.Request) bool {
		line := r.Method + " " + r.RequestURI
		meant := line == text || !strings.Contains(text, " ") && strings.Contains(line, text)
		return meant && met.CompareAndSwap(false, true) && do(w, r)
	}
}

func TestSourceDiesInMidCopy(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, smallObject + 1, 4 << 20} {
		w := newWorld(t, 2)
		body := strings.Repeat("x", size)
		o := w.stores[0].put("b", "k", body, time.Minute)
		w.wrote("k", o.etag, 1)
		w.stores[0].setHook(once("GET /b/k", func(rw http.ResponseWriter, _ *http.Request) bool {
			rw.Header().Set("ETag", `"`+o.etag+`"`)
			rw.Header().Set("Content-Length", fmt.Sprint(size))
			io.WriteString(rw, body[:size/2])
			http.NewResponseController(rw).Flush()
			cut(rw)
			return true
		}))
		sum := w.once()
		if _, stored := w.stores[1].get("b", "k"); stored {
			t.Fatalf("%d bytes: half an object was stored: %+v %q", size, w.q.left(), w.stores[0].log)
		}
		left := w.q.left()
		if len(left) != 1 || left[0].Tries != 1 || sum.Failed != 1 || !left[0].NotBefore.After(time.Now().Add(-time.Second)) {
			t.Fatalf("%d bytes: %+v, %+v", size, sum, left)
		}
		if !strings.Contains(left[0].LastError, w.stores[0].name) || strings.Contains(left[0].LastError, w.stores[1].name) {
			t.Errorf("%d bytes: it blames %s", size, left[0].LastError)
		}
		w.mustResolve()
		w.mustEqual("k")
	}
}

func TestPoisonedObjectIsParked(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(w http.ResponseWriter){
		"503":          func(w http.ResponseWriter) { refuse(w, 503, "SlowDown") },
		"403":          func(w http.ResponseWriter) { refuse(w, 403, "AccessDenied") },
		"409":          func(w http.ResponseWriter) { refuse(w, 409, "OperationAborted") },
		"412":          func(w http.ResponseWriter) { refuse(w, 412, "PreconditionFailed") },
		"closes":       cut,
		"no XML":       func(w http.ResponseWriter) { w.WriteHeader(500); io.WriteString(w, "<html>") },
		"hangs":        nil,
		"lies":         func(w http.ResponseWriter) { w.Header().Set("ETag", `"x"`) },
		"redirects":    func(w http.ResponseWriter) { w.Header().Set("Location", "/"); w.WriteHeader(307) },
		"not possible": func(w http.ResponseWriter) { refuse(w, 400, "XMinioInvalidObjectName") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2)
			w.o.MaxTries = 3
			if answer == nil {
				w.o.Timeout = 8 * time.Second // it is used up, three times; the others need far less, also on a busy machine
			}
			w.stores[1].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
				if r.Method != "PUT" || !strings.Contains(r.RequestURI, "poison") {
					return false
				}
				if answer == nil {
					io.Copy(io.Discard, r.Body)
					<-r.Context().Done()
					return true
				}
				answer(rw)
				return true
			})
			w.wrote("poison", w.stores[0].put("b", "poison", "x", time.Minute).etag, 1)
			for i := range 20 {
				key := fmt.Sprint("k", i)
				w.wrote(key, w.stores[0].put("b", key, "x", time.Minute).etag, 1)
			}
			sum := w.once()
			if name == "lies" || name == "not possible" { // it was given the object, and has it not, or never will
				if left := w.q.left(); sum.Parked != 1 || len(left) != 1 || left[0].Parked != task.NotKept {
					t.Fatalf("%+v, %+v", sum, left)
				}
				return
			}
			if sum.Resolved != 20 || sum.Failed != 1 || sum.Seen != 21 {
				t.Fatalf("%+v, %+v", sum, w.q.left())
			}
			w.once()
			sum = w.once()
			left := w.q.left()
			if sum.Parked != 1 || len(left) != 1 || left[0].Parked == "" || left[0].Tries != 3 || left[0].LastError == "" {
				t.Fatalf("%+v, %+v", sum, left)
			}
			before := w.stores[1].requests("")
			if sum = w.once(); sum.Parked != 1 || sum.Seen != 1 || w.stores[1].requests("") != before {
				t.Errorf("a parked key was tried: %+v", sum)
			}
			w.stores[1].setHook(nil)
			w.o.RetryParked = true
			w.mustResolve()
			w.mustEqual("poison")
		})
	}
}

// What has failed once may well succeed a moment later.
func TestOnceTriesAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.o.RetryBase, w.o.OnResolved = time.Millisecond, nil
	for i := range 30 {
		key := fmt.Sprint("k", i)
		w.wrote(key, w.stores[0].put("b", key, "x", time.Minute).etag, 1)
	}
	n := 0
	w.stores[1].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
		if n++; r.Method == "PUT" && n < 40 {
			refuse(rw, 500, "InternalError")
			return true
		}
		return false
	})
	if sum := w.mustResolve(); sum.Seen != 30 || sum.Resolved != 30 || sum.Failed != 0 || sum.Left != 0 {
		t.Errorf("%+v", sum)
	}
}

// A backend that is out costs a timeout or two, not one for each key, and uses up
// none's tries.
func TestBackendIsOut(t *testing.T) {
	t.Parallel()
	for name, hook := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"503":             func(w http.ResponseWriter, _ *http.Request) bool { refuse(w, 503, "ServiceUnavailable"); return true },
		"closes":          func(w http.ResponseWriter, _ *http.Request) bool { cut(w); return true },
		"hangs":           func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true },
		"bad credentials": func(w http.ResponseWriter, _ *http.Request) bool { refuse(w, 403, "InvalidAccessKeyId"); return true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3)
			w.o.Concurrency, w.o.OnResolved = 4, nil
			if name == "hangs" {
				w.o.Timeout = 8 * time.Second // it is used up; the others need far less, also on a busy machine
			}
			const n = 200
			for i := range n {
				key := fmt.Sprint("k", i)
				w.stores[1].put("b", key, "x", time.Minute)
				w.wrote(key, w.stores[0].put("b", key, "x", time.Minute).etag, 2)
			}
			w.wrote("both", w.stores[0].put("b", "both", "x", time.Minute).etag, 1, 2)
			w.stores[2].setHook(hook)
			sum := w.once()
			if sum.Left != n+1 || sum.Failed+sum.Parked+sum.Resolved > 0 {
				t.Errorf("%+v", sum)
			}
			if got := w.stores[2].requests(""); got > 20 {
				t.Errorf("it was asked %d times", got)
			}
			for _, task := range w.q.left() {
				if task.Tries > 0 || task.Parked != "" {
					t.Fatalf("%+v", task)
				}
			}
			if _, ok := w.stores[1].get("b", "both"); !ok {
				t.Error("who can be reached was not repaired")
			}
			if got := w.log.count("a backend is out: its keys wait"); got != 1 {
				t.Errorf("it was told %d times", got)
			}
			w.stores[2].setHook(nil)
			w.mustResolve()
			w.mustEqual("k0")
			w.mustEqual("both")
		})
	}
}

// follow starts a follower that is closed with the test.
func (w *world) follow() *Repairer {
	r := w.repairer()
	r.Start()
	w.t.Cleanup(r.Close)
	return r
}

// await waits until ok, which has to come about soon.
func (w *world) await(what string, ok func() bool) {
	w.t.Helper()
	defer func() {
		if w.t.Failed() {
			w.t.Logf("left: %+v", w.q.left())
		}
	}()
	testkit.Eventually(w.t, what, ok)
}

func TestFollowsThroughAnOutage(t *testing.T) {
	t.Parallel()
	a, b := newFake(t, "b"), stub.New(t)
	w := &world{t: t, stores: []*fake{a}, q: newQueue(), log: &testLog{t: t}}
	w.o = Options{
		Journal: w.q, Log: w.log, Timeout: testkit.Patience, DialTimeout: testkit.Patience, IdleInterval: 10 * time.Millisecond,
		Backends: []Backend{a.backend(), {Name: b.Addr(), URL: b.URL()}},
	}
	w.q.names = []string{a.name, b.Addr()}
	b.Put("/b", nil)
	b.Down()
	owed := func(key string) {
		task := w.wrote(key, a.put("b", key, "body", time.Minute).etag)
		task.Owed = []string{b.Addr()}
		w.q.push(task)
	}
	for i := range 50 {
		owed(fmt.Sprint("k", i))
	}
	r := w.follow()
	w.await("the backend is out", func() bool { return r.Status().Backends[1].Out })
	testkit.MustDo(t, b.Up())
	w.await("all are repaired", func() bool { return len(w.q.left()) == 0 })
	owed("late")
	r.Kick()
	w.await("a late one is repaired", func() bool { return len(w.q.left()) == 0 })
	s := r.Status()
	if s.Resolved != 51 || s.Failed+s.Parked > 0 || s.Backends[1].Out || !s.Running || s.Bytes < 51*4 {
		t.Errorf("%+v", s)
	}
	if n := len(b.Objects()); n != 52 {
		t.Errorf("%d objects", n)
	}
	r.Close()
	if r.Status().Running {
		t.Error("still running")
	}
}

func TestObjectChangesMeanwhile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// when the request comes, on this store, do
		at    string
		store int
		do    func(w *world)
		want  string
	}{
		{"the source is written before it is read", "GET /b/k", 0, func(w *world) { w.stores[0].put("b", "k", "new", 0) }, "new"},
		{"the source is deleted before it is read", "GET /b/k", 0, func(w *world) {
			w.stores[0].remove("b", "k")
			w.stores[1].remove("b", "k")
			w.deleted("k", 0, 1)
		}, ""},
		{"both are written as the copy comes", "PUT /b/k", 1, func(w *world) {
			w.stores[0].put("b", "k", "new", 0)
			w.stores[1].put("b", "k", "new", 0)
		}, "new"},
		{"the source is written as the copy comes", "PUT /b/k", 1, func(w *world) { w.stores[0].put("b", "k", "new", 0) }, "new"},
		{"the target is written as the copy comes", "PUT /b/k", 1, func(w *world) { w.stores[1].put("b", "k", "new", 0) }, "new"},
		{"the target is written as it is looked at", "HEAD /b/k", 1, func(w *world) { w.stores[1].put("b", "k", "new", 0) }, "new"},
		{"the target is made as the copy comes", "PUT /b/k", 1, func(w *world) { w.stores[1].put("b", "k", "new", 0) }, "new"},
	} {
		// Where it is not known when the last leg ended, age shows nothing: only the
		// fence does.
		for flags := range 8 {
			conditions, settled, size := flags&1 != 0, flags&2 != 0, 5
			if flags&4 != 0 {
				size = 1 << 20 // large enough for the client to ask first
			}
			t.Run(fmt.Sprintf("%s, conditions %t, settled %t, %d bytes", c.name, conditions, settled, size), func(t *testing.T) {
				if !conditions && size <= smallObject && strings.HasPrefix(c.at, "PUT") && c.store == 1 && !strings.HasPrefix(c.name, "the source") {
					t.Skip("a storage without conditions takes a small object over what came a moment before")
				}
				w := newWorld(t, 2)
				w.stores[1].quirks.ignoreConditions = !conditions
				fence := newFence()
				w.o.Fence = fence
				o := w.stores[0].put("b", "k", strings.Repeat("1", size), time.Hour)
				if c.name != "the target is made as the copy comes" {
					w.stores[1].put("b", "k", "old", 2*time.Hour)
				}
				w.wrote("k", o.etag, 1)
				if !settled {
					w.q.tasks[0].Settled = 0
				}
				w.stores[c.store].setHook(once(c.at, func(http.ResponseWriter, *http.Request) bool {
					// Through the proxy: the fence sees it, and the journal, whose key
					// is pending, hears of it.
					fence.write("b", "k", func() {
						c.do(w)
						var owed []string
						for _, s := range w.stores {
							if o, ok := s.get("b", "k"); !ok || string(o.body) != "new" {
								owed = append(owed, s.name)
							}
						}
						if seq := uint64(time.Now().UnixNano()); c.want != "" {
							w.q.push(flat{Seq: seq, Settled: seq, Method: "PUT", Bucket: "b", Key: "k", ETag: md5Hex([]byte("new")), Target: "/b/k", Owed: owed})
						}
					})
					return false
				}))
				w.once()
				w.mustResolve()
				got := w.mustEqual("k")
				if (got == nil) != (c.want == "") || got != nil && string(got.body) != c.want {
					t.Errorf("got %v, want %q", got, c.want)
				}
			})
		}
	}
}

// lateFence lets a client write before it is first begun.
type lateFence struct {
	*fence
	write func()
}

func (f *lateFence) Begin(bucket, key string) bool {
	if write := f.write; write != nil {
		f.write = nil
		f.fence.write(bucket, key, write)
	}
	return f.fence.Begin(bucket, key)
}

// A task may wait for a worker while clients write its key: what the journal told
// of it before is not what counts.
func TestTaskIsReadAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.stores[0].put("b", "k", "older", time.Hour)
	old := w.stores[1].put("b", "k", "old", time.Minute)
	w.wrote("k", old.etag, 0)
	w.q.tasks[0].Settled = 0
	w.o.Fence = &lateFence{newFence(), func() {
		// It fails at the second store.
		seq, o := uint64(time.Now().UnixNano()), w.stores[0].put("b", "k", "new", 0)
		w.q.push(flat{Seq: seq, Method: "PUT", Bucket: "b", Key: "k", ETag: o.etag, Target: "/b/k", Owed: []string{w.stores[1].name}})
	}}
	w.once()
	w.mustResolve()
	if o := w.mustEqual("k"); string(o.body) != "new" {
		t.Errorf("got %q: an acknowledged write is lost", o.body)
	}
}

// A target may answer before it has read the body, and so end the copy in the midst
// of it.
func TestTargetAnswersEarly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.o.Fence, w.o.Concurrency, w.o.OnResolved = newFence(), 8, nil
	for i := range 40 {
		key := fmt.Sprint("k", i)
		w.wrote(key, w.stores[0].put("b", key, strings.Repeat("x", smallObject+1+i*1000), time.Minute).etag, 1)
	}
	w.stores[1].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method == "PUT" {
			refuse(rw, 403, "AccessDenied")
			return true
		}
		return false
	})
	if sum := w.once(); sum.Failed+sum.Left != 40 {
		t.Errorf("%+v", sum)
	}
	w.stores[1].setHook(nil)
	w.mustResolve()
	w.mustEqual("k39")
}

func TestDeletedObjectIsMadeAgainMeanwhile(t *testing.T) {
	t.Parallel()
	for _, conditions := range []bool{true, false} {
		w := newWorld(t, 2)
		w.stores[1].quirks.refuseDeleteIf = !conditions
		fence := newFence()
		w.o.Fence = fence
		w.stores[1].put("b", "k", "old", time.Hour)
		w.deleted("k", 1)
		w.stores[1].setHook(once("DELETE /b/k", func(http.ResponseWriter, *http.Request) bool {
			fence.write("b", "k", func() {
				o := w.stores[0].put("b", "k", "new", 0)
				w.stores[1].put("b", "k", "new", 0)
				seq := uint64(time.Now().UnixNano())
				w.q.push(flat{Seq: seq, Settled: seq, Method: "PUT", Bucket: "b", Key: "k", ETag: o.etag, Target: "/b/k"})
			})
			return false
		}))
		w.once()
		w.mustResolve()
		if o := w.mustEqual("k"); o == nil || string(o.body) != "new" {
			t.Errorf("conditions %t: got %v", conditions, o)
		}
	}
}

// A copy that lands late, on a slow storage, after the object has been deleted, is
// no object that was made anew.
func TestCopyLandsLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	fence := newFence()
	w.o.Fence = fence
	w.wrote("k", w.stores[0].put("b", "k", "x", time.Hour).etag, 1)
	w.stores[1].setHook(once("PUT /b/k", func(http.ResponseWriter, *http.Request) bool {
		// What follows took a minute.
		fence.write("b", "k", func() {
			w.stores[0].remove("b", "k")
			w.did("DELETE", "k", "", "", 1)
			w.q.tasks[0].Seq += 1
		})
		return false
	}))
	r := w.repairer()
	for range 2 {
		mustRun(t, r)
	}
	if o := w.mustEqual("k"); o != nil || len(w.q.left()) > 0 {
		t.Errorf("it is back: %v, %+v", o, w.q.left())
	}
}

func TestClientIsWriting(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	fence := newFence()
	w.o.Fence = fence
	w.wrote("k", w.stores[0].put("b", "k", "x", time.Minute).etag, 1)
	fence.write("b", "k", func() {
		if sum := w.once(); sum.Left != 1 || sum.Failed > 0 || len(w.stores[0].log)+len(w.stores[1].log) > 0 {
			t.Errorf("%+v", sum)
		}
	})
	w.mustResolve()
	if fence.refused < 2 || len(fence.looked) > 0 {
		t.Errorf("%+v", fence)
	}
}

func TestNewerWriteKeepsTask(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.wrote("k", w.stores[0].put("b", "k", "x", time.Minute).etag, 1)
	w.stores[1].setHook(once("PUT", func(http.ResponseWriter, *http.Request) bool {
		seq := uint64(time.Now().UnixNano())
		w.q.push(flat{Seq: seq, Method: "DELETE", Bucket: "b", Key: "k", Target: "/b/k", Owed: []string{w.stores[1].name}})
		return false
	}))
	if sum := w.once(); sum.Resolved > 0 || len(w.q.left()) != 1 {
		t.Errorf("%+v", sum)
	}
}

func TestMaintainedBackendGetsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.o.Maintained = func(name string) bool { return name == w.stores[2].name }
	w.wrote("k", w.stores[0].put("b", "k", "x", time.Minute).etag, 1, 2)
	w.wrote("only", w.stores[0].put("b", "only", "x", time.Minute).etag, 2)
	sum := w.once()
	if sum.Left != 2 || sum.Copied != 1 || w.stores[2].requests("") > 0 {
		t.Errorf("%+v, %q", sum, w.stores[2].log)
	}
	if n := w.stores[0].requests("/b/only"); n > 0 {
		t.Errorf("%d requests about a key that nothing can be done for", n)
	}
}

// A kill in the middle of a large object leaves an upload behind; whoever comes
// next ends it.
func TestUploadOfAKilledProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	o := w.stores[0].putParts("b", "big", strings.Repeat("a", 5<<20), "b")
	w.wrote("big", o.etag, 1)
	ctx, kill := context.WithCancel(t.Context())
	w.stores[1].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
		switch {
		case strings.Contains(r.RequestURI, "partNumber=2"):
			io.Copy(io.Discard, r.Body)
			kill()
			<-r.Context().Done()
			return true
		case r.Method == "DELETE" && ctx.Err() != nil: // the dead do not abort
			cut(rw)
			return true
		}
		return false
	})
	if _, err := w.repairer().RunOnce(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if left := w.q.left(); len(w.stores[1].uploads) != 1 || !strings.HasPrefix(left[0].LastError, uploadPrefix) || left[0].Tries > 0 {
		t.Fatalf("%v, %+v", w.stores[1].uploads, left)
	}
	w.stores[1].setHook(nil)
	w.mustResolve()
	w.mustEqual("big")
	if len(w.stores[1].uploads) > 0 {
		t.Errorf("left: %v", w.stores[1].uploads)
	}
}

func TestFailedUploadIsAborted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	o := w.stores[0].putParts("b", "big", strings.Repeat("a", 5<<20), "b")
	w.wrote("big", o.etag, 1)
	w.stores[1].setHook(once("partNumber=2", func(rw http.ResponseWriter, _ *http.Request) bool {
		refuse(rw, 500, "InternalError")
		return true
	}))
	if sum := w.once(); sum.Failed != 1 || len(w.stores[1].uploads) > 0 {
		t.Fatalf("%+v, %v", sum, w.stores[1].uploads)
	}
	w.mustResolve()
	w.mustEqual("big")
}

func TestJournalFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.q.err = errors.New("the disk is gone")
	if _, err := w.repairer().RunOnce(t.Context()); err == nil || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("got %v", err)
	}
}

// Close breaks off what is under way, and waits for it.
func TestClose(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.wrote("k", w.stores[0].put("b", "k", "x", time.Minute).etag, 1)
	held := make(chan struct{})
	w.stores[1].setHook(once("PUT", func(_ http.ResponseWriter, r *http.Request) bool {
		io.Copy(io.Discard, r.Body)
		close(held)
		<-r.Context().Done()
		return true
	}))
	r := w.follow()
	testkit.Receive(t, "who is held back", held)
	if s := r.Status(); s.InFlight != 1 {
		t.Errorf("%+v", s)
	}
	r.Close()
	if s := r.Status(); s.InFlight != 0 || s.Running {
		t.Errorf("%+v", s)
	}
	if left := w.q.left(); len(left) != 1 || left[0].Tries != 0 {
		t.Errorf("%+v", left)
	}
	if _, err := r.RunOnce(t.Context()); err != nil { // it can be used again
		t.Error(err)
	}
	if left := w.q.left(); len(left) > 0 {
		t.Errorf("%+v", left)
	}
}

func TestRateLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.o.ObjectsPerSecond, w.o.Concurrency, w.o.OnResolved = 100, 4, nil
	w.o.Backends[1].BytesPerSecond = 1 << 20
	for i := range 10 {
		key := fmt.Sprint("k", i)
		w.wrote(key, w.stores[0].put("b", key, strings.Repeat("x", 10<<10), time.Minute).etag, 1)
	}
	begun := time.Now()
	w.mustResolve()
	// Bursts go free: an object, and meterStep bytes.
	if took, least := time.Since(begun), 90*time.Millisecond; took < least {
		t.Errorf("it took %s, which is less than %s", took, least)
	}
}

func TestRefusesNonsense(t *testing.T) {
	t.Parallel()
	a, b := Backend{Name: "a", URL: "http://a"}, Backend{Name: "b", URL: "http://b"}
	for want, o := range map[string]Options{
		"two backends":   {Backends: []Backend{a}, Journal: newQueue()},
		"a journal":      {Backends: []Backend{a, b}},
		"twice":          {Backends: []Backend{a, a}, Journal: newQueue()},
		"http://host":    {Backends: []Backend{a, {Name: "b", URL: "b:9000"}}, Journal: newQueue()},
		`backend "ftp"`:  {Backends: []Backend{a, {Name: "ftp", URL: "ftp://b"}}, Journal: newQueue()},
		"64 backends":    {Backends: make([]Backend, 65), Journal: newQueue()},
		"its URL has to": {Backends: []Backend{a, {Name: "b", URL: "http://"}}, Journal: newQueue()},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

func TestCredentialsStaySecret(t *testing.T) {
	t.Parallel()
	c := Credentials{AccessKey: "AK", SecretKey: "hush", SessionToken: "token", Region: "eu-1"}
	b := Backend{Name: "a", Credentials: c}
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%+v", b), fmt.Sprintf("%#v", b), c.String()} {
		if strings.Contains(text, "hush") || strings.Contains(text, "token") {
			t.Errorf("got %s", text)
		}
	}
}

// R35: a backend that has nothing of an object in parts, as a storage of directories under a name that ends in "/", is
// told of, if it does not tell its parts either.
func TestR35NothingInParts(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"k", "k/"} {
		w := newWorld(t, 2)
		a := w.stores[0]
		w.o.MaxTries = 1
		a.quirks.noPartNumber = true
		o := a.putParts("b", key, "one", "two")
		o.body = nil
		w.wrote(key, o.etag, 1)
		w.once()
		if left := w.q.left(); len(left) != 1 || left[0].Parked == "" {
			t.Errorf("%q: %+v", key, left)
		}
	}
}

// R35: where a backend does not tell how long an object is, nothing of it is sent over and over.
func TestR35ObjectWithoutLength(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	a, b := w.stores[0], w.stores[1]
	w.o.MaxTries = 1
	a.setHook(func(rw http.ResponseWriter, r *http.Request) bool {
		o, there := a.get("b", strings.TrimPrefix(r.URL.Path, "/b/"))
		if r.Method != "HEAD" || !there {
			return false
		}
		rw.Header().Set("ETag", `"`+o.etag+`"`)
		rw.WriteHeader(200)
		return true
	})
	w.wrote("parts", a.putParts("b", "parts", "one", "two").etag, 1)
	w.wrote("k", a.put("b", "k", "x", time.Minute).etag, 1)
	w.mustPark("parts", task.Failed)
	w.mustPark("k", task.Failed)
	if n := b.requests("PUT") + b.requests("POST"); n > 0 {
		t.Errorf("it was sent: %q", b.log)
	}
}
