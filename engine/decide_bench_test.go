package engine

import (
	"syscall"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
)

// BenchmarkConditionalPut4KiB is measured beside BenchmarkPlainPut4KiB: it may take 1.5 of its
// CPU (go test -bench Put4KiB, and the user and system time of each).
func BenchmarkConditionalPut4KiB(b *testing.B) {
	benchPut(b, conditional("PUT", "/b/k", pattern(4<<10), "X-Pad: 1"))
}

func BenchmarkPlainPut4KiB(b *testing.B) { benchPut(b, putRequest("/b/k", pattern(4<<10))) }

func benchPut(b *testing.B, raw string) {
	r := newRigOn(b, []*stub.Server{stub.New(b, stub.KeepBodies(false), stub.KeepRequests(1), stub.NoHash()), stub.New(b, stub.KeepBodies(false), stub.KeepRequests(1), stub.NoHash())})
	c := r.dial()
	b.ReportAllocs()
	cpu := cpuTime(b)
	for b.Loop() {
		if a := c.Do(raw); a.Status != 200 {
			b.Fatal(a.Status)
		}
	}
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "cpu-µs/op")
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
