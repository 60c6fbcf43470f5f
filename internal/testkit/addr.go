package testkit

import (
	"net"
	"testing"
)

// MustFreeAddr is an address on localhost that nobody listens at.
func MustFreeAddr(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
