package testkit

import (
	"testing"

	"github.com/akubra/akubra/backends/stub"
)

// MustFreeAddr returns an address on localhost that nobody listens on, and that until the end of
// the test only somebody who names it will.
func MustFreeAddr(t testing.TB) string {
	t.Helper()
	addr, release, err := stub.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return addr
}
