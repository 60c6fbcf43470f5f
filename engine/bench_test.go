package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/http1"
	"github.com/akubra/akubra/limiter"
)

func BenchmarkBuildHead(b *testing.B) {
	raw := []byte("Host: s3.test\r\nUser-Agent: aws-cli/2.15.30 ua/2.0 os/linux#6.1 lang/python#3.11.8\r\n" +
		"X-Amz-Date: 20260401T120000Z\r\nX-Amz-Content-SHA256: UNSIGNED-PAYLOAD\r\nAuthorization: AWS4-HMAC-SHA256 " +
		strings.Repeat("x", 200) + "\r\nContent-Length: 4096\r\nConnection: keep-alive\r\n\r\n")
	target := []byte("/bucket/some/folder/an%20object.jpg?x-id=PutObject")
	added := headers{{"Cache-Control", "public"}}
	dst := make([]byte, 0, 4<<10)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, problem := buildHead(dst[:0], "PUT", target, raw, added); problem != "" {
			b.Fatal(problem)
		}
	}
}

func BenchmarkOverlaps(b *testing.B) {
	o := newOverlaps()
	var next atomic.Uint64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		hash, t := next.Add(1)*0x9e3779b97f4a7c15, turn{}
		for pb.Next() {
			hash += 0x9e3779b97f4a7c15
			o.begin(&t, hash, writer{})
			o.end(&t, 3, true)
			o.leave(&t)
		}
	})
}

// These take everything and keep nothing.
type (
	discardSynclog struct{}
	discardLog     struct{}
	discardMetrics struct{}
)

func (discardSynclog) Record(*Divergence)                             {}
func (discardLog) Warn(string, ...any)                                {}
func (discardLog) AccessEnabled() bool                                { return false }
func (discardLog) Access(*Access)                                     {}
func (discardMetrics) RequestBegun()                                  {}
func (discardMetrics) RequestEnded(string, int, int64, time.Duration) {}
func (discardMetrics) LegEnded(int, LegEnd)                           {}
func (discardMetrics) LegSkipped(int, Class, Result)                  {}
func (discardMetrics) Refused(string)                                 {}
func (discardMetrics) LegsEnded(time.Duration)                        {}
func (discardMetrics) RingWaited(time.Duration)                       {}
func (discardMetrics) Diverged(int, string, string)                   {}
func (discardMetrics) Read(string)                                    {}

// BenchmarkFanOut is the whole way over loopback: a client, the engine and two
// storages, all in this process; so its allocations are the stubs' too. What is
// to be compared is one run with the next.
func BenchmarkFanOut(b *testing.B) {
	eachFanOut(b, func(b *testing.B, request string, size int, get bool) {
		var stores []*stub.Server
		for range 2 {
			s := stub.New(b, stub.KeepRequests(1), stub.BodyLimit(0), stub.NoHash(), stub.KeepBodies(get))
			if get {
				s.Put("/b/k", []byte(pattern(size)))
			}
			stores = append(stores, s)
		}
		r := newRigOn(b, stores, quietly)
		load(b, r.addr, request, size)
		r.settled()
	})
}

// BenchmarkFanOutInMemory has storages that take everything at once and without
// a system call: what is left is the engine and the client's connection.
func BenchmarkFanOutInMemory(b *testing.B) {
	eachFanOut(b, func(b *testing.B, request string, size int, get bool) {
		answer := "HTTP/1.1 200 OK\r\nETag: \"5eb63bbbe01eeed093cb22bb8f5acdc3\"\r\nServer: memory\r\nContent-Length: 0\r\n\r\n"
		if get {
			answer = strings.Replace(answer, "Length: 0", fmt.Sprint("Length: ", size), 1) + pattern(size)
		}
		o, lo := Options{
			Backends:          []Backend{newMemoryBackend("one", answer), newMemoryBackend("two", answer)},
			ConnectionTimeout: time.Minute, StallTimeout: time.Minute, SlotTimeout: time.Minute, RingSize: 256 << 10,
			MaxHeaderSize: 16 << 10, MaxConcurrentRequests: 1000, MaxConnections: 1000, WriteAck: AckFirst,
		}, limiter.Options{Backends: []string{"one", "two"}, ConnLimit: 1000}
		quietly(&o, &lo)
		o.CompareETags = true
		o.Limiter = limiter.New(lo)
		e, err := New(o)
		if err != nil {
			b.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- e.Serve(ln) }()
		load(b, ln.Addr().String(), request, size)
		if err := e.Shutdown(context.Background()); err != nil {
			b.Error(err)
		}
		if err := <-served; err != nil {
			b.Error(err)
		}
	})
}

