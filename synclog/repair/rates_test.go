package repair

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestBytesPerSecondOfOneBackend: all workers of a backend share its rate, as a target and as a source, and
// copies between others do not go by it.
func TestBytesPerSecondOfOneBackend(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("x", 20<<10)
	for _, c := range []struct {
		name  string
		owed  []int
		least time.Duration
		most  time.Duration
	}{
		// 160 KiB at 10 KiB a second, of which 32 KiB are a burst.
		{"copies to it", []int{1}, 12 * time.Second, 20 * time.Second},
		{"copies from it, read once for both", []int{0, 2}, 12 * time.Second, 20 * time.Second},
		{"copies beside it", []int{2}, 0, 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWired(t, &wire{}, &wire{}, &wire{})
				w.o.Concurrency = 4
				w.o.Backends[0].Weight = 2
				w.o.Backends[1].BytesPerSecond = 10 << 10
				for i := range 8 {
					key := fmt.Sprint("k", i)
					for j, s := range w.stores {
						if !slices.Contains(c.owed, j) {
							s.put("b", key, body, time.Minute)
						}
					}
					w.wrote(key, md5Hex([]byte(body)), c.owed...)
				}
				begun := time.Now()
				w.mustResolve()
				if took := time.Since(begun); took < c.least || took > c.most {
					t.Errorf("it took %s, want from %s to %s", took, c.least, c.most)
				}
			})
		})
	}
}
