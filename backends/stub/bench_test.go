package stub

import (
	"strings"
	"testing"
)

// BenchmarkPut is what a test pays for the stub and the raw client together.
func BenchmarkPut(b *testing.B) {
	s := New(b, KeepBodies(false), KeepRequests(100))
	c := Dial(b, s.Addr())
	request := put("/b/k", strings.Repeat("x", 4<<10), "Authorization: none", "Date: today")
	b.SetBytes(4 << 10)
	b.ReportAllocs()
	for b.Loop() {
		if a := c.Do(request); a.Status != 200 {
			b.Fatal(a.Status)
		}
	}
}
