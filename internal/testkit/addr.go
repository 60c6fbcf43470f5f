package testkit

import (
	"testing"

	"github.com/akubra/akubra/backends/stub"
)

// MustFreeAddr is an address on localhost that nobody listens at, and nobody will until the
// test's end but who names it.
func MustFreeAddr(t testing.TB) string {
	t.Helper()
	addr, release, err := stub.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return addr
}
