package interop

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// relay forwards connections to a store, and holds up each piece of what a proxy
// sends by up to jitter. It returns its address.
func relay(t *testing.T, to string, jitter time.Duration) string {
	t.Helper()
	return serveConns(t, func(conn net.Conn) {
		store, err := net.Dial("tcp", to)
		if err != nil { // the store is away
			_ = conn.Close()
			return
		}
		var back sync.WaitGroup
		defer back.Wait()
		defer conn.Close()
		defer store.Close()
		back.Go(func() {
			_, _ = io.Copy(conn, store)
			_ = conn.Close()
		})
		_, _ = io.Copy(lateWriter{store, jitter}, conn)
	})
}

// serveConns has serve handle each connection that is made to the address that it returns,
// on a goroutine of its own, and waits for them at the test's end.
func serveConns(t *testing.T, serve func(conn net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			open.Go(func() { serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		// The proxy and the stores, which were started later, have ended: so have
		// the connections.
		open.Wait()
	})
	return ln.Addr().String()
}

// lateWriter is a writer that takes its time. It must not be an io.ReaderFrom.
type lateWriter struct {
	w      io.Writer
	jitter time.Duration
}

func (l lateWriter) Write(p []byte) (int, error) {
	time.Sleep(rand.N(l.jitter + 1)) // a slow network
	return l.w.Write(p)
}
