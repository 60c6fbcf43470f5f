package engine

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/akubra/akubra/engine/pipes"
	"github.com/akubra/akubra/engine/ring"
)

// place is where what comes of the message goes.
type place uint8

const (
	inRing     place = iota // what comes next may go to pipes
	inRingOnly              // pipes are out of the question, or there were none
	inIntake                // it is in the pipes' intake, as what came before; no leg has started
	inPipes                 // all of it is in the pipes: see gathered
	passing                 // what is still to come goes through pipes, a batch at a time
)

// message is what goes to the backends: the head, and the body while it comes from the
// client. The handler's goroutine fills it, each leg is a reader of the ring.
type message struct {
	*ring.Ring

	// pipes carry the body from some point on, unless nil. The handler's
	// goroutine sets them, before it tells the legs by way of the ring.
	pipes *pipes.Set
	// gathered is the size of the message if all of it is in the pipes, from where each
	// leg sends it; the intake keeps it. It is set before the legs start.
	gathered int
	place    place // of the handler's goroutine, as gathering
	// gathering is how much is in the intake, before gathered.
	gathering int

	came atomic.Int64 // bytes of body that have come from the client
	made atomic.Int64 // size of the object that an upload by form or in parts makes; 0: not known
	form *form        // of an upload by form, else nil
}

// keepInRing rules pipes out.
func (m *message) keepInRing() { m.place = inRingOnly }

// exists reports whether there is a message yet.
func (m *message) exists() bool { return m.Ring != nil }

// put gives the memory back. waited is how long the client was kept waiting for room.
func (m *message) put() (waited time.Duration) {
	if m.Ring != nil {
		waited = m.Waited()
		m.Put()
	}
	if m.pipes != nil {
		m.pipes.Put()
	}
	return waited
}

// reset forgets it.
func (m *message) reset() {
	m.Ring, m.pipes, m.form = nil, nil, nil
	m.place, m.gathered, m.gathering = inRing, 0, 0
	m.came.Store(0)
	m.made.Store(0)
}

// bodySize is how much of the body has come.
func (m *message) bodySize() int64 { return m.came.Load() }

// isShortOf reports.
func (m *message) isShortOf(size int64) bool { return m.came.Load() < size }

// isGathering reports whether what comes goes to the intake. The handler's goroutine asks.
func (m *message) isGathering() bool { return m.place == inIntake }

// isPassing reports whether the rest of the body goes through pipes. The handler's
// goroutine asks.
func (m *message) isPassing() bool { return m.place == passing }

// whole is the whole message if the legs can send it at once: its bytes, or none
// if it is in the pipes.
func (m *message) whole() (bytes []byte, whole bool) {
	if m.gathered > 0 {
		return nil, true
	}
	return m.Message()
}

// pipe is the pipe that reader i sends from.
func (m *message) pipe(i int) int { return m.pipes.Reader(i) }

// gatheredSize is how long the whole message is if it is in the pipes, or 0.
func (m *message) gatheredSize() int { return m.gathered }

// emptied notes that reader i has taken all that its pipe held.
func (m *message) emptied(i int) { m.pipes.Emptied(i) }

// setMade notes the size of the object that the message makes.
func (m *message) setMade(size int64) { m.made.Store(size) }

// madeSize is that size, or 0 where it is not known.
func (m *message) madeSize() int64 { return m.made.Load() }

// watchForm has a form see the body pass by.
func (m *message) watchForm(f *form) {
	m.form, f.ended = f, m.setMade
	m.keepInRing()
}

// formOf is the body as the form that sees it pass by gives it on.
func (m *message) formOf(body io.Reader) io.Reader {
	m.form.src = body
	return m.form
}

// refill gives reader i, which begins anew, the bytes back that it has taken out of its
// pipe.
func (m *message) refill(i int) error {
	if m.gathered == 0 {
		return nil
	}
	return m.pipes.Refill(i, m.gathered)
}
