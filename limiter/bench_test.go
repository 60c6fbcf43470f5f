package limiter

import (
	"fmt"
	"testing"
)

// BenchmarkPair is a request to two backends: TryBegin and two Ends.
func BenchmarkPair(b *testing.B) {
	l := New(Options{Backends: []string{"a", "b"}, ConnLimit: 1000})
	var slots [64]int32
	b.ReportAllocs()
	for b.Loop() {
		l.TryBegin(1, 0b11, &slots)
		l.End(0, slots[0])
		l.End(1, slots[1])
	}
}

func BenchmarkPairParallel(b *testing.B) {
	l := New(Options{Backends: []string{"a", "b"}, ConnLimit: 1000})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var slots [64]int32
		for pb.Next() {
			l.TryBegin(1, 0b11, &slots)
			l.End(0, slots[0])
			l.End(1, slots[1])
		}
	})
}

// BenchmarkRequest makes every call that a request to two backends makes.
func BenchmarkRequest(b *testing.B) {
	l := New(Options{Backends: []string{"a", "b"}, ConnLimit: 1000, FailureLimit: 5})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var slots [64]int32
		for pb.Next() {
			l.TryBegin(1, l.Pool(), &slots)
			for i := range 2 {
				l.Progress(i, slots[i], 2)
				l.Answered(i, slots[i], 3)
				l.Succeeded(i)
				l.End(i, slots[i])
			}
		}
	})
}

func BenchmarkProgress(b *testing.B) {
	l := New(Options{Backends: []string{"a"}, ConnLimit: 1000})
	b.RunParallel(func(pb *testing.PB) {
		var slots [64]int32
		l.TryBegin(1, 1, &slots)
		for now := int64(1); pb.Next(); now++ {
			l.Progress(0, slots[0], now)
		}
	})
}

// BenchmarkFull measures a refusal, without a scan of the slots and with one each time.
func BenchmarkFull(b *testing.B) {
	for _, limit := range []int{1000, 10000} {
		for _, step := range []int64{0, scanEvery} {
			b.Run(fmt.Sprintf("limit=%d/look=%v", limit, step != 0), func(b *testing.B) {
				l := New(Options{Backends: []string{"a", "b"}, ConnLimit: limit, StalledAfter: 1 << 62})
				var slots [64]int32
				for range limit / 2 {
					l.TryBegin(1, 0b11, &slots)
				}
				now := int64(1)
				b.ReportAllocs()
				for b.Loop() {
					now += step
					if _, ok := l.TryBegin(now, 0b11, &slots); ok {
						b.Fatal("not full")
					}
				}
			})
		}
	}
}
