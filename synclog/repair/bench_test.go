package repair

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/synclog/task"
)

// BenchmarkRepair copies objects of 4 KiB from one stub storage to another one; all
// of them share this machine.
func BenchmarkRepair(b *testing.B) {
	for _, workers := range []int{4, 16, 0} {
		b.Run(fmt.Sprint("workers=", workers), func(b *testing.B) {
			from, to := stub.New(b, stub.KeepRequests(0)), stub.New(b, stub.KeepRequests(0))
			body := make([]byte, 4<<10)
			q := newQueue()
			q.names = []string{from.Addr(), to.Addr()}
			seq := uint64(time.Now().Add(-time.Hour).UnixNano())
			for i := range b.N {
				path := fmt.Sprintf("/b/%08d", i)
				from.Put(path, body)
				o, _ := from.Object(path)
				q.tasks = append(q.tasks, &flat{
					Seq: seq + uint64(i), First: seq + uint64(i), Settled: seq, Method: "PUT", Bucket: "b", Key: path[3:],
					ETag: o.ETag, Target: path, Owed: []string{to.Addr()},
				})
			}
			r, err := New(Options{
				Journal: &benchQueue{queue: q}, Concurrency: workers,
				Backends: []Backend{
					{Name: from.Addr(), URL: from.URL(), Credentials: Credentials{AccessKey: "a", SecretKey: "s"}},
					{Name: to.Addr(), URL: to.URL(), Credentials: Credentials{AccessKey: "a", SecretKey: "s"}},
				},
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			sum, err := r.RunOnce(b.Context())
			b.StopTimer()
			if err != nil || sum.Resolved != b.N {
				b.Fatalf("%+v, %v", sum, err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "objects/s")
		})
	}
}

// benchQueue finds a task by its number.
type benchQueue struct {
	*queue
	mu       sync.Mutex
	resolved int
}

func (q *benchQueue) Resolve(*task.Task) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.resolved++
	return true, nil
}

// endless is a journal of n tasks that takes no memory.
type endless struct {
	n     uint64
	owed  []string
	names []string
	peak  func()
}

func (e *endless) Next(cursor uint64) (task.Task, uint64, bool, error) {
	if cursor >= e.n {
		return task.Task{}, 0, false, nil
	}
	if cursor%10000 == 0 {
		e.peak()
	}
	seq := uint64(1e18) + cursor
	key := fmt.Sprintf("%08d", cursor)
	f := flat{Seq: seq, First: seq, Settled: seq, Method: "DELETE", Bucket: "b", Key: key, Target: "/b/" + key, Owed: e.owed}
	return f.task(e.names...), cursor + 1, true, nil
}
func (e *endless) Resolve(*task.Task) (bool, error) { return true, nil }
func (e *endless) Note(*task.Task) (bool, error)    { return true, nil }
func (e *endless) Add(*task.Task) error             { return nil }

// TestMemoryIsBounded: nothing is kept of a task that is done, or waits.
func TestMemoryIsBounded(t *testing.T) {
	a, b := stub.New(t, stub.KeepRequests(0)), stub.New(t, stub.KeepRequests(0))
	const most = 8 << 20
	var base, peak uint64
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	base = heap()
	for _, c := range []struct {
		name string
		n    uint64
		out  bool
	}{{"a million that wait", 1e6, true}, {"20,000 that are done", 20000, false}} {
		// What is kept is there each time that one looks; what the workers have allocated between a
		// collection and the look behind it is not.
		measure := func() {
			least := heap()
			for n := 0; n < 4 && least > base+most; n++ {
				least = min(least, heap())
			}
			peak = max(peak, least)
		}
		journal := &endless{n: c.n, owed: []string{b.Addr()}, names: []string{a.Addr(), b.Addr()}, peak: measure}
		r, err := New(Options{
			Journal: journal, Maintained: func(name string) bool { return c.out && name == b.Addr() },
			Concurrency: 4, // or there would be as many connections as the machine's speed suggests
			Backends:    []Backend{{Name: a.Addr(), URL: a.URL()}, {Name: b.Addr(), URL: b.URL()}},
		})
		if err != nil {
			t.Fatal(err)
		}
		sum, err := r.RunOnce(t.Context())
		if err != nil || sum.Seen != int(c.n) || c.out && sum.Left != int(c.n) || !c.out && sum.Resolved != int(c.n) {
			t.Fatalf("%s: %+v, %v", c.name, sum, err)
		}
		if grown := int64(peak) - int64(base); grown > most {
			t.Errorf("%s: %d bytes more", c.name, grown)
		}
	}
}
