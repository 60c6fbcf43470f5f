package limiter

import (
	"sync"
	"testing"
	"testing/synctest"
)

func TestChangedCloses(t *testing.T) {
	r := newRig(t, 2, Options{ConnLimit: 4, FailureLimit: 1})
	s := r.take(0, 0, 1)
	events := []struct {
		name string
		do   func()
	}{
		{"end", func() { r.end(s...) }},
		{"demotion for failures", func() { r.Failed(1, 0) }},
		{"return", func() { r.Return(1) }},
		{"maintenance", func() { r.SetMaintained(1, true) }},
		{"end of maintenance", func() { r.SetMaintained(1, false) }},
	}
	for _, e := range events {
		changed := r.Changed()
		if again := r.Changed(); again != changed {
			t.Fatalf("%s: two channels for one change", e.name)
		}
		select {
		case <-changed:
			t.Fatalf("%s: closed before", e.name)
		default:
		}
		e.do()
		select {
		case <-changed:
		default:
			t.Fatalf("%s: not closed", e.name)
		}
	}
	changed := r.Changed()
	r.Succeeded(0)
	r.SetMaintained(1, false)
	r.Return(1)
	r.end(r.take(0, 0, 0)...)
	select {
	case <-changed:
		t.Fatal("closed by nothing")
	default:
	}
}

// A lost wake-up leaves every goroutine of the bubble blocked, which synctest
// reports.
func TestR13NoLostWakeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{Backends: []string{"a", "b"}, ConnLimit: 4})
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				var slots [64]int32
				for range 200 {
					for {
						changed := l.Changed()
						if _, ok := l.TryBegin(0, 0b11, &slots); ok {
							break
						}
						<-changed
					}
					l.End(0, slots[0])
					l.End(1, slots[1])
				}
			})
		}
		wg.Wait()
		check(t, l)
	})
}
