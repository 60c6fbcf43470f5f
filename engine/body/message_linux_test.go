package body

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/engine/pipes"
	"github.com/akubra/akubra/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeClient is a client's connection behind the server's buffer: buffered bytes are always read;
// later ones may be moved to a pipe, part by part.
type fakeClient struct {
	t        *testing.T
	m        *Message
	buffered []byte
	rest     []byte
	part     int // how much arrives at a time
	pauseAt  int // after this many bytes of rest the client pauses; -1: never
	end      error

	before func()
	pipe   int
	came   int
}

func (c *fakeClient) BeforeSplice(f func()) { c.before = f }
func (c *fakeClient) StopSplicing()         { c.pipe = 0 }

func (c *fakeClient) Splice(src io.Reader, p []byte, pipe int) (n int, spliced bool, err error) {
	c.pipe = pipe
	if len(c.buffered) > 0 {
		n, err = src.Read(p)
		return n, false, err
	}
	if f := c.before; f != nil {
		c.before = nil
		f()
	}
	c.pause()
	if c.pipe == 0 {
		n, err = src.Read(p)
		return n, false, err
	}
	c.pipe = 0
	n = min(len(c.rest), c.part, len(p))
	if n == 0 {
		return 0, true, c.end
	}
	if n, err = unix.Write(pipe, c.rest[:n]); err != nil {
		c.t.Error(err)
	}
	c.rest = c.rest[n:]
	c.came += n
	return n, true, nil
}

// pause is what the connection does after it has waited for a while: it starts the readers.
func (c *fakeClient) pause() {
	if c.pauseAt >= 0 && c.came >= c.pauseAt {
		c.pauseAt = -1
		c.m.Start()
	}
}

func (c *fakeClient) Read(p []byte) (int, error) {
	if len(c.buffered) > 0 {
		n := copy(p[:1], c.buffered) // the server has already read one byte
		if c.came > 0 {
			n = copy(p, c.buffered)
		}
		c.came += n
		c.buffered = c.buffered[n:]
		return n, nil
	}
	c.pause()
	n := copy(p[:min(len(p), c.part)], c.rest)
	c.rest = c.rest[n:]
	c.came += n
	if n == 0 {
		return 0, c.end
	}
	return n, nil
}

// carrier sends a message to readers that record what they get.
type carrier struct {
	t      *testing.T
	m      Message
	client fakeClient
	got    [][]byte
	errs   []error
	wg     sync.WaitGroup
	pushes bool // the writer empties the pipes
	starts int
}

func newCarrier(t *testing.T, readers int, plain bool) *carrier {
	c := &carrier{t: t, got: make([][]byte, readers), errs: make([]error, readers)}
	c.client = fakeClient{t: t, m: &c.m, part: 1 << 20, pauseAt: -1, end: io.EOF}
	c.m.Init(Hooks{
		Start: func() {
			c.starts++
			if c.m.IsPassing() && c.pushes {
				c.push()
				return
			}
			c.pushes = false
			for i := range readers {
				c.wg.Go(func() { c.read(i) })
			}
		},
		Push: func() {
			if c.pushes {
				c.push()
			}
		},
		Plain:  func() bool { return plain },
		Cut:    func(int) {},
		Client: &c.client,
		Buffer: 16 << 10,
	})
	return c
}

func (c *carrier) read(i int) {
	if whole, ok := c.m.Whole(); ok {
		c.take(i, whole)
		c.m.Emptied(i)
		c.m.Detach(i)
		return
	}
	defer c.m.Detach(i)
	for {
		chunk, err := c.m.Next(i)
		if err != nil {
			c.errs[i] = err
			return
		}
		c.take(i, chunk)
		c.m.Advance(i, chunk.Len())
	}
}

func (c *carrier) push() {
	for i := range c.got {
		chunk := c.m.Pushed(i)
		c.take(i, chunk)
		c.m.Advance(i, chunk.Len())
	}
}

// take records a chunk, in pieces.
func (c *carrier) take(i int, chunk Chunk) {
	more := chunk.More
	for chunk.Len() > 0 {
		if chunk.More && !more {
			c.t.Error("less of a chunk may be held back, all of it may not")
		}
		n := min(chunk.Len(), 100_000)
		if chunk.Piped > 0 {
			p := make([]byte, n)
			var err error
			if n, err = unix.Read(c.m.Pipe(i), p); err != nil {
				c.t.Errorf("%d bytes in a pipe: %v", chunk.Piped, err)
				return
			}
			c.got[i] = append(c.got[i], p[:n]...)
		} else {
			c.got[i] = append(c.got[i], chunk.Bytes[:n]...)
		}
		chunk.Skip(n)
	}
}

// pipesAreFree waits until the next message gets pipes. Other processes of the same user may
// have all that the system allows for a moment.
func pipesAreFree(t *testing.T, readers int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // poll
		set, err := pipes.Get(readers)
		if err == nil {
			set.Put() // these tests run one after the other
			return
		}
		if time.Now().After(end) {
			t.Skip("the system refuses pipes: ", err)
		}
	}
}

