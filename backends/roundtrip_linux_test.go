package backends

import "testing"

// The round trip is known while a connection is idle, and asking for it takes none away.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	if d := p.b.RoundTrip(); d != 0 {
		t.Fatalf("without a connection it is %v", d)
	}
	c, other := p.connect()
	exchange(t, c, other)
	if d := p.b.RoundTrip(); d != 0 {
		t.Fatalf("while none is idle it is %v", d)
	}
	c.Release()
	for range 3 {
		if d := p.b.RoundTrip(); d <= 0 {
			t.Fatalf("over loopback it is %v", d)
		}
	}
	again := acquire(t, p.b, false)
	defer again.Discard()
	if again != c {
		t.Fatal("the idle connection is gone")
	}
	exchange(t, again, other)
}
