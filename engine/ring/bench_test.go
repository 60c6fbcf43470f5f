package ring

import (
	"fmt"
	"sync"
	"testing"
)

// BenchmarkStream has one writer and readers that take everything at once. It includes the copy
// into the ring, which a handler avoids by reading from its connection into the reserved room.
func BenchmarkStream(b *testing.B) {
	for _, readers := range []int{1, 2, 3} {
		for _, piece := range []int{4 << 10, 16 << 10, 64 << 10, 256 << 10} {
			b.Run(fmt.Sprintf("readers=%d/piece=%dKiB", readers, piece>>10), func(b *testing.B) {
				benchmarkStream(b, readers, make([]byte, piece))
			})
		}
	}
}

func benchmarkStream(b *testing.B, readers int, piece []byte) {
	r := Get(Options{Size: 256 << 10, Readers: readers})
	var wg sync.WaitGroup
	for i := range readers {
		wg.Go(func() {
			defer r.Detach(i)
			for {
				p, err := r.Next(i)
				if err != nil {
					return
				}
				r.Advance(i, len(p))
			}
		})
	}
	b.SetBytes(int64(len(piece)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Write(piece); err != nil {
			b.Fatal(err)
		}
	}
	r.Close()
	wg.Wait()
	b.ReportMetric(r.Waited().Seconds()/b.Elapsed().Seconds()*100, "%waited")
	r.Put()
}

// BenchmarkSmall carries a small object: it is complete before the first reader starts, so nobody
// waits.
func BenchmarkSmall(b *testing.B) {
	body := make([]byte, 4<<10)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		carrySmall(b, body)
	}
}

func BenchmarkSmallParallel(b *testing.B) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		body := make([]byte, 4<<10)
		for pb.Next() {
			carrySmall(b, body)
		}
	})
}

func carrySmall(tb testing.TB, body []byte) {
	r := Get(Options{Size: SizeFor(int64(len(body)), 256<<10), Readers: 2})
	if _, err := r.Write(body); err != nil {
		tb.Fatal(err)
	}
	r.Close()
	if p, ok := r.Message(); !ok || len(p) != len(body) {
		tb.Fatalf("%d bytes, %v", len(p), ok)
	}
	r.Put()
}
