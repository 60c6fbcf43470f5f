package ring

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/akubra/akubra/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Rings of odd sizes are not pooled: a ring made in one synctest bubble must not be used in
// another, because of its channel.
const oddSize = 1000

func randomBytes(n int) []byte {
	p := make([]byte, n)
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

func mustWrite(t *testing.T, r *Ring, p []byte) {
	t.Helper()
	if n, err := r.Write(p); n != len(p) || err != nil {
		t.Fatalf("Write of %d bytes: %d, %v", len(p), n, err)
	}
}

// mustTake makes reader i read want and advance past it.
func mustTake(t *testing.T, r *Ring, i int, want []byte) {
	t.Helper()
	for len(want) > 0 {
		p, err := r.Next(i)
		if err != nil {
			t.Fatalf("reader %d: %v with %d bytes to come", i, err, len(want))
		}
		n := min(len(p), len(want))
		if !bytes.Equal(p[:n], want[:n]) {
			t.Fatalf("reader %d: wrong bytes, %d before the end", i, len(want))
		}
		r.Advance(i, n)
		want = want[n:]
	}
}

func mustFail(t *testing.T, r *Ring, i int, want error) {
	t.Helper()
	if p, err := r.Next(i); !errors.Is(err, want) {
		t.Fatalf("reader %d: %d bytes and %v, not %v", i, len(p), err, want)
	}
}

func TestSizeFor(t *testing.T) {
	for _, c := range []struct {
		n     int64
		limit int
		want  int
	}{
		{0, 256 << 10, 4096},
		{1, 256 << 10, 4096},
		{4096, 256 << 10, 4096},
		{4097, 256 << 10, 8192},
		{128 << 10, 256 << 10, 128 << 10},
		{128<<10 + 1, 256 << 10, 256 << 10},
		{256 << 10, 256 << 10, 256 << 10},
		{5 << 40, 256 << 10, 256 << 10},
		{4097, 5000, 5000}, // a limit that is no size class
		{3, 1000, 1000},
	} {
		if got := SizeFor(c.n, c.limit); got != c.want {
			t.Errorf("SizeFor(%d, %d) = %d, not %d", c.n, c.limit, got, c.want)
		}
	}
}

func TestOnlySizeClassesArePooled(t *testing.T) {
	for size, want := range map[int]bool{
		0: false, 1: false, 2048: false, 4095: false, 4096: true, 4097: false,
		256 << 10: true, 256<<10 - 1: false, 64 << 20: true, 128 << 20: false,
	} {
		if got := poolOf(size) != nil; got != want {
			t.Errorf("pool of size %d: %v, not %v", size, got, want)
		}
	}
}

// Whatever state a ring is put back in, its next user finds it like new.
func TestPutForgets(t *testing.T) {
	for range 50 {
		r := Get(Options{Size: 4096, Readers: 2})
		if r.Size() != 4096 || r.Waited() != 0 {
			t.Fatalf("not new: %d bytes, waited %v", r.Size(), r.Waited())
		}
		if _, ok := r.Message(); ok {
			t.Fatal("not new: closed")
		}
		room, err := r.Reserve()
		if err != nil || len(room) != 4096 {
			t.Fatalf("not new: room for %d bytes, %v", len(room), err)
		}
		r.Publish(3)
		mustTake(t, r, 0, room[:3])
		if !r.Rewind(0) || !r.Rewind(1) {
			t.Fatal("not new: cannot rewind")
		}
		r.Detach(1)
		mustWrite(t, r, make([]byte, 4093))
		r.Cancel()
		mustFail(t, r, 0, ErrCanceled)
		r.Close()
		r.Put()
	}
}

func TestReserveGivesWhatIsFreeInOnePiece(t *testing.T) {
	r := Get(Options{Size: oddSize, Readers: 2})
	defer r.Put()
	for step, c := range []struct{ publish, advance0, advance1, want int }{
		{0, 0, 0, 1000},
		{0, 0, 0, 1000},      // Publish(0) changes nothing
		{400, 0, 0, 600},     // to the end of the memory
		{0, 300, 200, 600},   // the consumed room lies beyond the end
		{600, 0, 0, 200},     // up to the slower reader
		{50, 0, 0, 150},      // part of what was reserved
		{0, 700, 800, 950},   // both in the ring's second round
		{750, 800, 800, 200}, // again to the end
	} {
		r.Publish(c.publish)
		r.Advance(0, c.advance0)
		r.Advance(1, c.advance1)
		if room, err := r.Reserve(); err != nil || len(room) != c.want {
			t.Fatalf("step %d: room for %d, %v, not %d", step, len(room), err, c.want)
		}
	}
}

func TestWriteWrapsAndEveryReaderGetsAll(t *testing.T) {
	stream := randomBytes(50_000)
	r := Get(Options{Size: oddSize, Readers: 3})
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			defer r.Detach(i)
			var got []byte
			for {
				p, err := r.Next(i)
				if err != nil {
					if err != io.EOF || !bytes.Equal(got, stream) {
						t.Errorf("reader %d: %v after %d bytes", i, err, len(got))
					}
					return
				}
				got = append(got, p...)
				r.Advance(i, len(p))
			}
		})
	}
	mustWrite(t, r, stream)
	r.Close()
	wg.Wait()
	r.Put()
}

func TestNextWaitsForBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := Get(Options{Size: oddSize, Readers: 1})
		var got []byte
		go func() {
			for {
				p, err := r.Next(0)
				if err != nil {
					return
				}
				got = append(got, p...)
				r.Advance(0, len(p))
			}
		}()
		for _, s := range []string{"a", "bc", "d"} {
			synctest.Wait() // the reader has read everything and waits
			mustWrite(t, r, []byte(s))
			synctest.Wait()
			if !bytes.HasSuffix(got, []byte(s)) {
				t.Fatalf("got %q after %q was written", got, s)
			}
		}
		r.Close()
	})
}

func TestNextGivesTheSameBytesUntilAdvance(t *testing.T) {
	r := Get(Options{Size: oddSize, Readers: 1})
	mustWrite(t, r, []byte("abc"))
	for range 2 {
		if p, err := r.Next(0); string(p) != "abc" || err != nil {
			t.Fatalf("%q, %v", p, err)
		}
	}
	r.Advance(0, 1)
	mustWrite(t, r, []byte("d"))
	mustTake(t, r, 0, []byte("bcd"))
	r.Close()
	mustFail(t, r, 0, io.EOF)
	mustFail(t, r, 0, io.EOF)
}

func TestCloseEndsAnEmptyStream(t *testing.T) {
	r := Get(Options{Size: oddSize, Readers: 1})
	r.Close()
	mustFail(t, r, 0, io.EOF)
	if p, ok := r.Message(); len(p) != 0 || !ok {
		t.Fatalf("%q, %v", p, ok)
	}
}

func TestR6CancelTakesPublishedBytesBack(t *testing.T) {
	r := Get(Options{Size: oddSize, Readers: 2})
	mustWrite(t, r, []byte("half an object"))
	mustTake(t, r, 0, []byte("half"))
	r.Cancel()
	r.Cancel()
	mustFail(t, r, 0, ErrCanceled)
	mustFail(t, r, 1, ErrCanceled)
	if r.Rewind(0) {
		t.Error("rewound after Cancel")
	}
	if n, err := r.Write([]byte(" more")); n != 0 || !errors.Is(err, ErrCanceled) {
		t.Errorf("Write: %d, %v", n, err)
	}
	// A writer that closes anyway does not make the object complete.
	r.Close()
	mustFail(t, r, 1, ErrCanceled)
	if p, ok := r.Message(); ok {
		t.Errorf("Message gives %q after Cancel", p)
	}
}

