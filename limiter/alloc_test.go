//go:build !race

package limiter

import "testing"

func TestRequestAllocatesNothing(t *testing.T) {
	l := New(Options{Backends: []string{"a", "b"}, ConnLimit: 100, FailureLimit: 3})
	var slots [64]int32
	now := int64(0)
	if n := testing.AllocsPerRun(1000, func() {
		now++
		if _, ok := l.TryBegin(now, l.Pool(), &slots); !ok {
			t.Fatal("refused")
		}
		for i := range 2 {
			l.Progress(i, slots[i], now)
			l.Answered(i, slots[i], now)
			l.Succeeded(i)
			l.End(i, slots[i])
		}
	}); n != 0 {
		t.Fatalf("%v allocations a request, want 0", n)
	}
}
