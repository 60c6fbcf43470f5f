package engine

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/engine/pipes"
)

// inSlowMotion runs a test of a time that has to be real, since kernels and storages
// keep it, too: with that time, and where it fails with 4 and with 16 times as much. A
// machine that is busy for a moment fails the first one; code that is wrong fails them
// all, since all that the test sets grows alike.
func inSlowMotion(t *testing.T, unit time.Duration, test func(t testing.TB, unit time.Duration)) {
	t.Helper()
	for range 2 {
		a := &attempt{TB: t}
		if a.run(func() { test(a, unit) }) {
			return
		}
		t.Logf("once more and slower, since with %v: %s", unit, strings.Join(a.said, "; "))
		unit *= 4
	}
	test(t, unit)
}

// slowly is t.Run of such a test.
func slowly(t *testing.T, name string, unit time.Duration, test func(t testing.TB, unit time.Duration)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { inSlowMotion(t, unit, test) })
}

// slowlyBeside is slowly beside others.
func slowlyBeside(t *testing.T, name string, unit time.Duration, test func(t testing.TB, unit time.Duration)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		inSlowMotion(t, unit, test)
	})
}

// throughPipes runs a test whose bodies have to go through pipes: again where the system
// has refused some meanwhile, for which the proxy has the ring. All processes of a user
// without CAP_SYS_RESOURCE share 128 pipes (pipe-user-pages-soft), so also those of other
// packages' tests.
func throughPipes(t *testing.T, test func(t testing.TB, refused func() bool)) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) { // poll
		before := pipes.Refusals()
		refused := func() bool { return pipes.Refusals() != before }
		a := &attempt{TB: t}
		switch ok := a.run(func() { test(a, refused) }); {
		case ok:
			return
		case !refused():
			t.Fatal(strings.Join(a.said, "; "))
		case time.Now().After(end):
			t.Skipf("the system refuses pipes: %s", strings.Join(a.said, "; "))
		}
	}
}

// attempt is a test that may fail.
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

func TestInSlowMotion(t *testing.T) {
	t.Parallel()
	var units []time.Duration
	cleaned := 0
	inSlowMotion(t, time.Second, func(t testing.TB, unit time.Duration) {
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
