package engine

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// chunkReader takes the chunked coding off a backend's answer (RFC 9112 §7.1).
// Unlike net/http's it never waits while it has something to give: an answer
// that comes slowly reaches the client as it comes (R3), and each read is
// progress (R11).
type chunkReader struct {
	br    *bufio.Reader
	left  int64 // of the chunk
	begun bool  // there was a chunk, whose line end is still to be read
	last  bool  // the last chunk was seen
}

// Read gives io.EOF behind the last chunk, before the trailer. An end of the
// stream before that is io.ErrUnexpectedEOF.
func (c *chunkReader) Read(p []byte) (n int, err error) {
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
		if n > 0 && c.br.Buffered() == 0 {
			return n, nil
		}
		m, err := c.br.Read(p[n:min(int64(len(p)), int64(n)+c.left)])
		n += m
		c.left -= int64(m)
		if err != nil {
			return n, unexpectedEOF(err)
		}
	}
	if c.last && n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// nextIsThere reports whether next can do without waiting.
func (c *chunkReader) nextIsThere() bool {
	b, _ := c.br.Peek(c.br.Buffered())
	// The end of this chunk's data, and that of the next one's size: not more of what is
	// there, which is full of chunks.
	end := bytes.IndexByte(b, '\n') + 1
	return end > 0 && bytes.IndexByte(b[end:], '\n') >= 0
}

// next reads up to the data of the next chunk.
func (c *chunkReader) next() error {
	if c.begun {
		if line, err := c.line(); err != nil {
			return err
		} else if len(line) > 0 {
			return fmt.Errorf("%w: a chunk is longer than its size", errBadAnswer)
		}
	}
	line, err := c.line()
	if err != nil {
		return err
	}
	digits, _, _ := bytes.Cut(line, []byte(";"))
	size, err := strconv.ParseUint(string(bytes.TrimRight(digits, " \t")), 16, 63)
	if err != nil {
		return fmt.Errorf("%w: a chunk's size is no number", errBadAnswer)
	}
	c.begun, c.left, c.last = true, int64(size), size == 0
	return nil
}

func (c *chunkReader) line() ([]byte, error) {
	line, err := c.br.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("%w: a chunk's size has no end", errBadAnswer)
	}
	if err != nil {
		return nil, unexpectedEOF(err)
	}
	line, _ = cutLine(line)
	return line, nil
}

func unexpectedEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
