package backends

import (
	"crypto/tls"
	"testing"
)

// BenchmarkAlive measures the look that precedes each reuse of a connection (R32).
func BenchmarkAlive(b *testing.B) {
	run := func(b *testing.B, c *Conn) {
		b.ReportAllocs()
		for b.Loop() {
			if !c.Alive() {
				b.Fatal("taken for dead")
			}
		}
		c.Discard()
	}
	b.Run("plain", func(b *testing.B) {
		c, _ := newPeer(b).connect()
		run(b, c)
	})
	b.Run("TLS", func(b *testing.B) {
		roots, certificate := authority(b)
		p := newPeer(b)
		backend := newBackend(b, "https://"+p.ln.Addr().String(), &tls.Config{RootCAs: roots})
		c := acquire(b, backend, false)
		done := make(chan error, 1)
		go func() {
			nc, err := p.ln.Accept()
			if err == nil {
				b.Cleanup(func() { _ = nc.Close() })
				err = tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{certificate}}).Handshake()
			}
			done <- err
		}()
		if err := c.Connect(); err != nil {
			b.Fatal(err)
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		run(b, c)
	})
}