func quietly(o *Options, _ *limiter.Options) {
	o.Log, o.Synclog, o.Metrics, o.CompareETags = discardLog{}, discardSynclog{}, discardMetrics{}, false
}

func eachFanOut(b *testing.B, run func(b *testing.B, request string, size int, get bool)) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("PUT %dKiB", size>>10), func(b *testing.B) {
			run(b, putRequest("/b/k", pattern(size)), size, false)
		})
	}
	b.Run("GET 4KiB", func(b *testing.B) { run(b, requestFor("GET", "/b/k"), 4<<10, true) })
}

// load sends the request over and over, on a connection a processor.
func load(b *testing.B, addr, request string, size int) {
	message := []byte(request)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer func() { _ = nc.Close() }()
		br := bufio.NewReaderSize(nc, 64<<10)
		for pb.Next() {
			if _, err := nc.Write(message); err != nil {
				b.Error(err)
				return
			}
			if err := skipAnswer(br); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
}

// skipAnswer reads a 200 with a length.
func skipAnswer(br *bufio.Reader) error {
	for have := 0; ; {
		if _, err := br.Peek(have + 1); err != nil {
			return err
		}
		raw, _ := br.Peek(br.Buffered())
		n := http1.HeadEnd(raw)
		if have = len(raw); n == 0 {
			continue
		}
		var a http1.Answer
		if err := a.Parse(raw[:n]); err != nil || a.Status != 200 {
			return fmt.Errorf("answer is %q: %w", raw[:n], err)
		}
		_, err := br.Discard(n + int(a.Length))
		return err
	}
}

// memoryBackend takes everything, and gives the same answer to it.
type memoryBackend struct {
	name   string
	answer string
	mu     sync.Mutex
	idle   []*memoryConn
}

func newMemoryBackend(name, answer string) *memoryBackend {
	return &memoryBackend{name: name, answer: answer}
}

func (b *memoryBackend) Name() string { return b.name }
func (b *memoryBackend) Plain() bool  { return false } // no socket, so nothing to splice into

func (b *memoryBackend) Acquire(bool) (Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.idle); n > 0 {
		c := b.idle[n-1]
		b.idle = b.idle[:n-1]
		return c, nil
	}
	c := &memoryConn{b: b}
	c.reader = bufio.NewReaderSize(c, 16<<10)
	return c, nil
}

type memoryConn struct {
	b      *memoryBackend
	reader *bufio.Reader
}

// Read gives an answer a call: the reader asks once a request.
func (c *memoryConn) Read(p []byte) (int, error)                  { return copy(p, c.b.answer), nil }
func (c *memoryConn) ReadFirst(p []byte, _ bool) (int, error)     { return c.Read(p) }
func (c *memoryConn) Unread([]byte, error)                        {}
func (c *memoryConn) Connect() error                              { return nil }
func (c *memoryConn) Reused() bool                                { return true }
func (c *memoryConn) Alive() bool                                 { return true }
func (c *memoryConn) Reader() *bufio.Reader                       { return c.reader }
func (c *memoryConn) Await(func() func()) bool                    { return false }
func (c *memoryConn) TryWrite(p []byte) (int, error)              { return len(p), nil }
func (c *memoryConn) ReadTimeout(time.Duration)                   {}
func (c *memoryConn) Send(p []byte, _ time.Duration) (int, error) { return len(p), nil }
func (c *memoryConn) SplicePipe(int, int, bool, time.Duration) (int, error) {
	return 0, errors.ErrUnsupported
}
func (c *memoryConn) Unsent() int { return 0 }

func (c *memoryConn) Acknowledged() (bytes uint64, more, again bool) { return 0, false, false }

func (c *memoryConn) Skip(n int64) error { _, err := c.reader.Discard(int(n)); return err }
func (c *memoryConn) Abort()             {}
func (c *memoryConn) AbortWrite()        {}
func (c *memoryConn) Guard(bool)         {}
func (c *memoryConn) Reset()             { c.Discard() }
func (c *memoryConn) Discard()           {}

func (c *memoryConn) Release() {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.b.idle = append(c.b.idle, c)
}
