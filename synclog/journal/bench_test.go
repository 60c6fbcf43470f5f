package journal

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"
)

func benchJournal(b *testing.B, o Options) *Journal {
	o.Dir, o.Backends = b.TempDir(), []string{"127.0.0.1:9001", "127.0.0.1:9002"}
	o.OnError = func(err error) { b.Error(err) }
	j, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	return j
}

// BenchmarkPut is what one PUT costs: an intent, and its settlement.
func BenchmarkPut(b *testing.B) {
	j := benchJournal(b, Options{})
	defer j.Close()
	e := opened(put("a/key/of/usual/length/0123456789", 2))
	b.ReportAllocs()
	for b.Loop() {
		es := [1]Entry{e}
		if err := j.Promise(es[:]); err != nil {
			b.Fatal(err)
		}
		j.settleOpen(&Entry{Seq: es[0].Seq})
	}
	s := j.Stats()
	b.ReportMetric(float64(s.Batches)/float64(b.N), "writes/op")
}

// BenchmarkIntend is the same where the intent is kept elsewhere meanwhile.
func BenchmarkIntend(b *testing.B) {
	j := benchJournal(b, Options{})
	defer j.Close()
	e := opened(put("a/key/of/usual/length/0123456789", 2))
	b.ReportAllocs()
	for b.Loop() {
		one := e
		if err := j.intend(&one); err != nil {
			b.Fatal(err)
		}
		j.settleOpen(&Entry{Seq: one.Seq})
	}
	s := j.Stats()
	b.ReportMetric(float64(s.Batches)/float64(b.N), "writes/op")
}

func BenchmarkPutParallel(b *testing.B) {
	for _, power := range []bool{false, true} {
		b.Run(fmt.Sprintf("power=%v", power), func(b *testing.B) {
			j := benchJournal(b, Options{Power: power})
			defer j.Close()
			b.SetParallelism(100)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				e := opened(put("a/key/of/usual/length/0123456789", 2))
				for pb.Next() {
					es := [1]Entry{e}
					if err := j.Promise(es[:]); err != nil {
						b.Fatal(err)
					}
					j.settleOpen(&Entry{Seq: es[0].Seq})
				}
			})
			s := j.Stats()
			b.ReportMetric(float64(s.Batches)/float64(b.N), "writes/op")
		})
	}
}

// BenchmarkOwed is a write that a backend which is down is owed, to a new key each
// time.
func BenchmarkOwed(b *testing.B) {
	j := benchJournal(b, Options{})
	defer j.Close()
	e := put("", 2)
	key := []byte("a/key/of/usual/length/")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e.Key = strconv.AppendInt(key, int64(i), 10)
		es := [1]Entry{e}
		if err := j.Promise(es[:]); err != nil {
			b.Fatal(err)
		}
	}
}

// fill makes n keys pending.
func fill(b testing.TB, j *Journal, n int) {
	es := make([]Entry, 0, 100)
	for i := range n {
		key := fmt.Sprintf("a/key/of/usual/length/%010d", i)
		es = append(es, put(key, 2))
		if len(es) == cap(es) || i == n-1 {
			if err := j.Promise(es); err != nil {
				b.Fatal(err)
			}
			es = es[:0]
		}
	}
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

const million = 1_000_000

// BenchmarkOpenMillion is a start with a million pending keys.
func BenchmarkOpenMillion(b *testing.B) {
	j := benchJournal(b, Options{})
	fill(b, j, million)
	o := j.o
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	j = nil
	before := heap()
	b.ReportAllocs()
	for b.Loop() {
		j, err := Open(o)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if s := j.Stats(); s.Pending != million {
			b.Fatalf("%+v", s)
		}
		b.ReportMetric((heap()-before)/million, "B/key")
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkMillionPending is a PUT while a million keys are pending; the metric is
// the memory that one of them takes.
func BenchmarkMillionPending(b *testing.B) {
	before := heap()
	j := benchJournal(b, Options{})
	defer j.Close()
	fill(b, j, million)
	after := heap()
	e := opened(put("a/key/of/usual/length/0123456789", 2))
	for b.Loop() {
		es := [1]Entry{e}
		if err := j.Promise(es[:]); err != nil {
			b.Fatal(err)
		}
		j.settleOpen(&Entry{Seq: es[0].Seq})
	}
	b.ReportMetric((after-before)/million, "B/key")
}

// BenchmarkRepair is Next and Resolve of one key.
func BenchmarkRepair(b *testing.B) {
	j := benchJournal(b, Options{})
	defer j.Close()
	fill(b, j, 200_000)
	cursor, n := uint64(0), 0
	b.ReportAllocs()
	for b.Loop() {
		p, next, ok := j.Next(cursor)
		if !ok || !j.Resolve(&p) {
			b.StopTimer()
			fill(b, j, 200_000)
			cursor = 0
			b.StartTimer()
			continue
		}
		cursor = next
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "keys/s")
}
