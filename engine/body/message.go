// Package body carries one request's message from the client to the backends: the head,
// and the body while it comes.
//
// A [Message] knows where its bytes are. They come into a ring (package ring), from which
// each reader takes them; those of a middling body, where they come without a pause, are
// gathered in pipes (package pipes) before the readers hear of them; those of a large one
// go through pipes a batch at a time. Neither the writer nor a reader has to know which.
//
// The writer's verbs are Fill (and for a coding of its own Reserve, Publish and Write), Close
// when the message is complete, and Cancel when it never will be (R6). A reader's are Next, Advance and
// Rewind (R12); it is taken out by Leave, from any goroutine, and by Detach, from its own.
//
// Goroutines: the handler's is the writer, until it is done. It starts the readers (Start),
// at the latest when the client or the memory keeps it waiting. The rest is as package ring
// has it.
//
// Ownership: the Message is part of its request. Begin takes memory for it, Put gives that
// back when the writer and every reader have stopped.
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

// Errors of the ring, for those who do not know it.
var (
	ErrNoReaders = ring.ErrNoReaders
	ErrCanceled  = ring.ErrCanceled
	ErrLeft      = ring.ErrLeft
)

// ErrPipes tells the writer that the system has failed with pipes: the message cannot go on.
var ErrPipes = errors.New("cannot copy a body through pipes")

// Client is the client's connection as the writer uses it.
type Client interface {
	// Splice reads some of src, which is the connection's, to p, or moves it to a pipe if
	// nothing of it waits in memory: then only p's length counts.
	Splice(src io.Reader, p []byte, pipe int) (n int, spliced bool, err error)
	// BeforeSplice has f called once, before the first byte is moved to a pipe. It may be nil.
	BeforeSplice(f func())
	// StopSplicing makes the read under way one to memory.
	StopSplicing()
}

// Hooks are what a message needs of its request. They are set once.
type Hooks struct {
	Start  func()           // starts the readers
	Push   func()           // sends what was handed to the readers in pipes, as far as that takes no waiting
	Cut    func(reader int) // as ring.Options has it (R10)
	Plain  func() bool      // every reader can send from a pipe
	Client Client
	Buffer int // the server's: less than that is read by way of it
}

// place is where what comes next of the message goes.
type place uint8

const (
	inRing     place = iota // to the ring, and maybe to pipes later on
	inRingOnly              // to the ring: pipes are out of the question, or there were none
	gathering               // to the pipes' intake, with what came before, if it need not be read
	inIntake                // to the intake, where all is that came before; no reader has started
	inPipes                 // nothing comes any more: all of it is in the pipes, see gathered
	passing                 // through the pipes, a batch at a time
)

// Message is a message under way. See the package's comment for who may call what.
type Message struct {
	*ring.Ring

	h        Hooks
	intakeFn func() // made once

	// pipes carry the body from some point on, unless nil. The writer sets them, before it
	// tells the readers by way of the ring.
	pipes *pipes.Set
	// gathered is the size of the message if all of it is in the pipes, from where each
	// reader sends it; the intake keeps it. It is set before the readers start.
	gathered int

	// Of the writer.
	place   place
	started bool
	readers int
	piped   int       // how much is in the intake, before gathered
	rest    []byte    // of the ring's memory, while it is being gathered
	length  int64     // of the body; -1 if that is not known
	left    int64     // of it
	head    int       // how long the head is
	begun   time.Time // when the request came
	failed  error     // what the writer is going to be told

	came atomic.Int64 // bytes of body that have come from the client
}

// Options say how a message is to be carried.
type Options struct {
	Head         []byte
	Length       int64 // of the body; -1 if it is not known
	MaxRing      int   // the most memory for the message, but for its head
	Readers      int
	StallTimeout time.Duration // R10
	Begun        time.Time
	NoPipes      bool // they are out of the question
}

// Init makes a message that can be begun again and again.
func (m *Message) Init(h Hooks) {
	m.h = h
	m.intakeFn = m.toIntake
}

// Begin takes memory for a message, and puts the head into it.
func (m *Message) Begin(o Options) {
	size := int64(len(o.Head)) + o.Length
	if o.Length < 0 {
		size = int64(o.MaxRing)
	}
	m.Ring = ring.Get(ring.Options{
		Size:         max(ring.SizeFor(size, o.MaxRing), ring.SizeFor(int64(len(o.Head)), 1<<26)),
		Head:         o.Head,
		Readers:      o.Readers,
		StallTimeout: o.StallTimeout,
		OnCut:        m.h.Cut,
	})
	m.readers, m.length, m.left, m.head, m.begun = o.Readers, o.Length, o.Length, len(o.Head), o.Begun
	if o.NoPipes {
		m.place = inRingOnly
	}
	if o.Length == 0 {
		m.Close()
	}
}

// Put gives the memory back, if there is any, and forgets the message. waited is how long
// the writer was kept waiting for room.
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
	return waited
}

// Exists reports whether the message was begun.
func (m *Message) Exists() bool { return m.Ring != nil }

// Started reports whether the readers were started. The writer asks.
func (m *Message) Started() bool { return m.started }

// Start starts the readers, if they have not been started. The writer calls it.
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

// IsPassing reports whether what comes goes through pipes. The writer asks.
func (m *Message) IsPassing() bool { return m.place == passing }

// BodySize is how much of the body has come.
func (m *Message) BodySize() int64 { return m.came.Load() }

// AddBody counts n bytes of the body that the writer codes itself, and returns how much
// has come.
func (m *Message) AddBody(n int) int64 { return m.came.Add(int64(n)) }

func (m *Message) pipesFailed(err error) error { return fmt.Errorf("%w: %w", ErrPipes, err) }
