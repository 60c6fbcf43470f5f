//go:build !race

package service

import (
	"testing"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/ledger/ledgertest"
)

// The adapter itself costs nothing: a write that leaves nothing pending is written nowhere.
func TestEngineJournalAllocatesNothing(t *testing.T) {
	n := ledgertest.MustOpen(t, t.TempDir(), "a:9000", "b:9000")
	var j engine.Journal = engineJournal{n.Journal}
	bucket, key, target := []byte("b"), []byte("k"), []byte("/b/k")
	promises := []engine.Promise{
		{Method: "PUT", Bucket: bucket, Key: key},
		{Method: "PUT", Bucket: bucket, Key: []byte("l")},
	}
	if allocs := testing.AllocsPerRun(1000, func() {
		w, err := j.Begin("PUT", bucket, key, nil, target)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Settle(promises); err != nil {
			t.Fatal(err)
		}
		w.End()
	}); allocs != 0 {
		t.Fatalf("%v allocations a write, want 0", allocs)
	}
}
