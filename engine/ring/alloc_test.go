//go:build !race

package ring

import (
	"sync"
	"testing"
	"time"
)

// The race detector makes sync.Pool drop items at random, hence the build tag.

func TestSmallMessageDoesNotAllocate(t *testing.T) {
	body := make([]byte, 4<<10)
	if n := testing.AllocsPerRun(1000, func() { carrySmall(t, body) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A message is carried from Get to Put, with readers that read it.
func TestMessageWithReadersDoesNotAllocate(t *testing.T) {
	body := make([]byte, 100<<10)
	options := Options{Size: 32 << 10, Readers: 2, StallTimeout: time.Hour, OnCut: func(int) {}}
	n := testing.AllocsPerRun(1000, func() {
		r := Get(options)
		for sent := 0; sent < len(body); {
			n, err := r.Write(body[sent:min(len(body), sent+16<<10)])
			if err != nil {
				t.Fatal(err)
			}
			sent += n
			for i := range 2 {
				p, err := r.Next(i)
				if err != nil {
					t.Fatal(err)
				}
				r.Advance(i, len(p))
			}
		}
		r.Close()
		r.Detach(0)
		r.Detach(1)
		r.Put()
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Writer and readers wait for one another all the time.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	piece := make([]byte, 48<<10)
	r := Get(Options{Size: 64 << 10, Readers: 3})
	var wg sync.WaitGroup
	for i := range 3 {
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
	n := testing.AllocsPerRun(1000, func() {
		if _, err := r.Write(piece); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
	r.Close()
	wg.Wait()
	r.Put()
}
