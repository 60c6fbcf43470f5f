package body

import (
	"errors"

	"github.com/akubra/akubra/engine/ring"
)

// Chunk is what a reader can send next: bytes, or so many of its pipe.
type Chunk struct {
	Bytes []byte
	Piped int  // where there are no Bytes
	More  bool // its end may be held back until a packet is full, for more follows for sure
	Whole bool // it is the whole message: who has sent it need not say so
}

// Len is how many bytes it has.
func (c *Chunk) Len() int { return len(c.Bytes) + c.Piped }

// Skip takes the first n bytes off.
func (c *Chunk) Skip(n int) {
	if c.Piped > 0 {
		c.Piped -= n
		c.More = c.More && c.Piped >= MinHeld
		return
	}
	c.Bytes = c.Bytes[n:]
}

// Whole is the whole message for any reader, if it is complete and can be had from its
// beginning.
func (m *Message) Whole() (c Chunk, ok bool) {
	if m.gathered > 0 {
		return Chunk{Piped: m.gathered, Whole: true}, true
	}
	p, ok := m.Ring.Message()
	return Chunk{Bytes: p, Whole: true}, ok
}

// Next is what reader i has not let go of yet, as much as lies in one piece. It waits
// while there is nothing. Errors are those of the ring's Next.
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

// Pushed is what is in reader i's pipe. The writer may ask where it sends that itself.
func (m *Message) Pushed(i int) Chunk {
	n := int(m.Pending(i))
	// All of it has come: more is about what has not.
	return Chunk{Piped: n, More: n >= MinHeld && m.came.Load() < m.length}
}

// Pipe is the file that reader i sends from what is Piped.
func (m *Message) Pipe(i int) int { return m.pipes.Reader(i) }

// Emptied notes that reader i has sent the whole message.
func (m *Message) Emptied(i int) {
	if m.gathered > 0 {
		m.pipes.Emptied(i)
	}
}

// Refill gives reader i, which was rewound, the bytes back that it has taken out of its
// pipe.
func (m *Message) Refill(i int) error {
	if m.gathered == 0 {
		return nil
	}
	return m.pipes.Refill(i, m.gathered)
}
