package repair

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/task"
)

// R30: a key that a client waits for is taken before all others.
func TestR30WantedKeyIsFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	var mu sync.Mutex
	var order []string
	w.o.OnResolved = func(task task.Task, _ string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, task.Key)
	}
	w.o.Fence = newFence()
	for i := range 50 {
		key := fmt.Sprint(i)
		w.wrote(key, w.stores[0].put("b", key, "body", time.Minute).etag, 1)
	}
	entered, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.stores[1].mu.Lock()
	w.stores[1].hook = func(http.ResponseWriter, *http.Request) bool {
		once.Do(func() { close(entered); <-goOn })
		return false
	}
	w.stores[1].mu.Unlock()
	r := w.follow()
	testkit.Receive(t, "who enters", entered) // the first is being worked on, and the second is on its way
	r.Prefer("b", "nothing")
	r.Prefer("b", "40")
	r.Prefer("b", "40")
	close(goOn)
	w.await("all are repaired", func() bool { return len(w.q.left()) == 0 })
	mu.Lock()
	defer mu.Unlock()
	if at := slices.Index(order, "40"); at < 0 || at > 2 {
		t.Errorf("the key that was waited for came as number %d: %q", at, order)
	}
	if len(order) != 50 {
		t.Errorf("%d were resolved", len(order))
	}
}

// A client that asks again and again does not use up the tries of what fails.
func TestR30WantedKeyKeepsItsPause(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	task := w.wrote("k", w.stores[0].put("b", "k", "body", time.Minute).etag, 1)
	w.wrote("l", w.stores[0].put("b", "l", "body", time.Minute).etag, 1)
	task.NotBefore = time.Now().Add(time.Hour)
	w.q.push(task)
	r := w.follow()
	for range 10 * maxWanted {
		r.Prefer("b", "k")
		r.Prefer("b", fmt.Sprint(time.Now()))
	}
	w.await("the other one is repaired", func() bool { return len(w.q.left()) == 1 })
	r.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.wanted) > maxWanted {
		t.Errorf("%d keys are waited for", len(r.wanted))
	}
	if _, there := w.stores[1].get("b", "k"); there {
		t.Error("it was tried before its time")
	}
}

// lookQueue counts how many tasks were looked at.
type lookQueue struct {
	*queue
	looks atomic.Int64
}

func (q *lookQueue) Next(cursor uint64) (task.Task, uint64, bool, error) {
	q.looks.Add(1)
	return q.queue.Next(cursor)
}

// Clients that ask for a key over and over do not have the journal read over and over.
func TestR30WantedKeyCostsNoPass(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	const resting = 100
	for i := range resting {
		task := w.wrote(fmt.Sprint(i), w.stores[0].put("b", fmt.Sprint(i), "body", time.Minute).etag, 1)
		task.NotBefore = time.Now().Add(time.Hour)
		w.q.push(task)
	}
	q := &lookQueue{queue: w.q}
	w.o.Journal, w.o.IdleInterval = q, time.Hour
	r := w.follow()
	w.await("it rests", func() bool { return q.looks.Load() > resting })
	w.wrote("k", w.stores[0].put("b", "k", "body", time.Minute).etag, 1)
	for range 50 {
		r.Prefer("b", "1")
		r.Prefer("b", "k")
		time.Sleep(time.Millisecond) // so that each of them could cost a pass; without it some become one
	}
	w.await("the key that was asked for is repaired", func() bool { return len(w.q.left()) == resting })
	if n := q.looks.Load(); n > 3*resting {
		t.Errorf("%d tasks were looked at", n)
	}
}

// R16: what is resolved has the size of the object, whatever was known of it before.
func TestR16SizeOfWhatIsResolved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	sizes := map[string]int64{}
	w.o.OnResolved = func(task task.Task, _ string) { sizes[task.Key] = task.Newest().Size }
	with := func(key string, size int64, owed ...int) {
		task := w.wrote(key, "", owed...)
		task.Size = size
		w.q.push(task)
	}
	w.stores[0].put("b", "parts", "twelve bytes", time.Minute)
	with("parts", 321, 1)
	for _, s := range w.stores {
		s.put("b", "copy", "six b.", time.Minute)
	}
	with("copy", 0, 1)
	w.stores[1].put("b", "gone", "something", time.Hour)
	w.deleted("gone", 1)
	w.mustResolve()
	if want := (map[string]int64{"parts": 12, "copy": 6, "gone": 0}); fmt.Sprint(sizes) != fmt.Sprint(want) {
		t.Errorf("sizes are %v, want %v", sizes, want)
	}
}
