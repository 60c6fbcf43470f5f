package journal

import (
	"errors"
	"io"
)

// scanner reads the records of a segment one after another, and finds the next good one behind
// damage. It takes zeros for what cannot be read from the disk.
type scanner struct {
	f    io.ReaderAt
	size int64
	salt uint32
	off  int64 // of the next record

	buf []byte // what stands at lo
	lo  int64

	// bad is told about bytes that are not a record, with a good one behind them.
	bad func(from, to int64)
	// tail is where the last record ends; after the end, what is between tail and size is not a
	// record. unread: the disk failed somewhere.
	tail   int64
	unread error
}

const (
	scanWindow = 256 << 10
	scanBlock  = 4 << 10 // what is lost where the disk cannot be read
)

// next returns the next record; its payload is valid until the following call.
func (s *scanner) next() (typ byte, payload []byte, off int64, ok bool) {
	from := s.off
	for ; s.off < s.size; s.off++ {
		typ, payload, n := s.record(s.off)
		if n == 0 {
			continue
		}
		if s.off > from {
			s.bad(from, s.off)
		}
		off = s.off
		s.off += int64(n)
		s.tail = s.off
		return typ, payload, off, true
	}
	return 0, nil, 0, false
}

func (s *scanner) record(off int64) (typ byte, payload []byte, n int) {
	n = frameSize(s.at(off, frameLen))
	if n == 0 || off+int64(n) > s.size {
		return 0, nil, 0
	}
	typ, payload, ok := parseFrame(s.at(off, n), s.salt)
	if !ok {
		return 0, nil, 0
	}
	return typ, payload, n
}

// at returns n bytes at off, fewer at the end.
func (s *scanner) at(off int64, n int) []byte {
	n = int(min(int64(n), s.size-off))
	if n <= 0 {
		return nil
	}
	if off < s.lo || off+int64(n) > s.lo+int64(len(s.buf)) {
		window := int(min(s.size-off, int64(max(n, scanWindow))))
		if cap(s.buf) < window {
			s.buf = make([]byte, window)
		}
		s.buf, s.lo = s.buf[:window], off
		s.fill()
	}
	return s.buf[off-s.lo:][:n]
}

func (s *scanner) fill() {
	if readFull(s.f, s.buf, s.lo) == nil {
		return
	}
	for i := 0; i < len(s.buf); i += scanBlock {
		block := s.buf[i:min(i+scanBlock, len(s.buf))]
		if err := readFull(s.f, block, s.lo+int64(i)); err != nil {
			clear(block)
			s.unread = err
		}
	}
}

// readFull reads all of p, or returns an error.
func readFull(f io.ReaderAt, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
