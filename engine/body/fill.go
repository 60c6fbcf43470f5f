package body

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/akubra/akubra/engine/pipes"
)

// noBytes is the buffer for a read whose bytes move to a pipe: only its length counts. All messages
// share it, and nothing is ever written to it. It may be used only after a spliced read, when the
// server's buffer is empty.
var noBytes = make([]byte, pipes.Batch)

var errNotSpliced = errors.New("bytes were in the server's buffer that should not have been")

var tails = sync.Pool{New: func() any {
	b := make([]byte, tail)
	return &b
}}

// Fill brings a body of known length from the client into the message. It starts the readers on the
// way, unless the whole body arrives at once. If src ends early, that is an error; io.EOF means
// that the client has gone. Bytes that came along with an error are dropped.
func (m *Message) Fill(src io.Reader) error {
	if m.mayGather() {
		if err := m.beginGathering(); err != nil {
			return err
		}
		defer m.h.Client.BeforeSplice(nil)
	}
	for m.left > 0 {
		room, err := m.room()
		if err != nil {
			return m.failure(err)
		}
		n, spliced, err := m.read(src, room)
		m.came.Add(int64(n))
		m.left -= int64(n)
		if err != nil && m.left > 0 {
			return m.failure(err)
		}
		if err := m.add(room[:n], spliced); err != nil {
			return m.failure(err)
		}
	}
	return m.failed
}

// failure returns the cause of err where it was recorded elsewhere (m.failed).
func (m *Message) failure(err error) error {
	if m.failed != nil {
		return m.failed
	}
	return err
}

// room returns where the next bytes go. It waits for room in the ring, but not for pipes to become
// empty: the next bytes may arrive meanwhile.
func (m *Message) room() ([]byte, error) {
	switch m.place {
	case gathering, inIntake:
		return m.rest, nil
	case passing:
		return noBytes[:min(m.left, pipes.Batch)], nil
	}
	// Only readers can empty a full ring.
	if came := m.length - m.left; came >= lazyStart || int64(m.head)+came >= int64(m.Size()) {
		m.Start()
	}
	room, err := m.Reserve()
	return room[:min(int64(len(room)), m.left)], err
}

// read reads what comes next, into p or into the intake.
func (m *Message) read(src io.Reader, p []byte) (n int, spliced bool, err error) {
	first := m.left == m.length && m.place < gathering
	// Fewer bytes than the server's buffer holds would go through that buffer.
	if len(p) >= m.h.Buffer && m.splices() {
		n, spliced, err = m.h.Client.Splice(src, p, m.pipes.Intake())
	} else if m.place == passing {
		n, err = m.readTail(src)
	} else {
		n, err = src.Read(p)
	}
	if first && n == 1 && len(p) > 1 && !spliced && err == nil { // the server had read this byte already (MaxRequestBodySize)
		n, err = src.Read(p[1:])
		n++
	}
	if m.place == passing && n > 0 && !spliced && len(p) >= m.h.Buffer {
		return 0, false, m.pipesFailed(errNotSpliced) // noBytes was written to: it may hold another request's bytes now
	}
	return n, spliced, err
}

// splices reports whether the next bytes may go to a pipe.
func (m *Message) splices() bool {
	return m.place >= gathering || m.left >= MinSpliced && m.takePipes()
}

// readTail reads a rest smaller than the server's buffer and puts it into the intake.
func (m *Message) readTail(src io.Reader) (int, error) {
	buf := tails.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer tails.Put(buf)
	n, err := src.Read((*buf)[:min(m.left, tail)])
	if n > 0 {
		if werr := m.pipes.Write((*buf)[:n]); werr != nil {
			return 0, m.pipesFailed(werr)
		}
	}
	return n, err
}

// add makes the bytes just read part of the message: p, or as many bytes in the intake.
func (m *Message) add(p []byte, spliced bool) error {
	switch m.place {
	case gathering, inIntake:
		return m.gather(p, spliced)
	case passing:
		if err := m.Drain(); err != nil { // until all pipes are empty
			return err
		}
		return m.copyOn(len(p))
	}
	switch {
	case spliced:
		// From now on a stale connection cannot be replaced (R12).
		m.Start()
		m.place = passing
		return m.copyOn(len(p))
	case m.left == 0 && !m.started: // there is no reader yet that could end too early
		m.PublishLast(len(p))
	default:
		m.Publish(len(p))
	}
	return nil
}

