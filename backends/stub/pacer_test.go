package stub

import (
	"testing"
	"testing/synctest"
	"time"
)

// A wait that ended late is made up for; time without anything to read is not.
func TestPacerMakesUpForLateness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const late = 50 * time.Millisecond
		p := pacer{rate: 1000, free: time.Now().Add(-late), late: late}
		began := time.Now()
		for i, want := range []time.Duration{0, 0, 10 * time.Millisecond, 30 * time.Millisecond} {
			p.pace(20) // bytes; 20 ms
			if took := time.Since(began); took != want {
				t.Fatalf("after %d pieces of 20 ms: %v, want %v", i+1, took, want)
			}
		}
		time.Sleep(time.Second) // in the bubble: nothing arrives
		began = time.Now()
		if p.pace(20); time.Since(began) != 20*time.Millisecond {
			t.Errorf("a piece after a pause took %v", time.Since(began))
		}
	})
}
