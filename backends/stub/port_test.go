package stub

import (
	"context"
	"errors"
	"net"
	"runtime"
	"syscall"
	"testing"
)

// A stub that is down keeps its port: connections to it are refused, rather than reach somebody who
// was given the port meanwhile.
func TestDownKeepsThePort(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux holds a port for somebody who listens later")
	}
	s := New(t)
	s.Down()
	if _, err := net.Dial("tcp4", s.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a dial says %v", err)
	}
	// Like the system's choice: only a port to which nobody is bound.
	alone := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		_ = c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 0) })
		return err
	}}
	ln, err := alone.Listen(context.Background(), "tcp4", s.Addr())
	if err == nil {
		_ = ln.Close()
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("somebody else could have the port: %v", err)
	}
	if err := s.Up(); err != nil {
		t.Fatal(err)
	}
	Dial(t, s.Addr())
}
