// Package body carries one request's message, its head and then its body as it arrives, from the
// client to the backends.
//
// A [Message] knows where its bytes are. They come into a ring (package ring), from which each
// reader takes them. A medium body that arrives without a pause is gathered in pipes (package
// pipes) before the readers learn of it. A large body goes through pipes one batch at a time.
// Neither the writer nor a reader has to know which.
//
// The writer calls Fill (or, for a body that it decodes itself, Reserve, Publish and Write), then
// Close when the message is complete or Cancel when it never will be (R6). A reader calls Next,
// Advance and Rewind (R12). Leave, from any goroutine, and Detach, from the reader's own, take a
// reader out.
//
// Goroutines: the handler's goroutine is the writer until the message ends. It starts the readers
// (Start), at the latest when it has to wait for the client or for memory. Everything else is as in
// package ring.
//
// Ownership: the Message is part of its request. Begin takes memory for it; Put gives the memory
// back once the writer and every reader have stopped.
package body

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/akubra/akubra/engine/pipes"
	"github.com/akubra/akubra/engine/ring"
)

// The ring's errors, for packages that do not import it.
var (
	ErrNoReaders = ring.ErrNoReaders
	ErrCanceled  = ring.ErrCanceled
	ErrLeft      = ring.ErrLeft
)

// ErrPipes tells the writer that a pipe operation has failed, so the message cannot go on.
var ErrPipes = errors.New("cannot copy a body through pipes")

// Client is the client's connection as the writer sees it.
type Client interface {
	// Splice reads some of src, which must be this connection's body, into p. If no byte of src is
	// buffered in memory, it moves bytes to the pipe instead; then only the length of p counts.
	Splice(src io.Reader, p []byte, pipe int) (n int, spliced bool, err error)
	// BeforeSplice registers f, which is called once, before the first byte is moved to a pipe; f
	// may be nil.
	BeforeSplice(f func())
	// StopSplicing makes the read in progress one into memory.
	StopSplicing()
}

// Hooks are what a message needs from its request. They are set once.
type Hooks struct {
	Start  func()                                             // starts the readers
	Push   func()                                             // sends what the readers have in their pipes, as far as that needs no waiting
	Cut    func(reader int)                                   // see ring.Options.OnCut (R10)
	Lag    func(reader int, waited, total time.Duration) bool // see ring.Options.OnLag; may be nil
	Plain  func() bool                                        // reports whether every reader can send from a pipe
	Client Client
	Buffer int // size of the server's read buffer: smaller reads go through it
}

// place is where the next bytes of the message go.
type place uint8

const (
	inRing     place = iota // to the ring, and maybe to pipes later
	inRingOnly              // to the ring: pipes cannot be used or were not available
	gathering               // to the ring, or to the intake (with what came before) if they need not be read
	inIntake                // to the intake, which holds all that came before; no reader has started
	inPipes                 // nothing more comes: the whole message is in the pipes, see gathered
	passing                 // through the pipes, one batch at a time
)

// Message is a message in flight. The package comment says who may call what.
type Message struct {
	*ring.Ring

	h        Hooks
	intakeFn func() // made once

	// pipes carry the body from some point on; nil without. The writer sets them before it tells
	// the readers through the ring.
	pipes *pipes.Set
	// gathered is the size of the message if all of it is in the pipes, from which each reader
	// sends it; the intake keeps a copy. It is set before the readers start.
	gathered int

	// The writer's fields.
	place   place
	started bool
	readers int
	piped   int       // bytes in the intake, before gathered is set
	rest    []byte    // unused room in the ring's memory while gathering
	length  int64     // of the body; -1 if unknown
	left    int64     // bytes of the body still to come
	head    int       // length of the head
	begun   time.Time // when the request arrived
	failed  error     // the error that the writer is to be given

	came   atomic.Int64 // bytes of the body received from the client
	ending atomic.Bool  // see MayBeWhole
}

// Options say how to carry a message.
type Options struct {
	Head         []byte
	Length       int64 // of the body; -1 if unknown
	MaxRing      int   // the most memory for the message, apart from its head
	Readers      int
	StallTimeout time.Duration // R10
	Begun        time.Time
	NoPipes      bool // do not use pipes
	Watched      bool // somebody asks MayBeWhole
}

// Init prepares a message, once; it can then be begun any number of times.
func (m *Message) Init(h Hooks) {
	m.h = h
	m.intakeFn = m.toIntake
}

// Begin takes memory for a message and puts the head into it.
func (m *Message) Begin(o Options) {
	size, total := int64(len(o.Head))+o.Length, int64(0)
	if o.Length < 0 {
		size = int64(o.MaxRing)
	} else {
		total = size
	}
	var ending *atomic.Bool
	if o.Watched {
		ending = &m.ending
	}
	m.Ring = ring.Get(ring.Options{
		Size:         max(ring.SizeFor(size, o.MaxRing), ring.SizeFor(int64(len(o.Head)), 1<<26)),
		Head:         o.Head,
		Readers:      o.Readers,
		StallTimeout: o.StallTimeout,
		Total:        total,
		Ending:       ending,
		OnCut:        m.h.Cut,
		OnLag:        m.h.Lag,
	})
	m.readers, m.length, m.left, m.head, m.begun = o.Readers, o.Length, o.Length, len(o.Head), o.Begun
	if o.NoPipes {
		m.place = inRingOnly
	}
	if o.Length == 0 {
		m.Close()
	}
}

// Put gives the memory back, if any, and resets the message. waited is how long the writer had to
// wait for room.
func (m *Message) Put() (waited time.Duration) {
	if m.Ring != nil {
		waited = m.Waited()
		m.Ring.Put()
	}
	if m.pipes != nil {
		m.pipes.Put()
	}
	m.Ring, m.pipes, m.rest, m.failed = nil, nil, nil, nil
	m.place, m.started, m.gathered, m.piped = inRing, false, 0, 0
	m.came.Store(0)
	m.ending.Store(false)
	return waited
}

// MayBeWhole reports whether a reader may have so much of a watched message that a backend takes it for
// whole. It may be called from any goroutine, also before Begin.
func (m *Message) MayBeWhole() bool { return m.ending.Load() }

// MayEnd notes that, for a body of unknown length: what the writer adds from now on may be its end.
func (m *Message) MayEnd() { m.ending.Store(true) }

// Exists reports whether the message has been begun.
func (m *Message) Exists() bool { return m.Ring != nil }

// Started reports whether the readers have been started. Writer only.
func (m *Message) Started() bool { return m.started }

// Start starts the readers unless they are started already. Writer only.
func (m *Message) Start() {
	if m.started {
		return
	}
	switch m.place {
	case inIntake:
		m.ungather()
	case gathering:
		m.place = inRing
	}
	m.started = true
	m.h.Start()
}

// IsNearlyFull reports whether the ring has little room left, before the readers have started.
// Writer only.
func (m *Message) IsNearlyFull() bool { return m.Size()-len(m.Bytes()) < nearlyFull }

// IsPassing reports whether the next bytes go through pipes. Writer only.
func (m *Message) IsPassing() bool { return m.place == passing }

// BodySize is how much of the body has arrived.
func (m *Message) BodySize() int64 { return m.came.Load() }

// AddBody counts n bytes of a body that the writer decodes itself, and returns how much has
// arrived.
func (m *Message) AddBody(n int) int64 { return m.came.Add(int64(n)) }

func (m *Message) pipesFailed(err error) error { return fmt.Errorf("%w: %w", ErrPipes, err) }
