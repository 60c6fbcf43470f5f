package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// storeCommand starts a storage in this binary.
const storeCommand = "store"

// storeCounts is what a storage has seen, and says at countPath.
type storeCounts struct {
	Puts, Gets int64
	Bytes      int64
}

const (
	countPath = "/.counts"
	sizeParam = "?size=" // GET /key?size=N answers N bytes
	storeETag = `"d41d8cd98f00b204e9800998ecf8427e"`
)

var counts struct{ puts, gets, bytes atomic.Int64 }

// runStore is a storage that keeps nothing. It is as cheap as it gets, so that
// the proxy is what is measured: the kernel throws bodies away (tcp(7),
// MSG_TRUNC), answers are made beforehand.
func runStore(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	go func() { // the parent's end is this process's end
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		nc, err := ln.Accept()
		if err != nil {
			return err
		}
		go serveStore(nc.(*net.TCPConn)) //nolint:forcetypeassert // a TCP listener's
	}
}

var putAnswer = []byte("HTTP/1.1 200 OK\r\nServer: store\r\nETag: " + storeETag + "\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n")

func serveStore(nc *net.TCPConn) {
	defer nc.Close()
	br := bufio.NewReaderSize(nc, 16<<10)
	var scratch []byte // where bodies go that the kernel does not throw away
	for {
		head, err := readHead(br)
		if err != nil {
			return
		}
		method, rest, _ := bytes.Cut(head, []byte(" "))
		target, _, _ := bytes.Cut(rest, []byte(" "))
		switch {
		case string(target) == countPath:
			b, _ := json.Marshal(storeCounts{counts.puts.Load(), counts.gets.Load(), counts.bytes.Load()})
			_, err = fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(b), b)
		case string(method) == "PUT":
			if scratch == nil {
				scratch = make([]byte, 1<<20)
			}
			if err = discardBody(nc, br, scratch, contentLength(head)); err == nil {
				counts.puts.Add(1)
				_, err = nc.Write(putAnswer)
			}
		default:
			counts.gets.Add(1)
			err = sendObject(nc, string(method) == "HEAD", target)
		}
		if err != nil {
			return
		}
	}
}

func readHead(br *bufio.Reader) ([]byte, error) {
	for n := 1; ; n = br.Buffered() + 1 {
		if _, err := br.Peek(n); err != nil {
			return nil, err
		}
		b, _ := br.Peek(br.Buffered())
		if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
			head := append([]byte(nil), b[:i+4]...)
			_, _ = br.Discard(i + 4)
			return head, nil
		}
	}
}

func contentLength(head []byte) int64 {
	i := bytes.Index(bytes.ToLower(head), []byte("\r\ncontent-length:"))
	if i < 0 {
		return 0
	}
	line, _, _ := bytes.Cut(head[i+len("\r\ncontent-length:"):], []byte("\r\n"))
	n, _ := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	return n
}

// discardBody throws n bytes away, those that are not buffered yet in the
// kernel.
func discardBody(nc *net.TCPConn, br *bufio.Reader, scratch []byte, n int64) error {
	counts.bytes.Add(n)
	b := min(n, int64(br.Buffered()))
	_, _ = br.Discard(int(b))
	if n -= b; n == 0 {
		return nil
	}
	raw, err := nc.SyscallConn()
	if err != nil {
		return err
	}
	var rerr error
	err = raw.Read(func(fd uintptr) bool {
		for n > 0 {
			m, _, err := syscall.Recvfrom(int(fd), scratch[:min(n, int64(len(scratch)))], discardFlag)
			switch {
			case err == syscall.EAGAIN:
				return false
			case err == syscall.EINTR:
			case err != nil:
				rerr = err
				return true
			case m == 0:
				rerr = io.ErrUnexpectedEOF
				return true
			default:
				n -= int64(m)
			}
		}
		return true
	})
	if err == nil {
		err = rerr
	}
	return err
}

var zeros = make([]byte, 1<<20)

func sendObject(nc net.Conn, headOnly bool, target []byte) error {
	size := int64(0)
	if _, v, ok := bytes.Cut(target, []byte(sizeParam)); ok {
		size, _ = strconv.ParseInt(string(v), 10, 64)
	}
	head := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nServer: store\r\nETag: %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", storeETag, size)
	if headOnly {
		size = 0
	}
	first := min(size, 64<<10)
	if _, err := nc.Write(append(head, zeros[:first]...)); err != nil {
		return err
	}
	for left := size - first; left > 0; {
		n, err := nc.Write(zeros[:min(left, int64(len(zeros)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

// countStores asks every storage what it has seen.
func countStores(stores []*process) ([]storeCounts, error) {
	client := http.Client{Timeout: 10 * time.Second}
	var all []storeCounts
	for _, s := range stores {
		answer, err := client.Get("http://" + s.addr + countPath)
		if err != nil {
			return nil, err
		}
		var c storeCounts
		err = json.NewDecoder(answer.Body).Decode(&c)
		_ = answer.Body.Close()
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	client.CloseIdleConnections()
	return all, nil
}

// checkStores holds that every storage has seen every request that was sent: a
// peer that drops copies would look fast. Legs in the background may be a
// moment late.
func checkStores(stores []*process, before []storeCounts, sent int64) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		after, err := countStores(stores)
		if err != nil {
			return err
		}
		short := ""
		for i := range after {
			if got := after[i].Puts - before[i].Puts; got < sent {
				short = fmt.Sprintf("storage %d saw %d of %d requests", i+1, got, sent)
			}
		}
		if short == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("copies are missing: %s", short)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
