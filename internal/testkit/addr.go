package testkit

import (
	"io"
	"net"
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

// MustEcho returns the address of a server that sends back what it gets.
func MustEcho(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	MustDo(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return ln.Addr().String()
}

// MustDial returns a connection that is closed at the end of the test.
func MustDial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	MustDo(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn) //nolint:forcetypeassert // it is TCP
}
