package testkit

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// InSlowMotion runs a test of a time that has to be real because kernels and backends keep it,
// too. Where it fails it runs again, with 4 and with 16 times as much: a machine that is busy for
// a moment fails the first one, code that is wrong fails all three, since all times of the test
// grow alike.
func InSlowMotion(t *testing.T, unit time.Duration, test func(t testing.TB, unit time.Duration)) {
	t.Helper()
	for range 2 {
		said, ok := Try(t, func(t testing.TB) { test(t, unit) })
		if ok {
			return
		}
		t.Logf("once more and slower, since with %v: %s", unit, said)
		unit *= 4
	}
	test(t, unit)
}

// Try runs a test that may fail, its cleanups included. It reports whether all went well, and
// what was said if not.
func Try(t testing.TB, test func(t testing.TB)) (said string, ok bool) {
	a := &attempt{TB: t}
	ok = a.run(func() { test(a) })
	return strings.Join(a.said, "; "), ok
}

// attempt is the test that Try runs.
type attempt struct {
	testing.TB
	mu       sync.Mutex
	failed   bool
	said     []string
	cleanups []func()
}

// run runs f and then the cleanups, and reports whether all went well.
func (a *attempt) run(f func()) bool {
	a.apart(f)
	for last := a.lastCleanup(); last != nil; last = a.lastCleanup() {
		a.apart(last)
	}
	return !a.Failed()
}

// lastCleanup takes the cleanup that is next, if there is one.
func (a *attempt) lastCleanup() (last func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.cleanups); n > 0 {
		last, a.cleanups = a.cleanups[n-1], a.cleanups[:n-1]
	}
	return last
}

// Cleanup may be called by several goroutines, as testing's own may.
func (a *attempt) Cleanup(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cleanups = append(a.cleanups, f)
}

// apart runs what FailNow may end.
func (a *attempt) apart(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

func (a *attempt) say(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed, a.said = true, append(a.said, strings.TrimSpace(text))
}

func (a *attempt) Failed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

func (a *attempt) Fail()                             { a.say("failed") }
func (a *attempt) FailNow()                          { a.Fail(); runtime.Goexit() }
func (a *attempt) Error(args ...any)                 { a.say(fmt.Sprintln(args...)) }
func (a *attempt) Errorf(format string, args ...any) { a.say(fmt.Sprintf(format, args...)) }
func (a *attempt) Fatal(args ...any)                 { a.Error(args...); runtime.Goexit() }
func (a *attempt) Fatalf(format string, args ...any) { a.Errorf(format, args...); runtime.Goexit() }
