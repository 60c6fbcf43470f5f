package ring

import (
	"bytes"
	"io"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

// Bytes outside the ring follow those inside, and cannot be read twice.
func TestPublishOutside(t *testing.T) {
	r := Get(Options{Size: oddSize, Readers: 2})
	inside := randomBytes(300)
	mustWrite(t, r, inside)
	r.PublishOutside(5000)
	mustTake(t, r, 0, inside[:100])
	if n := r.Pending(0); n != 5000 {
		t.Errorf("%d bytes outside before the first of them, want 5000", n)
	}
	mustTake(t, r, 0, inside[100:])
	mustFail(t, r, 0, ErrOutside)
	r.Advance(0, 4000)
	mustFail(t, r, 0, ErrOutside)
	if n := r.Pending(0); n != 1000 {
		t.Errorf("%d bytes outside are left, want 1000", n)
	}
	if r.Rewind(0) {
		t.Error("a reader was rewound")
	}
	if _, ok := r.Message(); ok {
		t.Error("there is a message in one piece")
	}
	r.Advance(0, 1000)
	r.Close()
	mustFail(t, r, 0, io.EOF)
	mustTake(t, r, 1, inside)
	mustFail(t, r, 1, ErrOutside)
	r.Put()
}

// A stream that was moved outside can be read from its beginning any number of times.
func TestMoveOutside(t *testing.T) {
	r := Get(Options{Size: oddSize, Readers: 2})
	mustWrite(t, r, randomBytes(300))
	r.MoveOutside(5000, true)
	r.Close()
	for i := range 2 {
		mustFail(t, r, 0, ErrOutside)
		if n := r.Pending(0); n != 5000 {
			t.Errorf("round %d: %d bytes outside, want 5000", i, n)
		}
		r.Advance(0, 2000)
		if n := r.Pending(0); n != 3000 {
			t.Errorf("round %d: %d bytes outside are left, want 3000", i, n)
		}
		if !r.Rewind(0) {
			t.Fatal("a reader was not rewound")
		}
	}
	if _, ok := r.Message(); ok {
		t.Error("there is a message in the ring")
	}
	r.Advance(0, 5000)
	mustFail(t, r, 0, io.EOF)
	r.Leave(1)
	mustFail(t, r, 1, ErrLeft)
	r.Put()

	// The next stream finds nothing of it.
	r = Get(Options{Size: oddSize, Readers: 1})
	mustWrite(t, r, []byte("next"))
	mustTake(t, r, 0, []byte("next"))
	r.Put()
}

func TestBytes(t *testing.T) {
	r := Get(Options{Size: oddSize, Readers: 1})
	defer r.Put()
	head, body := randomBytes(100), randomBytes(200)
	mustWrite(t, r, head)
	room, err := r.Reserve()
	testkit.MustDo(t, err)
	copy(room, body)
	p := r.Bytes()
	if !bytes.Equal(p, head) {
		t.Fatalf("%d bytes, want the %d that were published", len(p), len(head))
	}
	if !bytes.Equal(p[:300], append(head, body...)) {
		t.Error("what was reserved is not behind them")
	}
	r.Publish(200)
	if p := r.Bytes(); len(p) != 300 {
		t.Errorf("%d bytes, want 300", len(p))
	}
}