func TestR6CancelWakesEveryone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := Get(Options{Size: oddSize, Readers: 2, StallTimeout: time.Hour})
		errs := make(chan error, 2)
		go func() { // has read everything and waits for more
			for {
				p, err := r.Next(0)
				if err != nil {
					errs <- err
					return
				}
				r.Advance(0, len(p))
			}
		}()
		go func() { // waits for reader 1
			n, err := r.Write(make([]byte, 3*oddSize))
			if n != oddSize {
				t.Errorf("%d bytes written", n)
			}
			errs <- err
		}()
		synctest.Wait()
		start := time.Now()
		r.Cancel()
		for range 2 {
			if err := <-errs; !errors.Is(err, ErrCanceled) || time.Since(start) != 0 {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		}
	})
}

// A complete message stays complete; only the legs themselves can still be aborted.
func TestCancelAfterCloseIsTooLate(t *testing.T) {
	r := Get(Options{Size: oddSize, Readers: 1})
	mustWrite(t, r, []byte("whole"))
	r.Close()
	r.Cancel()
	mustTake(t, r, 0, []byte("whole"))
	mustFail(t, r, 0, io.EOF)
}

func TestDetach(t *testing.T) {
	r := Get(Options{Size: oddSize, Readers: 3})
	mustWrite(t, r, make([]byte, oddSize))
	mustTake(t, r, 0, make([]byte, oddSize))
	r.Detach(1)
	r.Detach(1)
	r.Detach(2)
	mustWrite(t, r, make([]byte, oddSize)) // held back by reader 0 only
	if r.Rewind(1) {
		t.Error("rewound a reader that has left")
	}
	r.Detach(0)
	if n, err := r.Write([]byte("x")); n != 0 || !errors.Is(err, ErrNoReaders) {
		t.Errorf("Write without readers: %d, %v", n, err)
	}
}

func TestDetachWakesTheWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := Get(Options{Size: oddSize, Readers: 2})
		var n int
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			n, err = r.Write(make([]byte, 2500))
		}()
		synctest.Wait()
		r.Advance(0, oddSize)
		r.Detach(1)
		synctest.Wait() // the writer has filled the ring again
		r.Detach(0)
		<-done
		if n != 2*oddSize || !errors.Is(err, ErrNoReaders) {
			t.Errorf("%d, %v", n, err)
		}
	})
}

func TestR12Rewind(t *testing.T) {
	full := randomBytes(oddSize)
	for name, c := range map[string]struct {
		do   func(r *Ring)
		want bool
	}{
		"nothing written":   {func(*Ring) {}, true},
		"part of the ring":  {func(r *Ring) { r.Write(full[:10]); r.Advance(0, 7) }, true},
		"exactly a ring":    {func(r *Ring) { r.Write(full); r.Advance(0, oddSize) }, true},
		"a closed message":  {func(r *Ring) { r.Write(full); r.Advance(0, oddSize); r.Close() }, true},
		"twice":             {func(r *Ring) { r.Write(full[:10]); r.Advance(0, 7); r.Rewind(0); r.Advance(0, 3) }, true},
		"wrapped":           {func(r *Ring) { r.Write(full); r.Advance(0, 9); r.Write(full[:1]) }, false},
		"first byte in use": {func(r *Ring) { r.Write(full); r.Advance(0, 9); r.Reserve() }, false},
		"left":              {func(r *Ring) { r.Write(full[:10]); r.Detach(0) }, false},
		"canceled":          {func(r *Ring) { r.Write(full[:10]); r.Cancel() }, false},
	} {
		r := Get(Options{Size: oddSize, Readers: 1})
		c.do(r)
		if got := r.Rewind(0); got != c.want {
			t.Errorf("%s: %v, not %v", name, got, c.want)
		}
		if c.want {
			mustTake(t, r, 0, full[:r.written])
		}
	}
}

