package testkit

import "testing"

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
