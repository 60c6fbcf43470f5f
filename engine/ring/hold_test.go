package ring

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// holdSize has room for more than what is held back, and is not pooled (see oddSize).
const holdSize = 3*heldTail + 100

// A reader that is held gets all but the tail, whatever is published, and the rest once it
// is free. One that leaves meanwhile does so.
func TestR29HeldReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		message := randomBytes(2*heldTail + 10)
		r := Get(Options{Size: holdSize, Head: message[:10], Readers: 3})
		r.Hold(0b110)
		got, ended := make(chan int, 3), make(chan error, 2)
		for i := 1; i < 3; i++ {
			go func() {
				n := 0
				for {
					p, err := r.Next(i)
					if err != nil {
						got <- n
						ended <- err
						return
					}
					n += len(p)
					r.Advance(i, len(p))
				}
			}()
		}
		synctest.Wait()
		mustWrite(t, r, message[10:])
		r.Close()
		mustTake(t, r, 0, message)
		mustFail(t, r, 0, io.EOF)
		synctest.Wait()
		for i := 1; i < 3; i++ {
			if pos := r.readers[i].pos; pos != int64(len(message)-heldTail) {
				t.Errorf("reader %d is at %d of %d", i, pos, len(message))
			}
		}
		r.Leave(2)
		if n, err := <-got, <-ended; n != len(message)-heldTail || err != ErrLeft {
			t.Errorf("%d bytes, %v", n, err)
		}
		r.Free()
		if n, err := <-got, <-ended; n != len(message) || err != io.EOF {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

// One that is held is idle for no fault of the others: nobody is cut for it (R10).
func TestR29HeldIsNoIdler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cut := false
		r := Get(Options{Size: holdSize, Readers: 2, StallTimeout: time.Second, OnCut: func(int) { cut = true }})
		r.Hold(0b10)
		go func() {
			for {
				p, err := r.Next(1)
				if err != nil {
					return
				}
				r.Advance(1, len(p))
			}
		}()
		message := randomBytes(4 * holdSize)
		go func() {
			mustWrite(t, r, message)
			r.Close()
		}()
		for rest := message; len(rest) > 0; { // the slow one
			time.Sleep(2 * time.Second) // in the bubble
			p, err := r.Next(0)
			testkit.MustDo(t, err)
			r.Advance(0, len(p))
			rest = rest[len(p):]
		}
		r.Free()
		synctest.Wait()
		if cut {
			t.Error("it was cut")
		}
	})
}
