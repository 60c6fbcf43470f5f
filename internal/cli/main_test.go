package cli

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/akubra/akubra/internal/testkit"
)

// TestMain looks for goroutines that outlive all tests, some of which run beside others.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m, testkit.Ignored...) }