// After Rewind the reader's old bytes are not overwritten.
func TestR12RewindHoldsTheWriterBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := randomBytes(2 * oddSize)
		r := Get(Options{Size: oddSize, Readers: 1})
		mustWrite(t, r, stream[:600])
		mustTake(t, r, 0, stream[:600])
		if !r.Rewind(0) {
			t.Fatal("cannot rewind")
		}
		go func() {
			r.Write(stream[600:])
			r.Close()
		}()
		synctest.Wait()
		mustTake(t, r, 0, stream)
		mustFail(t, r, 0, io.EOF)
	})
}

func TestMessage(t *testing.T) {
	full := randomBytes(oddSize)
	for name, c := range map[string]struct {
		do   func(r *Ring)
		want []byte
	}{
		"not closed":     {func(r *Ring) { r.Write(full) }, nil},
		"short":          {func(r *Ring) { r.Write(full[:10]); r.Close() }, full[:10]},
		"exactly a ring": {func(r *Ring) { r.Write(full); r.Close() }, full},
		"let go of":      {func(r *Ring) { r.Write(full); r.Advance(0, oddSize); r.Close() }, full},
		"wrapped":        {func(r *Ring) { r.Write(full); r.Advance(0, 1); r.Write(full[:1]); r.Close() }, nil},
		"canceled":       {func(r *Ring) { r.Write(full[:10]); r.Cancel(); r.Close() }, nil},
		// At the end of the body a Read may use all of the slice it is given as scratch space
		// although it returns 0 (io.Reader allows that).
		"first byte in use": {func(r *Ring) {
			r.Write(full)
			r.Advance(0, oddSize)
			room, _ := r.Reserve()
			clear(room)
			r.Publish(0)
			r.Close()
		}, nil},
	} {
		r := Get(Options{Size: oddSize, Readers: 1})
		c.do(r)
		if got, ok := r.Message(); ok != (c.want != nil) || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %d bytes, %v; not %d", name, len(got), ok, len(c.want))
		}
	}
}

// A slow reader does not wake the writer for every few bytes.
func TestWriterSleepsUntilAQuarterIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := Get(Options{Size: oddSize, Readers: 1})
		mustWrite(t, r, make([]byte, oddSize))
		room := 0
		go func() {
			p, _ := r.Reserve()
			room = len(p)
		}()
		for i := range 25 {
			synctest.Wait()
			if room != 0 {
				t.Fatalf("the writer woke for %d bytes", 10*i)
			}
			time.Sleep(time.Second) // in the bubble
			r.Advance(0, 10)
		}
		synctest.Wait()
		if room != 250 || r.Waited() != 25*time.Second {
			t.Errorf("room for %d bytes after %v", room, r.Waited())
		}
	})
}

// leg is how one reader behaves in carry, below.
type leg struct {
	step  int           // takes at most this many bytes at a time
	every time.Duration // and then pauses; 0: takes everything as it comes
	delay time.Duration // before it starts
	leave int           // detaches after this many bytes; 0: never
}

var (
	fast = leg{step: oddSize}
	hung = leg{step: 1, delay: 1000 * time.Hour}
)

// outcome is what became of a leg.
type outcome struct {
	cut time.Duration // when it was cut; 0: never
	got []byte
	err error
}

