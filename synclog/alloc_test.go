//go:build !race

package synclog

import (
	"io"
	"testing"
)

// A sync.Pool drops things at random under the race detector, so this file is
// not built for it.
func TestRecordDoesNotAllocate(t *testing.T) {
	r := sample()
	r.Path, r.Key = "/b/\xff\u2028", "k\xff\ufffd\x00" // every kind of escape
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(1000, func() { buf = r.AppendJSON(buf[:0]) }); n != 0 {
		t.Errorf("AppendJSON allocates %v times", n)
	}
	l := New(Options{Out: io.Discard})
	if n := testing.AllocsPerRun(1000, func() { l.Record(&r) }); n != 0 {
		t.Errorf("Record allocates %v times", n)
	}
}
