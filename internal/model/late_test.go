package model

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// R19, R30: a key that a backend gave no answer about is closed once that goes on, also if the key is written all the
// time: until then nobody may be read from but the other one.
func TestR19KeyThatIsWrittenAllTheTimeIsClosed(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, 1)
		w.repairs = true
		w.start()
		for _, step := range []string{"put b/k 0", "wait 1s", "freeze B", "put b/k 1", "wait 1m", "up B"} {
			w.step(strings.Fields(step))
		}
		if len(w.pending(false)) != 1 {
			t.Error("nothing is pending behind a write without an answer")
		}
		rounds := 0
		for ; rounds < 60 && len(w.pending(false)) > 0; rounds++ {
			w.step(strings.Fields(fmt.Sprint("put b/k ", rounds)))
			time.Sleep(500 * time.Millisecond) // in the bubble: less than a key rests
		}
		if left := w.pending(false); len(left) > 0 {
			t.Errorf("it is still pending after %d writes: %+v", rounds, left)
		}
		for _, f := range w.rest() {
			t.Errorf("%s %s", f.key, f.what)
		}
		w.proxy.Load().close()
	})
}

// R19, R35: the second look at many keys comes when it is due, however long the first one took.
func TestR35SecondLookIsNotLate(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, 1)
		w.repairs = true
		w.start()
		round := func(n int) {
			for i := range 100 {
				w.step(strings.Fields(fmt.Sprintf("put b/k%d %d", i, n)))
			}
		}
		w.step([]string{"freeze", "B"})
		round(1)
		w.step([]string{"wait", "1m"})
		w.step([]string{"up", "B"})
		round(2)
		begun := time.Now()
		for len(w.pending(false)) > 0 {
			time.Sleep(100 * time.Millisecond) // in the bubble
		}
		if took := time.Since(begun); took > 16*time.Second {
			t.Errorf("the keys were closed after %s", took)
		}
		for _, f := range w.rest() {
			t.Errorf("%s %s", f.key, f.what)
		}
		w.proxy.Load().close()
	})
}
