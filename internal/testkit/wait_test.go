package testkit

import (
	"fmt"
	"testing"
	"time"
)

func TestReceiveAndFinish(t *testing.T) {
	t.Parallel()
	values := make(chan int, 1)
	values <- 7
	if got := Receive(t, "a value", values); got != 7 {
		t.Errorf("%d came", got)
	}
	close(values)
	if got := Receive(t, "the end", values); got != 0 {
		t.Errorf("%d came from a closed channel", got)
	}
	ended := false
	Finish(t, "a wait", func() { ended = true })
	if !ended {
		t.Error("Finish has not waited")
	}
}

func TestInSlowMotion(t *testing.T) {
	t.Parallel()
	var units []time.Duration
	cleaned := 0
	InSlowMotion(t, time.Second, func(t testing.TB, unit time.Duration) {
		t.Cleanup(func() { cleaned++ })
		units = append(units, unit)
		switch len(units) {
		case 1:
			t.Fatal("too fast")
		case 2:
			t.Cleanup(func() { t.Errorf("at rest") })
		}
	})
	if fmt.Sprint(units) != "[1s 4s 16s]" || cleaned != 2 { // the last one's comes with the test's own
		t.Errorf("units %v, %d cleanups", units, cleaned)
	}
}