// carry writes the stream to the legs, each with its own goroutine in a synctest bubble. It returns
// what became of them and how long the writing took.
func carry(t *testing.T, timeout time.Duration, stream []byte, legs ...leg) (out []outcome, took, waited time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		out = make([]outcome, len(legs))
		cut := make([]chan struct{}, len(legs))
		for i := range cut {
			cut[i] = make(chan struct{})
		}
		r := Get(Options{Size: oddSize, Readers: len(legs), StallTimeout: timeout, OnCut: func(i int) {
			out[i].cut = time.Since(start)
			close(cut[i]) // a second time would panic
		}})
		var wg sync.WaitGroup
		for i, l := range legs {
			wg.Go(func() {
				defer r.Detach(i)
				o := &out[i]
				for pause := l.delay; ; pause = l.every {
					// A timer that has already expired when it is made sometimes crashes the race
					// detector in a bubble (golang/go#78156).
					if pause > 0 {
						select {
						case <-cut[i]:
						case <-time.After(pause):
						}
					}
					p, err := r.Next(i)
					if err != nil {
						o.err = err
						return
					}
					n := min(len(p), l.step)
					o.got = append(o.got, p[:n]...)
					r.Advance(i, n)
					if l.leave > 0 && len(o.got) >= l.leave {
						return
					}
				}
			})
		}
		mustWrite(t, r, stream)
		took, waited = time.Since(start), r.Waited()
		r.Close()
		wg.Wait()
		r.Put()
	})
	return out, took, waited
}

func TestR10Laggards(t *testing.T) {
	const timeout = 10 * time.Second
	each := func(step int, every time.Duration) leg { return leg{step: step, every: every} }
	for name, c := range map[string]struct {
		legs []leg
		cut  []time.Duration // when each is cut; 0: never
		took time.Duration   // the most that the writing may take; 0: does not matter
	}{
		"none":                    {[]leg{fast, fast, fast}, []time.Duration{0, 0, 0}, time.Nanosecond},
		"one hangs":               {[]leg{fast, hung}, []time.Duration{0, timeout}, timeout},
		"one is slow, in sum":     {[]leg{each(250, 3*time.Second), fast}, []time.Duration{timeout, 0}, timeout},
		"in small pieces":         {[]leg{each(10, 120*time.Millisecond), fast}, []time.Duration{timeout, 0}, timeout},
		"one of three is slow":    {[]leg{fast, each(250, 4*time.Second), fast}, []time.Duration{0, timeout, 0}, timeout},
		"two of three hang":       {[]leg{hung, fast, hung}, []time.Duration{timeout, 0, timeout}, timeout},
		"two of three alike slow": {[]leg{each(250, 3*time.Second), each(250, 3*time.Second), fast}, []time.Duration{timeout, timeout, 0}, timeout},
		// The second costs nothing until the third is cut; then it does.
		"each in its turn": {[]leg{fast, each(500, 3*time.Second), hung}, []time.Duration{0, 2 * timeout, timeout}, 2 * timeout},
		"a single one":     {[]leg{each(250, time.Hour)}, []time.Duration{0}, 0},
		"all alike slow":   {[]leg{each(250, time.Minute), each(250, time.Minute), each(250, time.Minute)}, []time.Duration{0, 0, 0}, 0},
		// None of these is slower than the others, though at any moment one is furthest behind.
		"alike slow, in turns": {[]leg{
			{step: 250, every: time.Minute, delay: 20 * time.Second},
			{step: 250, every: time.Minute, delay: 40 * time.Second},
			{step: 250, every: time.Minute, delay: 60 * time.Second},
		}, []time.Duration{0, 0, 0}, 0},
		"alike slow, in pieces of different size": {[]leg{each(10, 2*time.Second), each(250, 50*time.Second)}, []time.Duration{0, 0}, 0},
		// The last one is not cut, however slow it is.
		"the others have left": {[]leg{
			{step: oddSize, leave: 400}, each(250, time.Hour), {step: oddSize, leave: 800},
		}, []time.Duration{0, 0, 0}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			stream := randomBytes(20_000)
			out, took, waited := carry(t, timeout, stream, c.legs...)
			if c.took != 0 && took > c.took {
				t.Errorf("took %v, not %v", took, c.took)
			}
			if took != waited {
				t.Errorf("took %v, but waited %v", took, waited)
			}
			for i, o := range out {
				if o.cut != c.cut[i] {
					t.Errorf("leg %d cut at %v, not %v", i, o.cut, c.cut[i])
				}
				switch {
				case o.cut != 0 && !errors.Is(o.err, ErrCut):
					t.Errorf("leg %d was cut and got %v", i, o.err)
				case o.cut == 0 && o.err != io.EOF && c.legs[i].leave == 0:
					t.Errorf("leg %d got %v", i, o.err)
				case o.err == io.EOF && len(o.got) != len(stream), !bytes.HasPrefix(stream, o.got):
					t.Errorf("leg %d got %d other bytes", i, len(o.got))
				}
			}
		})
	}
}

