//go:build !race

package main

import (
	"testing"

	"github.com/akubra/akubra/engine"
)

// The way to the journal costs nothing of its own: what owes nothing is written
// nowhere.
func TestEngineJournalAllocatesNothing(t *testing.T) {
	n := mustOpenJournal(t, t.TempDir(), "a:9000", "b:9000")
	j := &engineJournal{Journal: n.journal}
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
