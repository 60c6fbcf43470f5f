package service

import (
	"testing"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/ledger/ledgertest"
)

// BenchmarkDoor is the journal's part of a PUT: of one that has ended well before its
// answer, and of one that a leg is still out of.
func BenchmarkDoor(b *testing.B) {
	for _, open := range []bool{false, true} {
		b.Run(map[bool]string{false: "well", true: "out"}[open], func(b *testing.B) {
			n := ledgertest.MustOpen(b, b.TempDir(), "a:9000", "b:9000")
			var j engine.Journal = engineJournal{n.Journal}
			bucket, key, host, target := []byte("b"), []byte("a/key/of/usual/length/0123456789"), []byte("s3"), []byte("/b/a/key/of/usual/length/0123456789")
			es := make([]engine.Promise, 1)
			e := engine.Promise{Method: "PUT", Target: target, Host: host, Bucket: bucket, Key: key, ETag: []byte("d41d8cd98f00b204e9800998ecf8427e"), ID: []byte("0123456789abcdef"), Size: 5}
			b.ReportAllocs()
			for b.Loop() {
				w, err := j.Begin("PUT", bucket, key, host, target)
				if err != nil {
					b.Fatal(err)
				}
				if es[0] = e; open {
					es[0].Open, es[0].Owed = true, 2
					if err := w.Acknowledge(es); err != nil {
						b.Fatal(err)
					}
					es[0].Owed = 0
				}
				if err := w.Settle(es); err != nil {
					b.Fatal(err)
				}
				w.End()
			}
		})
	}
}
