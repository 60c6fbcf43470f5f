package nonblock_test

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/nonblock"
	"github.com/akubra/akubra/internal/testkit"
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

// What goes on waits for what comes, and goes with it.
func TestMore(t *testing.T) {
	r, w := pipe(t)
	byPipe := func(splice func(from, to, n int) (int, error)) func(int, []byte) (int, error) {
		return func(socket int, p []byte) (int, error) {
			if _, err := nonblock.Write(w, p); err != nil {
				return 0, err
			}
			return splice(r, socket, len(p))
		}
	}
	for name, tt := range map[string]struct {
		more, last func(int, []byte) (int, error)
	}{
		"Send":   {nonblock.SendMore, nonblock.Send},
		"Splice": {byPipe(nonblock.SpliceMore), byPipe(nonblock.Splice)},
	} {
		t.Run(name, func(t *testing.T) { testMore(t, tt.more, tt.last) })
	}
}

func testMore(t *testing.T, more, last func(socket int, p []byte) (int, error)) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.MustDo(t, err)
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	testkit.MustDo(t, err)
	defer nc.Close()
	held := 0
	err = nonblock.Control(nonblock.Socket(nc), func(socket int) error {
		// It goes by itself after a fifth of a second, and this goroutine may be late.
		for range 20 {
			if n, err := more(socket, make([]byte, 100)); n != 100 || err != nil {
				t.Fatal(n, err)
			}
			n, err := unix.IoctlGetInt(socket, unix.SIOCOUTQNSD)
			if err != nil {
				return err
			}
			held = max(held, n)
			if n, err := last(socket, []byte("x")); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			if n, err = unix.IoctlGetInt(socket, unix.SIOCOUTQNSD); n != 0 || err != nil {
				t.Fatalf("%d bytes are held back behind the end, %v", n, err)
			}
		}
		return nil
	})
	testkit.MustDo(t, err)
	if held != 100 {
		t.Errorf("%d bytes were held back", held)
	}
}
