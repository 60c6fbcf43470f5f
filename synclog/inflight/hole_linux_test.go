package inflight

import (
	"testing"

	"golang.org/x/sys/unix"
)

// allocated is how much of the disk a file takes.
func allocated(t testing.TB, path string) int64 {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Blocks * 512
}
