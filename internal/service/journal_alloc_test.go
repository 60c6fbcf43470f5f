//go:build !race

package service

import (
	"testing"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/ledger/ledgertest"
)

// The way to the journal costs nothing of its own: what owes nothing is written
// nowhere.
func TestEngineJournalAllocatesNothing(t *testing.T) {
	n := ledgertest.MustOpen(t, t.TempDir(), "a:9000", "b:9000")
	j := &engineJournal{Journal: n.Journal}
	promises := []engine.Promise{
		{Method: "PUT", Bucket: []byte("b"), Key: []byte("k")},
		{Method: "PUT", Bucket: []byte("b"), Key: []byte("l")},
	}
	if allocs := testing.AllocsPerRun(1000, func() {
		if err := j.Promise(promises); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Fatalf("%v allocations a write, want 0", allocs)
	}
}