func randomBytes(n int) []byte {
	p := make([]byte, n)
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

// Wherever the bytes go, each reader gets the head and the body exactly once.
func TestEveryReaderGetsTheMessage(t *testing.T) {
	head := []byte("PUT /b/k HTTP/1.1\r\n\r\n")
	sizes := []int{1, 100, 4096, MinGathered - 1, MinGathered, 64 << 10, 100_000, MinSpliced - 1, MinSpliced, MinSpliced + 1, 700_000, 1<<20 + 17}
	for _, size := range sizes {
		body := randomBytes(size)
		want := append(bytes.Clone(head), body...)
		for _, buffered := range []int{1, 4000, 16 << 10, 300_000} {
			for _, part := range []int{1 << 20, 50_000, 3000} {
				for _, pauseAt := range []int{-1, 0, 3000, 60_000} {
					for _, kind := range []string{"plain", "pushed", "no pipes", "TLS"} {
						t.Run(fmt.Sprintf("%d/%d/%d/%d/%s", size, buffered, part, pauseAt, kind), func(t *testing.T) {
							c := newCarrier(t, 2, kind != "TLS")
							c.pushes = kind == "pushed"
							c.client.buffered, c.client.rest = body[:min(buffered, size)], body[min(buffered, size):]
							c.client.part, c.client.pauseAt = part, pauseAt
							c.m.Begin(Options{
								Head: head, Length: int64(size), MaxRing: 256 << 10, Readers: 2,
								Begun: time.Now(), NoPipes: kind == "no pipes",
							})
							testkit.MustDo(t, c.m.Fill(&c.client))
							c.m.Close()
							c.m.Start()
							c.wg.Wait()
							for i, got := range c.got {
								if !bytes.Equal(got, want) || c.errs[i] != nil && c.errs[i] != io.EOF {
									t.Errorf("reader %d: %d bytes, %v, want %d", i, len(got), c.errs[i], len(want))
								}
							}
							if c.starts != 1 || c.m.BodySize() != int64(size) {
								t.Errorf("started %d times, %d bytes", c.starts, c.m.BodySize())
							}
							c.m.Put()
						})
					}
				}
			}
		}
	}
}

// R1: a body that comes without a pause, but slowly, does not keep its readers waiting: gathering ends after
// gatherTime, and the readers start once enough has come.
func TestR1GatheringEnds(t *testing.T) {
	for _, c := range []struct {
		age   time.Duration // of the request
		piped bool          // it is gathered to its end
	}{{-time.Hour, true}, {time.Hour, false}} {
		pipesAreFree(t, 1)
		of := newCarrier(t, 1, true)
		body := randomBytes(MinSpliced - 1)
		of.client.rest, of.client.part = body, 30_000
		of.m.Begin(Options{Length: int64(len(body)), MaxRing: 256 << 10, Readers: 1, Begun: time.Now().Add(-c.age)})
		early := false
		start := of.m.h.Start
		of.m.h.Start = func() {
			early = of.m.left > 0
			start()
		}
		testkit.MustDo(t, of.m.Fill(&of.client))
		of.m.Close()
		whole, _ := of.m.Whole()
		of.m.Start()
		of.wg.Wait()
		if early == c.piped || (whole.Piped > 0) != c.piped || !bytes.Equal(of.got[0], body) {
			t.Errorf("%s old: started before the end %v, %d bytes in pipes, %d of %d arrived", c.age, early, whole.Piped, len(of.got[0]), len(body))
		}
		of.m.Put()
	}
}

// R12: a reader that starts again gets a gathered message in full once more.
func TestR12GatheredMessageOnceMore(t *testing.T) {
	pipesAreFree(t, 1)
	c := newCarrier(t, 1, true)
	body := randomBytes(64 << 10)
	c.client.rest = body
	c.m.Begin(Options{Length: int64(len(body)), MaxRing: 256 << 10, Readers: 1, Begun: time.Now()})
	testkit.MustDo(t, c.m.Fill(&c.client))
	c.m.Close()
	whole, ok := c.m.Whole()
	if !ok || whole.Piped != len(body) {
		t.Fatalf("%d bytes in pipes, %v", whole.Piped, ok)
	}
	if _, err := unix.Read(c.m.Pipe(0), make([]byte, 30_000)); err != nil {
		t.Fatal(err)
	}
	if !c.m.Rewind(0) {
		t.Fatal("not rewound")
	}
	testkit.MustDo(t, c.m.Refill(0))
	c.take(0, whole)
	if !bytes.Equal(c.got[0], body) {
		t.Errorf("%d bytes, not all of the message", len(c.got[0]))
	}
	c.m.Put()
}

// R6: a client that goes away leaves the message incomplete, whichever way the bytes go.
func TestR6ClientThatGoesAway(t *testing.T) {
	for _, size := range []int{100, 64 << 10, 1 << 20} {
		for _, came := range []int{1, size / 2, size - 1} {
			c := newCarrier(t, 2, true)
			c.client.rest = randomBytes(size)[:came]
			c.client.part = 30_000
			c.m.Begin(Options{Length: int64(size), MaxRing: 256 << 10, Readers: 2, Begun: time.Now()})
			if err := c.m.Fill(&c.client); !errors.Is(err, io.EOF) {
				t.Errorf("%d of %d bytes: %v", came, size, err)
			}
			if _, ok := c.m.Whole(); ok {
				t.Errorf("%d of %d bytes are a whole message", came, size)
			}
			c.m.Cancel()
			c.wg.Wait()
			for i, got := range c.got {
				if len(got) >= size || c.errs[i] == io.EOF {
					t.Errorf("%d of %d bytes: reader %d got %d, %v", came, size, i, len(got), c.errs[i])
				}
			}
			c.m.Put()
		}
	}
}
