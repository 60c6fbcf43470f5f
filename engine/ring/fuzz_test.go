package ring

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// FuzzOperations runs a sequence of operations, all in one goroutine, against a ring and against a
// model of it that is too simple to be wrong: a stream of known bytes and a few numbers. Operations
// that would block, according to the model, are left out. After each step every reader's unread
// bytes are compared.
func FuzzOperations(f *testing.F) {
	f.Add([]byte{0, 0, 0})
	f.Add([]byte{4, 1, 0, 2, 9, 3, 0, 4, 9, 5, 0, 7, 0, 9, 0, 3, 0})              // write, read, rewind, close, message
	f.Add([]byte{5, 2, 1, 2, 255, 4, 255, 0, 0, 1, 3, 6, 1, 0, 0, 8, 0, 3, 0})    // fill, lag, cut, cancel
	f.Add([]byte{0, 3, 1, 2, 1, 4, 1, 16, 1, 2, 1, 4, 1, 6, 0, 6, 1, 6, 2, 2, 1}) // one byte of memory, all leave
	f.Add([]byte{7, 1, 0, 2, 255, 4, 255, 0, 0, 9, 0, 7, 0, 9, 0})                // pooled; reserved over the first byte
	f.Add(randomBytes(2000))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) < 3 {
			return
		}
		sizes := []int{1, 2, 3, 5, 8, 16, 61, 4096}
		m := newModel(t, sizes[int(in[0])%len(sizes)], 1+int(in[1])%4, in[2]%2 == 1)
		for in = in[3:]; len(in) >= 2; in = in[2:] {
			m.step(in[0], int(in[1]))
			m.check()
		}
		m.ring.Put()
	})
}

// model states what the ring must do.
type model struct {
	t    *testing.T
	ring *Ring

	size, written, reserved int
	pos                     []int // -1: the reader has left
	cuts                    bool  // laggards are cut at once
	cut                     []bool
	room                    []byte // reserved, not yet published
	closed, canceled        bool
}

func newModel(t *testing.T, size, readers int, cuts bool) *model {
	m := &model{t: t, size: size, pos: make([]int, readers), cuts: cuts, cut: make([]bool, readers)}
	o := Options{Size: size, Readers: readers, OnCut: func(i int) {
		if m.cut[i] || m.written-m.pos[i] != m.size {
			t.Errorf("reader %d cut at %d of %d", i, m.pos[i], m.written)
		}
		mustFail(t, m.ring, i, ErrCut)
		m.cut[i], m.pos[i] = true, -1
		m.ring.Detach(i)
	}}
	if cuts {
		o.StallTimeout = 1
	}
	m.ring = Get(o)
	return m
}

// streamBytes returns a part of the stream; no byte equals the one a ring's length before it.
func streamBytes(from, to int) []byte {
	p := make([]byte, to-from)
	for i := range p {
		at := from + i
		p[i] = byte(at*31 + at>>8)
	}
	return p
}

func (m *model) free() int {
	free := m.size
	for _, pos := range m.pos {
		if pos >= 0 {
			free = min(free, m.size-(m.written-pos))
		}
	}
	return free
}

func (m *model) attached() int {
	n := 0
	for _, pos := range m.pos {
		if pos >= 0 {
			n++
		}
	}
	return n
}

// writeError is the error that the writer must get now.
func (m *model) writeError() error {
	switch {
	case m.canceled:
		return ErrCanceled
	case m.attached() == 0:
		return ErrNoReaders
	}
	return nil
}

// idler reports whether some reader has read everything.
func (m *model) idler() bool {
	for _, pos := range m.pos {
		if pos == m.written {
			return true
		}
	}
	return false
}

// piece is how much the reader at pos must get from Next.
func (m *model) piece(pos int) int { return min(m.written-pos, m.size-pos%m.size) }

func (m *model) wrapped() bool { return max(m.written, m.reserved) > m.size }

func (m *model) step(op byte, arg int) {
	i := int(op>>4) % len(m.pos)
	switch op % 16 {
	case 0:
		m.reserve()
	case 1:
		if m.room != nil {
			n := min(arg, len(m.room))
			copy(m.room, streamBytes(m.written, m.written+n))
			m.ring.Publish(n)
			m.written += n
			m.room = nil
		}
	case 2:
		m.write(arg * (m.size/64 + 1))
	case 3, 4, 10, 11: // reading must be the most frequent, or sequences soon run dry
		if m.pos[i] >= 0 && !m.canceled && m.pos[i] < m.written {
			n := min(arg*(m.size/64+1), m.piece(m.pos[i]))
			m.ring.Advance(i, n)
			m.pos[i] += n
		}
	case 5:
		want := m.pos[i] >= 0 && !m.canceled && !m.wrapped()
		if got := m.ring.Rewind(i); got != want {
			m.t.Fatalf("Rewind of reader %d: %v, not %v", i, got, want)
		}
		if want {
			m.pos[i] = 0
		}
	case 6:
		m.ring.Detach(i)
		m.pos[i] = -1
	case 7:
		m.ring.Close()
		m.closed, m.room = true, nil
	case 8:
		m.ring.Cancel()
		m.canceled = m.canceled || !m.closed
	}
}

func (m *model) reserve() {
	if m.closed {
		return
	}
	want := m.writeError()
	if want == nil && m.free() == 0 && !(m.cuts && m.idler()) {
		return // would block
	}
	room, err := m.ring.Reserve() // cuts the laggards, see newModel
	if !errors.Is(err, want) {
		m.t.Fatalf("Reserve: %v, not %v", err, want)
	}
	if err != nil {
		return
	}
	if n := min(m.free(), m.size-m.written%m.size); len(room) != n || n == 0 {
		m.t.Fatalf("Reserve: %d bytes, not %d", len(room), n)
	}
	for i := range room {
		room[i] ^= 0xff // the writer may use the room as it likes
	}
	m.room, m.reserved = room, m.written+len(room)
}

func (m *model) write(n int) {
	if m.closed || n == 0 {
		return
	}
	want := m.writeError()
	if want == nil {
		if n = min(n, m.free()); n == 0 {
			return // would block
		}
	}
	got, err := m.ring.Write(streamBytes(m.written, m.written+n))
	if !errors.Is(err, want) || err == nil && got != n || err != nil && got != 0 {
		m.t.Fatalf("Write of %d: %d, %v, not %v", n, got, err, want)
	}
	m.room = nil
	for got > 0 {
		piece := min(m.free(), m.size-m.written%m.size)
		m.reserved = m.written + piece
		m.written += min(piece, got)
		got -= min(piece, got)
	}
}

// check compares what everyone sees.
func (m *model) check() {
	for i, pos := range m.pos {
		switch {
		case pos < 0:
		case m.canceled:
			mustFail(m.t, m.ring, i, ErrCanceled)
		case pos < m.written:
			p, err := m.ring.Next(i)
			if err != nil || !bytes.Equal(p, streamBytes(pos, pos+m.piece(pos))) {
				m.t.Fatalf("reader %d at %d of %d: %d bytes, %v", i, pos, m.written, len(p), err)
			}
		case m.closed:
			mustFail(m.t, m.ring, i, io.EOF)
		}
	}
	want := m.closed && !m.canceled && !m.wrapped()
	p, ok := m.ring.Message()
	if ok != want || want && !bytes.Equal(p, streamBytes(0, m.written)) {
		m.t.Fatalf("Message: %d bytes, %v, not %v", len(p), ok, want)
	}
	if !m.cuts && m.ring.Waited() != 0 {
		m.t.Fatal("the writer has waited")
	}
}
