package engine

import (
	"testing"
	"time"

	"github.com/akubra/akubra/engine/pipes"
	"github.com/akubra/akubra/internal/testkit"
)

var inSlowMotion = testkit.InSlowMotion

// slowly is t.Run of a test in slow motion.
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
		said, ok := testkit.Try(t, func(t testing.TB) { test(t, refused) })
		switch {
		case ok:
			return
		case !refused():
			t.Fatal(said)
		case time.Now().After(end):
			t.Skipf("the system refuses pipes: %s", said)
		}
	}
}
