package ring

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// TestR10NearlyThroughIsLetThrough: a reader whose time is up has twice as long if hardly anything is left
// of the stream; if nobody knows how long that is, or it hangs, it is cut.
func TestR10NearlyThroughIsLetThrough(t *testing.T) {
	const timeout, size = 10 * time.Second, 100_000
	for name, c := range map[string]struct {
		total int64
		at    int           // where it pauses
		pause time.Duration // for so long
		cut   time.Duration // 0: never
	}{
		"nearly through":      {size, 90_000, 15 * time.Second, 0},
		"half through":        {size, 50_000, 15 * time.Second, timeout},
		"length not known":    {0, 90_000, 15 * time.Second, timeout},
		"hangs at the end":    {size, 90_000, 1000 * time.Hour, 2 * timeout},
		"nowhere near in sum": {size, 87_000, 15 * time.Second, timeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				var cut, lag time.Duration
				stop := make(chan struct{})
				r := Get(Options{
					Size: oddSize, Readers: 2, StallTimeout: timeout, Total: c.total,
					OnCut: func(int) { cut = time.Since(begun); close(stop) },
					OnLag: func(i int, waited, total time.Duration) bool {
						if i == 0 && total == 0 {
							return false // it takes everything as it comes
						}
						if lag += waited; i != 1 || lag != total {
							t.Errorf("reader %d lags for %v, %v in all, not %v", i, waited, total, lag)
						}
						return false
					},
				})
				for i := range 2 {
					go func() {
						defer r.Detach(i)
						for pos := 0; ; {
							p, err := r.Next(i)
							if err != nil {
								if i == 1 && (c.cut == 0) != errors.Is(err, io.EOF) {
									t.Errorf("it got %v", err)
								}
								return
							}
							n := len(p)
							if i == 1 && pos < c.at {
								n = min(n, c.at-pos)
							}
							pos += n
							r.Advance(i, n)
							if i == 1 && pos == c.at {
								select {
								case <-time.After(c.pause):
								case <-stop:
								}
							}
						}
					}()
				}
				mustWrite(t, r, make([]byte, size))
				r.Close()
				synctest.Wait()
				if cut != c.cut {
					t.Errorf("cut at %v, not %v", cut, c.cut)
				}
				if got, want := r.Stalled(1), min(max(c.cut, c.pause), 2*timeout); got != lag || c.cut == 0 && got != want {
					t.Errorf("it has held the writer for %v, not %v; told of were %v", got, want, lag)
				}
				r.Put()
			})
		})
	}
}

// TestR10CutBeforeItsTime: a reader is looked at while it stands still, and cut as soon as OnLag says so.
func TestR10CutBeforeItsTime(t *testing.T) {
	const timeout = 8 * time.Second
	synctest.Test(t, func(t *testing.T) {
		var cut time.Duration
		begun, stop := time.Now(), make(chan struct{})
		r := Get(Options{
			Size: oddSize, Readers: 2, StallTimeout: timeout,
			OnCut: func(int) { cut = time.Since(begun); close(stop) },
			OnLag: func(i int, _, total time.Duration) bool { return i == 1 && total >= timeout/4 },
		})
		go func() {
			defer r.Detach(0)
			for {
				p, err := r.Next(0)
				if err != nil {
					return
				}
				r.Advance(0, len(p))
			}
		}()
		go func() {
			defer r.Detach(1)
			<-stop
		}()
		mustWrite(t, r, make([]byte, 3*oddSize))
		r.Close()
		synctest.Wait()
		if cut != timeout/4 {
			t.Errorf("cut after %v", cut)
		}
		r.Put()
	})
}