// A slow backend costs a client at most StallTimeout once, compared with the upload without it.
func TestR10CostIsBounded(t *testing.T) {
	stream := randomBytes(50_000)
	medium := leg{step: 50, every: 100 * time.Millisecond}
	_, alone, _ := carry(t, 10*time.Second, stream, medium)
	for _, every := range []time.Duration{101, 110, 150, 200, 400, 1000, 3000} {
		slow := leg{step: 50, every: every * time.Millisecond}
		out, took, _ := carry(t, 10*time.Second, stream, medium, slow)
		t.Logf("slow one each %v ms: %v instead of %v, cut at %v", int(every), took, alone, out[1].cut)
		if took > alone+11*time.Second || out[0].err != io.EOF {
			t.Errorf("slow one each %v ms: %v instead of %v, %v", int(every), took, alone, out[0].err)
		}
	}
}

func TestR10NoTimeoutNoCut(t *testing.T) {
	out, took, _ := carry(t, 0, randomBytes(5000), fast, leg{step: 250, every: time.Hour})
	if out[1].cut != 0 || out[1].err != io.EOF || took < 15*time.Hour {
		t.Errorf("%v after %v", out[1].err, took)
	}
}

// Memory that a cut reader may still be sending from stays untouched until that reader has left;
// the writer waits for it.
func TestR10CutMemoryIsNotWrittenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := randomBytes(3 * oddSize)
		cut := make(chan struct{})
		r := Get(Options{Size: oddSize, Readers: 2, StallTimeout: time.Second, OnCut: func(int) { close(cut) }})
		var wg sync.WaitGroup
		written := false
		wg.Go(func() {
			mustWrite(t, r, stream)
			written = true
			r.Close()
		})
		wg.Go(func() {
			mustTake(t, r, 0, stream)
			r.Detach(0)
		})
		p, err := r.Next(1)
		testkit.MustDo(t, err)
		<-cut
		time.Sleep(time.Hour) // the connection fails slowly
		synctest.Wait()
		if !bytes.Equal(p, stream[:len(p)]) {
			t.Error("written over before Detach")
		}
		if written {
			t.Error("the writer did not wait for Detach")
		}
		mustFail(t, r, 1, ErrCut)
		if r.Rewind(1) {
			t.Error("rewound after the cut")
		}
		r.Detach(1)
		wg.Wait()
	})
}

// The fast reader leaves (its backend answered early, R9) at the moment when the first laggard is
// cut. The second laggard is now the last reader, and stays.
func TestR10LastReaderStaysWhateverTheMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := randomBytes(3 * oddSize)
		var cut []int
		var r *Ring
		r = Get(Options{Size: oddSize, Readers: 3, StallTimeout: time.Second, OnCut: func(i int) {
			cut = append(cut, i)
			r.Detach(0)
			r.Advance(i, oddSize) // its send finished after the cut, which does not save it
		}})
		go func() {
			mustWrite(t, r, stream)
			r.Close()
		}()
		mustTake(t, r, 0, stream[:oddSize])
		time.Sleep(time.Hour) // in the bubble
		synctest.Wait()
		if len(cut) != 1 || cut[0] != 1 {
			t.Fatalf("cut %v", cut)
		}
		r.Detach(1)
		mustTake(t, r, 2, stream)
		mustFail(t, r, 2, io.EOF)
	})
}
