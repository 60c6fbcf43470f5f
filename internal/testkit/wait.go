package testkit

import (
	"runtime"
	"testing"
	"time"
)

// Receive returns what comes from a channel, or a zero value if it is closed. The test ends where
// nothing comes within twice Patience: whoever should send has given up before, and has said why. It
// must be called on the test's own goroutine, as must Finish.
func Receive[T any](t testing.TB, what string, from <-chan T) (v T) {
	t.Helper()
	late := time.NewTimer(2 * Patience)
	defer late.Stop()
	select {
	case v = <-from:
	case <-late.C:
		t.Fatalf("it never came: %s\n%s", what, goroutines())
	}
	return v
}

// Finish waits until wait returns, which waits for goroutines or for a process. The test ends where
// that takes longer.
func Finish(t testing.TB, what string, wait func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		wait()
	}()
	Receive(t, what, done)
}

// goroutines are what all of them do, as far as that can be read.
func goroutines() []byte {
	b := make([]byte, 64<<10)
	return b[:runtime.Stack(b, true)]
}
