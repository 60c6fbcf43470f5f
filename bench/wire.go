package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"sync"
	"syscall"
)

// The little of HTTP/1.1 that load and storages speak. Both see only what this
// program or a server with good manners sends, and must cost next to nothing.

// readHead reads up to and with the empty line, into buf.
func readHead(br *bufio.Reader, buf []byte) ([]byte, error) {
	for n := 1; ; n = br.Buffered() + 1 {
		if _, err := br.Peek(n); err != nil {
			return nil, err
		}
		b, _ := br.Peek(br.Buffered())
		if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
			buf = append(buf[:0], b[:i+4]...)
			_, _ = br.Discard(i + 4)
			return buf, nil
		}
	}
}

// headerValue is the value of the first header of that name, which is given in
// lower case and with its colon; nil if there is none.
func headerValue(head []byte, name string) []byte {
	_, rest, _ := bytes.Cut(head, []byte("\r\n"))
	for len(rest) > 2 {
		line, after, _ := bytes.Cut(rest, []byte("\r\n"))
		if len(line) >= len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return bytes.TrimSpace(line[len(name):])
		}
		rest = after
	}
	return nil
}

// contentLength is -1 where the head has none.
func contentLength(head []byte) int64 {
	v := headerValue(head, "content-length:")
	if v == nil {
		return -1
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
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
