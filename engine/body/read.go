package body

import (
	"errors"

	"github.com/akubra/akubra/engine/ring"
)

// Chunk is what a reader can send next: bytes in memory, or a number of bytes in its pipe.
type Chunk struct {
	Bytes []byte
	Piped int  // bytes in the pipe, if Bytes is empty
	More  bool // more is sure to follow, so the end may be held back until it fills a packet
	Whole bool // this is the whole message, so no Advance is needed after sending it
}

// Len is the chunk's length in bytes.
func (c *Chunk) Len() int { return len(c.Bytes) + c.Piped }

// Skip drops the first n bytes.
func (c *Chunk) Skip(n int) {
	if c.Piped > 0 {
		c.Piped -= n
		c.More = c.More && c.Piped >= MinHeld
		return
	}
	c.Bytes = c.Bytes[n:]
}

// Whole returns the whole message, for any reader, if it is complete and its first byte is still
// there.
func (m *Message) Whole() (c Chunk, ok bool) {
	if m.gathered > 0 {
		return Chunk{Piped: m.gathered, Whole: true}, true
	}
	p, ok := m.Ring.Message()
	return Chunk{Bytes: p, Whole: true}, ok
}

// Next returns what reader i has not consumed yet, as much as is contiguous. It waits if there is
// nothing. Its errors are those of the ring's Next.
func (m *Message) Next(i int) (Chunk, error) {
	p, err := m.Ring.Next(i)
	if err == nil {
		return Chunk{Bytes: p}, nil
	}
	if errors.Is(err, ring.ErrOutside) {
		return m.Pushed(i), nil
	}
	return Chunk{}, err
}

// Pushed returns what is in reader i's pipe. The writer may call it when it sends for that reader.
func (m *Message) Pushed(i int) Chunk {
	n := int(m.Pending(i))
	// More is about bytes still to come; once all of the body has arrived, nothing follows.
	return Chunk{Piped: n, More: n >= MinHeld && m.came.Load() < m.length}
}

// Pipe is the file descriptor from which reader i sends what is Piped.
func (m *Message) Pipe(i int) int { return m.pipes.Reader(i) }

// Emptied records that reader i has sent the whole message.
func (m *Message) Emptied(i int) {
	if m.gathered > 0 {
		m.pipes.Emptied(i)
	}
}

// Refill puts the bytes that reader i has taken out of its pipe back into it, after a Rewind.
func (m *Message) Refill(i int) error {
	if m.gathered == 0 {
		return nil
	}
	return m.pipes.Refill(i, m.gathered)
}
