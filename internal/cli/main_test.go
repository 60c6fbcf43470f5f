package cli

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/akubra/akubra/internal/testkit"
)

// TestMain looks for goroutines that outlive all tests, some of which run beside others.
// With keys in the environment each proxy would repair by itself.
func TestMain(m *testing.M) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		_ = os.Unsetenv(name)
	}
	goleak.VerifyTestMain(m, testkit.Ignored...)
}
