package ring

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// TestStress carries random streams through random rings to readers of random speed, which leave,
// rewind, are cut or are canceled at random. A reader that is told its stream is complete has read
// every byte of it; any other has a reason. It is meant for the race detector: the ring's memory is
// read and written outside the lock, so any overlap is a data race.
func TestStress(t *testing.T) {
	rounds := 600
	if testing.Short() {
		rounds = 150
	}
	var all tally
	for range rounds {
		seed := rand.Uint64()
		stressRound(t, seed, &all)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("readers: %d whole, %d left, %d cut, %d canceled; %d rewound",
		all.whole.Load(), all.left.Load(), all.cut.Load(), all.canceled.Load(), all.rewound.Load())
	if all.whole.Load() == 0 || all.left.Load() == 0 || all.canceled.Load() == 0 || all.rewound.Load() == 0 {
		t.Error("not everything was tried")
	}
}

// tally counts how readers ended, to show what the test has tried.
type tally struct{ whole, left, cut, canceled, rewound atomic.Int64 }

// plan is what one round does. The seed determines it completely, but not the order in which
// goroutines run.
type plan struct {
	stream   []byte
	size     int
	readers  int
	cancelAt int // the stream's byte at which it is canceled, or -1
	timeout  time.Duration
	leaving  bool // readers leave at random
}

func newPlan(rng *rand.Rand) plan {
	sizes := []int{1, 2, 3, 7, 64, oddSize, 4096, 4096, 8192, 16 << 10}
	p := plan{
		stream:   randomBytes(rng.IntN(48 << 10)),
		size:     sizes[rng.IntN(len(sizes))],
		readers:  1 + rng.IntN(5),
		cancelAt: -1,
		leaving:  rng.IntN(2) == 0,
	}
	if p.size < 100 { // each byte is a goroutine switch there
		p.stream = p.stream[:len(p.stream)/16]
	}
	if rng.IntN(4) == 0 {
		p.cancelAt = rng.IntN(len(p.stream) + 1)
	}
	if rng.IntN(2) == 0 {
		p.timeout = time.Duration(1 + rng.IntN(int(200*time.Microsecond)))
	}
	return p
}

func stressRound(t *testing.T, seed uint64, all *tally) {
	rng := rand.New(rand.NewPCG(seed, 0))
	p := newPlan(rng)
	wasCut := make([]atomic.Bool, p.readers)
	r := Get(Options{Size: p.size, Readers: p.readers, StallTimeout: p.timeout, OnCut: func(i int) {
		if wasCut[i].Swap(true) {
			t.Errorf("reader %d cut twice", i)
		}
	}})
	var wg sync.WaitGroup
	var left atomic.Int64
	ends := make([]error, p.readers)
	for i := range p.readers {
		rng := rand.New(rand.NewPCG(seed, uint64(i+1)))
		wg.Go(func() {
			ends[i] = stressRead(t, r, i, p, rng, &all.rewound)
			left.Add(1)
			r.Detach(i)
		})
	}
	cancel := make(chan struct{})
	wg.Go(func() {
		if <-cancel; p.cancelAt >= 0 {
			r.Cancel()
		}
	})
	err := stressWrite(r, p, rng, cancel)
	switch {
	case err == nil:
		r.Close()
	case errors.Is(err, ErrNoReaders):
		if n := left.Load(); n != int64(p.readers) {
			t.Errorf("no readers, but %d of %d have left", n, p.readers)
		}
	case !errors.Is(err, ErrCanceled) || p.cancelAt < 0:
		t.Errorf("Write: %v", err)
	}
	testkit.Finish(t, "the readers end", wg.Wait)
	cuts := 0
	for i, end := range ends {
		switch {
		case end == nil:
			all.left.Add(1)
		case errors.Is(end, io.EOF) && err == nil:
			all.whole.Add(1)
		case errors.Is(end, ErrCanceled) && p.cancelAt >= 0:
			all.canceled.Add(1)
		case errors.Is(end, ErrCut) && wasCut[i].Load():
			all.cut.Add(1)
			cuts++
		default:
			t.Errorf("reader %d: %v; writer: %v", i, end, err)
		}
	}
	if cuts == p.readers {
		t.Error("the last reader was cut")
	}
	r.Put()
}

// stressWrite writes the stream in pieces of random size, using both ways of writing. It closes
// cancel at the plan's position, or at the end.
func stressWrite(r *Ring, p plan, rng *rand.Rand, cancel chan struct{}) error {
	var once sync.Once
	tell := func() { once.Do(func() { close(cancel) }) }
	defer tell()
	for done := 0; done < len(p.stream); {
		if p.cancelAt >= 0 && done >= p.cancelAt {
			tell()
		}
		piece := p.stream[done:min(len(p.stream), done+1+rng.IntN(2*p.size))]
		if rng.IntN(2) == 0 {
			n, err := r.Write(piece)
			if done += n; err != nil {
				return err
			}
		} else {
			room, err := r.Reserve()
			if err != nil {
				return err
			}
			clear(room) // all of it is the writer's, however much it then publishes
			n := copy(room, piece)
			r.Publish(n)
			done += n
		}
		dawdle(rng, 3)
	}
	return nil
}

// stressRead compares what reader i gets with the stream. It returns how its stream ended, or nil
// if the reader left by itself.
func stressRead(t *testing.T, r *Ring, i int, p plan, rng *rand.Rand, rewound *atomic.Int64) error {
	leaveAt := -1
	if p.leaving && rng.IntN(3) == 0 {
		leaveAt = rng.IntN(len(p.stream) + 1)
	}
	speed, rewinds := rng.IntN(40), rng.IntN(4)
	for pos := 0; ; {
		if leaveAt >= 0 && pos >= leaveAt {
			return nil
		}
		if rewinds > 0 && rng.IntN(10) == 0 {
			if rewinds--; r.Rewind(i) {
				pos = 0
				rewound.Add(1)
			}
		}
		got, err := r.Next(i)
		if err != nil {
			if err == io.EOF && pos != len(p.stream) {
				t.Errorf("reader %d: the end after %d of %d bytes", i, pos, len(p.stream))
			}
			return err
		}
		dawdle(rng, speed)
		if pos+len(got) > len(p.stream) || !bytes.Equal(got, p.stream[pos:pos+len(got)]) {
			t.Errorf("reader %d: wrong bytes between %d and %d", i, pos, pos+len(got))
			return nil
		}
		n := 1 + rng.IntN(len(got))
		if rng.IntN(2) == 0 {
			n = len(got)
		}
		r.Advance(i, n)
		pos += n
	}
}

func dawdle(rng *rand.Rand, upTo int) {
	for range rng.IntN(upTo + 1) {
		runtime.Gosched()
	}
}
