//go:build !race

package metrics

import (
	"testing"

	"github.com/akubra/akubra/engine"
)

func TestMetricsAllocateNothing(t *testing.T) {
	m := New("v1.2", []string{"a", "b"})
	if n := testing.AllocsPerRun(1000, func() {
		hotPath(m)
		m.RequestEnded("PROPFIND", 9999, 1, 0)
		m.LegEnded(0, engine.LegEnd{Outcome: "exploded", Sent: 1})
		m.LegSkipped(0, engine.ClassWrite, engine.ResultSkipped)
		m.Refused("behind")
		m.Diverged(1, "guessing", "why")
	}); n != 0 {
		t.Fatalf("%v allocations a request, want 0", n)
	}
}