// copyOn passes n bytes from the intake to the readers, whose pipes are empty.
func (m *Message) copyOn(n int) error {
	if n == 0 {
		return nil
	}
	readers := m.Attached()
	if readers == 0 {
		return ErrNoReaders
	}
	if err := m.pipes.Copy(readers, n); err != nil {
		return m.pipesFailed(err)
	}
	m.PublishOutside(int64(n))
	m.h.Push()
	return nil
}

// takePipes takes pipes for the message, if it can use them and any are available. It reports
// whether the message has pipes.
func (m *Message) takePipes() bool {
	if m.pipes != nil {
		return true
	}
	if m.place != inRing {
		return false
	}
	m.place = inRingOnly // ask only once
	if !m.h.Plain() {
		return false
	}
	set, err := pipes.Get(m.readers)
	if err != nil {
		return false
	}
	m.pipes, m.place = set, inRing
	return true
}

// dropPipes gives back pipes that failed before any reader used them; they may not be empty.
func (m *Message) dropPipes() {
	m.pipes.Put()
	m.pipes, m.place = nil, inRingOnly
}

// mayGather reports whether the message should be gathered, and if so takes pipes for it. A body of
// MinSpliced or more is gathered only at its beginning, others as a whole. The ring must have room
// for that too, in case gathering has to be undone.
func (m *Message) mayGather() bool {
	n := m.length
	if m.isLarge() {
		n = MinGathered
	}
	return n >= MinGathered && !m.started && int64(m.head)+n <= int64(m.Size()) && m.takePipes()
}

func (m *Message) isLarge() bool { return m.length >= MinSpliced }

// beginGathering prepares for bytes that can be moved without being read to go to the intake before
// the readers start; the readers then send them from there.
func (m *Message) beginGathering() error {
	room, err := m.Reserve()
	if err != nil {
		return err
	}
	m.rest, m.place = room[:min(int64(len(room)), m.length)], gathering
	m.h.Client.BeforeSplice(m.intakeFn)
	return nil
}

// toIntake copies what is in the ring into the intake, just before the first bytes that are moved
// without being read.
func (m *Message) toIntake() {
	if m.place != gathering {
		return
	}
	message := m.Bytes()
	if m.pipes.Write(message) == nil {
		m.piped, m.place = len(message), inIntake
		return
	}
	m.h.Client.StopSplicing()
	m.dropPipes()
}

// gather adds to what has been gathered and checks whether that is enough: all of a medium body,
// any part of a large one. If it takes too long, gathering is undone.
func (m *Message) gather(p []byte, spliced bool) error {
	m.rest = m.rest[len(p):]
	switch {
	case m.place == gathering: // came from the server's buffer
		m.Publish(len(p))
	case spliced || m.pipes.Write(p) == nil:
		m.piped += len(p)
	default:
		m.ungather()
		m.Publish(len(p))
		m.dropPipes()
		return nil
	}
	switch {
	case m.place == gathering:
		if len(m.rest) == 0 {
			m.place = inRing
		}
	case m.isLarge():
		return m.passGathered()
	case m.left == 0:
		m.keepGathered()
	case time.Since(m.begun) > gatherTime:
		m.ungather()
	}
	return nil
}

// passGathered starts the readers on the beginning of a large message.
func (m *Message) passGathered() error {
	if err := m.pipes.Copy(1<<m.readers-1, m.piped); err != nil {
		return m.pipesFailed(err)
	}
	m.MoveOutside(int64(m.piped), false)
	m.piped, m.place = 0, passing
	m.Start()
	return nil
}

// keepGathered gives each reader the whole message and keeps it in the intake as well.
func (m *Message) keepGathered() {
	if m.pipes.Duplicate(1<<m.readers-1, m.piped) != nil {
		m.ungather()
		return
	}
	m.gathered, m.piped, m.place = m.piped, 0, inPipes
	m.MoveOutside(int64(m.gathered), true)
}

// ungather moves what was gathered back into the ring, before any reader has started.
func (m *Message) ungather() {
	m.h.Client.StopSplicing()
	published := m.Bytes()
	if err := m.pipes.ReadBack(published[:m.piped]); err != nil {
		m.failed = m.pipesFailed(err)
		m.Cancel()
	}
	m.Publish(m.piped - len(published))
	m.piped, m.place = 0, inRing
}
