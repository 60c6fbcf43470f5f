package nonblock_test

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/nonblock"
	"github.com/akubra/akubra/internal/testkit"
)

func pipe(t *testing.T) (r, w int) {
	t.Helper()
	var fds [2]int
	testkit.MustDo(t, unix.Pipe(fds[:]))
	for _, fd := range fds {
		testkit.MustDo(t, unix.SetNonblock(fd, true))
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

func TestSendReceive(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	testkit.MustDo(t, err)
	defer unix.Close(fds[0])
	for _, fd := range fds {
		testkit.MustDo(t, unix.SetNonblock(fd, true))
	}
	buf := make([]byte, 16)
	if n, err := nonblock.Receive(fds[0], buf); n != 0 || err != unix.EAGAIN {
		t.Fatalf("a quiet socket gives %d, %v", n, err)
	}
	if n, err := nonblock.Send(fds[1], []byte("hello")); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := nonblock.Receive(fds[0], buf); err != nil || string(buf[:n]) != "hello" {
		t.Fatalf("%q, %v", buf[:max(n, 0)], err)
	}
	full := bytes.Repeat([]byte("x"), 1<<20)
	for {
		n, err := nonblock.Send(fds[1], full)
		if err == unix.EAGAIN && n == 0 {
			break
		}
		if err != nil || n <= 0 {
			t.Fatal(n, err)
		}
	}
	testkit.MustDo(t, unix.Close(fds[1]))
	if n, err := nonblock.Send(fds[0], []byte("x")); n != 0 || err != unix.EPIPE {
		t.Fatalf("to nobody: %d, %v", n, err)
	}
}

func TestPeek(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	testkit.MustDo(t, err)
	defer unix.Close(fds[0])
	var b [1]byte
	if n, err := nonblock.Peek(fds[0], &b); n != 0 || err != unix.EAGAIN {
		t.Fatalf("a quiet socket gives %d, %v", n, err)
	}
	if _, err := nonblock.Write(fds[1], []byte("x")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it stays
		if n, err := nonblock.Peek(fds[0], &b); n != 1 || err != nil || b[0] != 'x' {
			t.Fatalf("%d, %v: %q", n, err, b[0])
		}
	}
	if _, err := nonblock.Read(fds[0], b[:]); err != nil {
		t.Fatal(err)
	}
	testkit.MustDo(t, unix.Close(fds[1]))
	if n, err := nonblock.Peek(fds[0], &b); n != 0 || err != nil {
		t.Fatalf("the end gives %d, %v", n, err)
	}
}
