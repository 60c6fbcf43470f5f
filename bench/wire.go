package main

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"sync"
	"syscall"

	"github.com/akubra/akubra/http1"
)

// The part of HTTP/1.1 that load and backends need. Both see only what this program or a well-behaved
// server sends, and must cost next to nothing.

// readHead reads a head, including the empty line, into buf.
func readHead(br *bufio.Reader, buf []byte) ([]byte, error) {
	for n := 1; ; n = br.Buffered() + 1 {
		if _, err := br.Peek(n); err != nil {
			return nil, err
		}
		b, _ := br.Peek(br.Buffered())
		if end := http1.HeadEnd(b); end > 0 {
			buf = append(buf[:0], b[:end]...)
			_, _ = br.Discard(end)
			return buf, nil
		}
	}
}

// contentLength is -1 if the head has none.
func contentLength(head []byte) int64 {
	n, err := strconv.ParseInt(string(http1.Field(head, "Content-Length")), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// discard throws n bytes away; moved, if not nil, is told of them as they come.
// What is not buffered yet the kernel throws away without copying it (tcp(7),
// MSG_TRUNC), if nc is plain TCP.
func discard(nc net.Conn, br *bufio.Reader, n int64, moved func(int)) error {
	tcp, plain := nc.(*net.TCPConn)
	for n > 0 {
		m := int(min(n, 1<<20))
		if plain {
			m = min(m, br.Buffered())
		}
		if m > 0 {
			if _, err := br.Discard(m); err != nil {
				return err
			}
			n -= int64(m)
			if moved != nil {
				moved(m)
			}
		}
		if plain && n > 0 {
			return discardTCP(tcp, n, moved)
		}
	}
	return nil
}

// scratch are buffers to receive into, which systems without discardFlag fill.
var scratch = sync.Pool{New: func() any { b := make([]byte, 1<<20); return &b }}

func discardTCP(nc *net.TCPConn, n int64, moved func(int)) error {
	buf := scratch.Get().(*[]byte) //nolint:forcetypeassert // its New's
	defer scratch.Put(buf)
	raw, err := nc.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		for n > 0 {
			m, _, err := syscall.Recvfrom(int(fd), (*buf)[:min(n, int64(len(*buf)))], discardFlag)
			switch {
			case err == syscall.EAGAIN:
				return false
			case err == syscall.EINTR:
			case err != nil:
				failed = err
				return true
			case m == 0:
				failed = io.ErrUnexpectedEOF
				return true
			default:
				if n -= int64(m); moved != nil {
					moved(m)
				}
			}
		}
		return true
	})
	if err == nil {
		err = failed
	}
	return err
}
