//go:build !race

package limiter

import "testing"

func TestRequestAllocatesNothing(t *testing.T) {
	l := New(Options{Backends: []string{"a", "b"}, ConnLimit: 100, FailureLimit: 3})
	var slots [64]int32
	now := int64(0)
	if n := testing.AllocsPerRun(1000, func() {
		now++
		if l.Crowded(now, l.Pool()) != 0 {
			t.Fatal("crowded")
		}
		if _, ok := l.TryBegin(now, l.Pool(), &slots); !ok {
			t.Fatal("refused")
		}
		for i := range 2 {
			l.Progress(i, slots[i], now)
			l.Answered(i, slots[i], now)
			l.Succeeded(i)
			if at, ok := l.AnsweredAt(i, slots[i]); ok {
				l.Lagged(i, now, now-at)
			}
			l.End(i, slots[i])
		}
	}); n != 0 {
		t.Fatalf("%v allocations a request, want 0", n)
	}
}
