package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// ChunkReader decodes the chunked coding of a backend's response (RFC 9112 §7.1). Unlike net/http's
// reader it never waits while it has something to return: a slow response reaches the client as it
// arrives (R3), and each read counts as progress (R11).
type ChunkReader struct {
	From  *bufio.Reader
	left  int64 // of the current chunk
	begun bool  // after a chunk whose line end has not been read yet
	last  bool  // the last chunk has been seen
}

// Read returns io.EOF after the last chunk, before the trailer. If the stream ends earlier it
// returns io.ErrUnexpectedEOF.
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

// nextIsThere reports whether next can run without waiting.
func (c *ChunkReader) nextIsThere() bool {
	b, _ := c.From.Peek(c.From.Buffered())
	// Look for the end of this chunk's data and the end of the next one's size, and no further: the
	// buffer may be full of chunks.
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
		return fmt.Errorf("%w: a chunk's size is not a number", ErrAnswer)
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

// Unexpected turns io.EOF in the middle of something into io.ErrUnexpectedEOF.
func Unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
