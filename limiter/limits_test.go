package limiter

import "testing"

// TestR22LimitsChange: ConnLimit and FailureLimit can be raised and lowered under load. Who waits
// is told; slots past a lowered limit stay with their owners.
func TestR22LimitsChange(t *testing.T) {
	r := newRig(t, 2, Options{ConnLimit: 4, FailureLimit: 3})
	var slots [MaxBackends]int32
	begin := func() bool {
		got, ok := r.TryBegin(0, 0b11, &slots)
		return ok && got == 0b11
	}
	for n := range 3 {
		if begin() != (n < 2) {
			t.Fatalf("of 4 connections, request %d for two of them", n+1)
		}
	}
	changed := r.Changed()
	if !r.SetLimits(6, 3) {
		t.Error("6 do not fit into the room")
	}
	select {
	case <-changed:
	default:
		t.Error("who waits at the limit is not told that it was raised")
	}
	if !begin() {
		t.Fatal("the raised limit does not count")
	}
	last := slots
	if begin() {
		t.Fatal("6 connections are not what fits")
	}
	r.SetLimits(2, 1)
	if begin() {
		t.Fatal("a connection past the lowered limit")
	}
	for i := range 2 {
		r.End(i, last[i])
	}
	if begin() {
		t.Fatal("4 are still past the lowered limit")
	}
	if r.Failed(0, 0); len(r.demotions) != 1 {
		t.Errorf("%d demotions after one failure, which is the limit now", len(r.demotions))
	}
	if r.SetLimits(maxLimit, 0) {
		t.Error("more than there is room for fits")
	}
	if r.Failed(1, 0); len(r.demotions) != 1 {
		t.Error("a failure demotes although FailureLimit is off")
	}
	for range 1000 {
		if got, ok := r.TryBegin(0, 0b11, &slots); !ok || got != 0b10 {
			t.Fatalf("got %b, %v under a limit as high as the room", got, ok)
		}
	}
}
