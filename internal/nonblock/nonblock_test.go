package nonblock_test

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/nonblock"
)

func pipe(t *testing.T) (r, w int) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe(fds[:]); err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
	}
	return fds[0], fds[1]
}

func TestReadWrite(t *testing.T) {
	r, w := pipe(t)
	buf := make([]byte, 16)
	if n, err := nonblock.Read(r, buf); n != 0 || err != unix.EAGAIN {
		t.Fatalf("an empty pipe gives %d, %v", n, err)
	}
	if n, err := nonblock.Write(w, []byte("hello")); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := nonblock.Read(r, buf); err != nil || string(buf[:n]) != "hello" {
		t.Fatalf("%q, %v", buf[:max(n, 0)], err)
	}
	if n, err := nonblock.Write(w, nil); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	full := bytes.Repeat([]byte("x"), 1<<20)
	for {
		n, err := nonblock.Write(w, full)
		if err == unix.EAGAIN && n == 0 {
			break
		}
		if err != nil || n <= 0 {
			t.Fatal(n, err)
		}
	}
	if n, err := nonblock.Read(-1, buf); n != 0 || err != unix.EBADF {
		t.Fatalf("no file gives %d, %v", n, err)
	}
}
