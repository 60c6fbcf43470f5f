package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// ChunkReader takes the chunked coding off a backend's answer (RFC 9112 §7.1).
// Unlike net/http's it never waits while it has something to give: an answer
// that comes slowly reaches the client as it comes (R3), and each read is
// progress (R11).
type ChunkReader struct {
	From  *bufio.Reader
	left  int64 // of the chunk
	begun bool  // there was a chunk, whose line end is still to be read
	last  bool  // the last chunk was seen
}

// Read gives io.EOF behind the last chunk, before the trailer. An end of the
// stream before that is io.ErrUnexpectedEOF.
func (c *ChunkReader) Read(p []byte) (n int, err error) {
	for n < len(p) && !c.last {
		if c.left == 0 {
			if n > 0 && !c.nextIsThere() {
				return n, nil
			}
			if err := c.next(); err != nil {
				return n, err
			}
			continue
		}
		if n > 0 && c.From.Buffered() == 0 {
			return n, nil
		}
		m, err := c.From.Read(p[n:min(int64(len(p)), int64(n)+c.left)])
		n += m
		c.left -= int64(m)
		if err != nil {
			return n, Unexpected(err)
		}
	}
	if c.last && n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// nextIsThere reports whether next can do without waiting.
func (c *ChunkReader) nextIsThere() bool {
	b, _ := c.From.Peek(c.From.Buffered())
	// The end of this chunk's data, and that of the next one's size: not more of what is
	// there, which is full of chunks.
	end := bytes.IndexByte(b, '\n') + 1
	return end > 0 && bytes.IndexByte(b[end:], '\n') >= 0
}

// next reads up to the data of the next chunk.
func (c *ChunkReader) next() error {
	if c.begun {
		if line, err := c.line(); err != nil {
			return err
		} else if len(line) > 0 {
			return fmt.Errorf("%w: a chunk is longer than its size", ErrAnswer)
		}
	}
	line, err := c.line()
	if err != nil {
		return err
	}
	digits, _, _ := bytes.Cut(line, []byte(";"))
	size, err := strconv.ParseUint(string(bytes.TrimRight(digits, " \t")), 16, 63)
	if err != nil {
		return fmt.Errorf("%w: a chunk's size is no number", ErrAnswer)
	}
	c.begun, c.left, c.last = true, int64(size), size == 0
	return nil
}

func (c *ChunkReader) line() ([]byte, error) {
	line, err := c.From.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("%w: a chunk's size has no end", ErrAnswer)
	}
	if err != nil {
		return nil, Unexpected(err)
	}
	line, _ = CutLine(line)
	return line, nil
}

// Unexpected names the end of a stream in the middle of something.
func Unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
