package repair

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// queue is a journal in memory.
type queue struct {
	mu    sync.Mutex
	tasks []*flat // by First; nil where resolved
	notes int
	names []string // of the backends
	added []flat
	err   error
}

func newQueue(tasks ...flat) *queue {
	q := &queue{}
	for i := range tasks {
		q.push(tasks[i])
	}
	return q
}

// push adds a task, as the engine would; a newer write to a pending key goes
// into its task.
func (q *queue) push(t flat) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.Seq == 0 {
		t.Seq = uint64(time.Now().UnixNano())
	}
	t.First = cmp.Or(t.First, t.Seq)
	for _, old := range q.tasks {
		if old != nil && old.Bucket == t.Bucket && old.Key == t.Key && (t.Key != "" || old.Target == t.Target) {
			owed := append(slices.Clone(old.Owed), t.Owed...)
			first, settled, doubt := old.First, max(old.Settled, t.Settled), old.Doubt
			if t.Seq >= old.Seq {
				*old = t
			}
			old.First, old.Owed, old.Settled, old.Doubt = first, owed, settled, old.Doubt || doubt
			return
		}
	}
	q.tasks = append(q.tasks, &t)
}

func (q *queue) Next(cursor uint64) (task.Task, uint64, bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return task.Task{}, 0, false, q.err
	}
	for i := int(cursor); i < len(q.tasks); i++ {
		if t := q.tasks[i]; t != nil {
			c := *t
			c.Owed = slices.Clone(t.Owed)
			return c.task(q.names...), uint64(i + 1), true, nil
		}
	}
	return task.Task{}, 0, false, nil
}

// Find makes it a Finder.
func (q *queue) Find(bucket, key string) (task.Task, uint64, bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, t := range q.tasks {
		if t != nil && t.Bucket == bucket && t.Key == key && !strings.Contains(t.Target, "/"+bucket+"?") {
			return t.task(q.names...), uint64(i), true, nil
		}
	}
	return task.Task{}, 0, false, nil
}

func (q *queue) find(t *task.Task) int {
	return slices.IndexFunc(q.tasks, func(o *flat) bool { return o != nil && o.First == t.First && o.Bucket == t.Bucket && o.Key == t.Key })
}

func (q *queue) Resolve(t *task.Task) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := q.find(t)
	if i < 0 || q.tasks[i].Seq != newestSeq(t) {
		return false, nil
	}
	q.tasks[i] = nil
	return true, nil
}

// drop closes a key as a client does that removes its bucket.
func (q *queue) drop(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.tasks {
		if q.tasks[i] != nil && q.tasks[i].Key == key {
			q.tasks[i] = nil
		}
	}
}

func (q *queue) Note(t *task.Task) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.notes++
	i := q.find(t)
	if i < 0 || q.tasks[i].Seq != newestSeq(t) {
		return false, nil
	}
	o := q.tasks[i]
	o.Tries, o.NotBefore, o.Parked, o.LastError = t.Tries, t.NotBefore, t.Parked, t.LastError
	return true, nil
}

func (q *queue) Add(t *task.Task) error {
	q.mu.Lock()
	q.added = append(q.added, flatOf(t))
	q.mu.Unlock()
	q.push(flatOf(t))
	return nil
}

// touch tells of a write that all took: it counts where the key is pending.
func (q *queue) touch(t flat) {
	q.mu.Lock()
	pending := slices.ContainsFunc(q.tasks, func(o *flat) bool { return o != nil && o.Bucket == t.Bucket && o.Key == t.Key })
	q.mu.Unlock()
	if pending {
		q.push(t)
	}
}

// left gives what is pending.
func (q *queue) left() (tasks []flat) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, t := range q.tasks {
		if t != nil {
			tasks = append(tasks, *t)
		}
	}
	return tasks
}

// fence is the proxy's table in memory.
type fence struct {
	mu      sync.Mutex
	writing map[string]int  // clients that are at it
	looked  map[string]bool // repair is at it; true: a client has come meanwhile
	sealed  map[string]chan struct{}
	refused int
}

func newFence() *fence {
	return &fence{writing: map[string]int{}, looked: map[string]bool{}, sealed: map[string]chan struct{}{}}
}

func (f *fence) Begin(bucket, key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.writing[bucket+"/"+key] > 0 {
		f.refused++
		return false
	}
	f.looked[bucket+"/"+key] = false
	return true
}

func (f *fence) End(bucket, key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	came, looked := f.looked[bucket+"/"+key]
	if !looked {
		panic("end without begin")
	}
	delete(f.looked, bucket+"/"+key)
	f.unsealLocked(bucket + "/" + key)
	return !came
}

func (f *fence) Seal(bucket, key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	came, looked := f.looked[bucket+"/"+key]
	if !looked || f.sealed[bucket+"/"+key] != nil {
		panic("sealed without begin, or twice")
	}
	if !came {
		f.sealed[bucket+"/"+key] = make(chan struct{})
	}
	return !came
}

func (f *fence) Unseal(bucket, key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unsealLocked(bucket + "/" + key)
}

func (f *fence) unsealLocked(key string) {
	if c := f.sealed[key]; c != nil {
		close(c)
		delete(f.sealed, key)
	}
}

// write is a client's write, from beginning to end.
func (f *fence) write(bucket, key string, do func()) {
	defer f.begin(bucket, key)()
	do()
}

func (f *fence) begin(bucket, key string) (end func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := bucket + "/" + key
	f.writing[id]++
	if _, looked := f.looked[id]; looked {
		f.looked[id] = true
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.writing[id]--
	}
}

// testLog keeps what was said.
type testLog struct {
	t  testing.TB
	mu sync.Mutex
	n  map[string]int
}

func (l *testLog) Info(msg string, kv ...any) { l.say("info", msg, kv) }
func (l *testLog) Warn(msg string, kv ...any) { l.say("warn", msg, kv) }

func (l *testLog) say(level, msg string, kv []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n == nil {
		l.n = map[string]int{}
	}
	l.n[msg]++
	l.t.Log(append([]any{level, msg}, kv...)...)
}

func (l *testLog) count(msg string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n[msg]
}

func (q *queue) FindSetting(bucket, name string) (task.Task, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, t := range q.tasks {
		if t != nil && t.Bucket == bucket && t.Key == "" && t.Target == "/"+bucket+"?"+name {
			return t.task(q.names...), true
		}
	}
	return task.Task{}, false
}
