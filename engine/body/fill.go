package body

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/akubra/akubra/engine/pipes"
)

// noBytes is what a read is given that moves its bytes to a pipe: only its length
// counts. All messages share it, and nothing is ever written to it: it may be given only
// after a read that was spliced, when nothing is left in the server's buffer.
var noBytes = make([]byte, pipes.Batch)

var errNotSpliced = errors.New("bytes were in the server's buffer that should not have been")

var tails = sync.Pool{New: func() any {
	b := make([]byte, tail)
	return &b
}}

// Fill brings a body with a length from the client into the message, and starts the
// readers on the way unless all of it comes at once. An end of src before that is an error:
// io.EOF is how a client that has gone looks. What came along with an error is dropped.
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

// failure is the cause of an error, where that shows only afterwards.
func (m *Message) failure(err error) error {
	if m.failed != nil {
		return m.failed
	}
	return err
}

// room is where the next bytes go. It waits for room in the ring, but not for pipes to be
// empty: there the next bytes may come meanwhile.
func (m *Message) room() ([]byte, error) {
	switch m.place {
	case gathering, inIntake:
		return m.rest, nil
	case passing:
		return noBytes[:min(m.left, pipes.Batch)], nil
	}
	// A ring that is full is emptied by readers alone.
	if came := m.length - m.left; came >= LazyStart || int64(m.head)+came >= int64(m.Size()) {
		m.Start()
	}
	room, err := m.Reserve()
	return room[:min(int64(len(room)), m.left)], err
}

// read takes what comes next: to p, or to the intake.
func (m *Message) read(src io.Reader, p []byte) (n int, spliced bool, err error) {
	first := m.left == m.length && m.place < gathering
	// Less than the server's buffer would be read by way of it.
	if len(p) >= m.h.Buffer && m.splices() {
		n, spliced, err = m.h.Client.Splice(src, p, m.pipes.Intake())
	} else if m.place == passing {
		n, err = m.readTail(src)
	} else {
		n, err = src.Read(p)
	}
	if first && n == 1 && len(p) > 1 && !spliced && err == nil { // the server has it from before (MaxRequestBodySize)
		n, err = src.Read(p[1:])
		n++
	}
	if m.place == passing && n > 0 && !spliced && len(p) >= m.h.Buffer {
		return 0, false, m.pipesFailed(errNotSpliced) // some other request's bytes may be among them by now
	}
	return n, spliced, err
}

// splices reports whether the next bytes may go to a pipe.
func (m *Message) splices() bool {
	return m.place >= gathering || m.left >= MinSpliced && m.takePipes()
}

// readTail reads what is less than the server's buffer, and puts it into the intake.
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

// add makes what has come part of the message: p, or as many bytes in the intake.
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
	case m.left == 0 && !m.started: // no reader is there that might end too early
		m.PublishLast(len(p))
	default:
		m.Publish(len(p))
	}
	return nil
}

// copyOn hands n bytes in the intake to the readers, whose pipes are empty.
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

// takePipes takes pipes for the message, if it can use them and there are any. It is true
// where the message has pipes.
func (m *Message) takePipes() bool {
	if m.pipes != nil {
		return true
	}
	if m.place != inRing {
		return false
	}
	m.place = inRingOnly // asked once
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

// dropPipes gives pipes back that failed before any reader has used them: there may be
// something in them.
func (m *Message) dropPipes() {
	m.pipes.Put()
	m.pipes, m.place = nil, inRingOnly
}

// mayGather reports whether the message is to be gathered, and takes pipes for it if so:
// all of it, or the beginning if the body is of MinSpliced or more. The ring has to have
// room for that, in case that it is needed after all.
func (m *Message) mayGather() bool {
	n := m.length
	if m.isLarge() {
		n = MinGathered
	}
	return n >= MinGathered && !m.started && int64(m.head)+n <= int64(m.Size()) && m.takePipes()
}

func (m *Message) isLarge() bool { return m.length >= MinSpliced }

// beginGathering: what need not be read goes to the pipes' intake before the readers
// start, who then send it from there.
func (m *Message) beginGathering() error {
	room, err := m.Reserve()
	if err != nil {
		return err
	}
	m.rest, m.place = room[:min(int64(len(room)), m.length)], gathering
	m.h.Client.BeforeSplice(m.intakeFn)
	return nil
}

// toIntake brings what is in the ring into the intake, right before the first bytes that
// need not be read.
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

// gather adds to what is gathered, and looks whether that is enough: all of a middling
// body, something of a large one. Where it takes too long it is taken back.
func (m *Message) gather(p []byte, spliced bool) error {
	m.rest = m.rest[len(p):]
	switch {
	case m.place == gathering: // it was in the server's buffer
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
	case time.Since(m.begun) > GatherTime:
		m.ungather()
	}
	return nil
}

// passGathered starts the readers with the beginning of a large message.
func (m *Message) passGathered() error {
	if err := m.pipes.Copy(1<<m.readers-1, m.piped); err != nil {
		return m.pipesFailed(err)
	}
	m.MoveOutside(int64(m.piped), false)
	m.piped, m.place = 0, passing
	m.Start()
	return nil
}

// keepGathered gives each reader the whole message, and keeps it in the intake.
func (m *Message) keepGathered() {
	if m.pipes.Duplicate(1<<m.readers-1, m.piped) != nil {
		m.ungather()
		return
	}
	m.gathered, m.piped, m.place = m.piped, 0, inPipes
	m.MoveOutside(int64(m.gathered), true)
}

// ungather takes what was gathered back into the ring, before any reader has started.
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
