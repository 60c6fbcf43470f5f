package inflight

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/testkit"
)

// allocated is how much of the disk a file takes.
func allocated(t testing.TB, path string) int64 {
	t.Helper()
	var stat unix.Stat_t
	testkit.MustDo(t, unix.Stat(path, &stat))
	return stat.Blocks * 512
}
