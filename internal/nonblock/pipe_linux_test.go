package nonblock_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/nonblock"
)

func TestTeeAndSplice(t *testing.T) {
	r, w := pipe(t)
	r2, w2 := pipe(t)
	r3, w3 := pipe(t)
	if n, err := nonblock.Tee(r, w2, 10); n != 0 || err != unix.EAGAIN {
		t.Fatalf("an empty pipe gives %d, %v", n, err)
	}
	if _, err := nonblock.Write(w, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if n, err := nonblock.Tee(r, w2, 10); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := nonblock.Splice(r, w3, 3); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := nonblock.Splice(r, w3, 10); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	for _, fd := range []int{r2, r3} {
		buf := make([]byte, 10)
		if n, err := nonblock.Read(fd, buf); err != nil || string(buf[:n]) != "hello" {
			t.Fatalf("%q, %v", buf[:max(n, 0)], err)
		}
	}
	if n, err := nonblock.Splice(r, w3, 10); n != 0 || err != unix.EAGAIN {
		t.Fatalf("an emptied pipe gives %d, %v", n, err)
	}
}
