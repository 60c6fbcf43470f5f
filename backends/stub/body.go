package stub

import (
	"bufio"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"

	"github.com/akubra/akubra/http1"
)

// bodyReader removes the framing of a body. io.EOF means a proper end, io.ErrUnexpectedEOF a
// connection that ended early.
type bodyReader struct {
	br       *bufio.Reader
	framing  Framing
	left     int64 // of the body or of the chunk
	begun    bool  // a chunk has begun
	ended    bool
	toClose  bool // Unframed runs to the end of the connection: a response
	trailers Headers
}

func (b *bodyReader) Read(p []byte) (int, error) {
	switch {
	case b.ended || b.framing == Unframed && !b.toClose:
		b.ended = true
		return 0, io.EOF
	case b.framing == Unframed:
		return b.br.Read(p)
	case b.framing == ByChunks && b.left == 0:
		if err := b.nextChunk(); err != nil {
			return 0, err
		}
	}
	if b.left == 0 {
		b.ended = true
		return 0, io.EOF
	}
	n, err := b.br.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, http1.Unexpected(err)
}

// nextChunk reads a chunk's size and, after the last chunk, the trailers; left is then 0.
func (b *bodyReader) nextChunk() error {
	if b.begun {
		if end, err := b.line(); err != nil {
			return err
		} else if end != "" {
			return fmt.Errorf("%w: %q after a chunk", ErrMalformed, end)
		}
	}
	b.begun = true
	line, err := b.line()
	if err != nil {
		return err
	}
	size, _, _ := strings.Cut(line, ";")
	n, err := strconv.ParseUint(size, 16, 63)
	if err != nil {
		return fmt.Errorf("%w: chunk size %q", ErrMalformed, line)
	}
	if b.left = int64(n); n > 0 {
		return nil
	}
	raw, err := readHead(b.br)
	if err != nil {
		return http1.Unexpected(err)
	}
	b.trailers, err = parseFields(raw)
	return err
}

// line reads a line that ends with CRLF and returns it without that.
func (b *bodyReader) line() (string, error) {
	line, err := b.br.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("%w: a line over %d bytes", ErrMalformed, len(line))
	}
	if err != nil {
		return "", http1.Unexpected(err)
	}
	text, ok := strings.CutSuffix(string(line), "\r\n")
	if !ok || strings.Contains(text, "\r") {
		return "", fmt.Errorf("%w: line %q does not end with CRLF alone", ErrMalformed, line)
	}
	return text, nil
}

// sink takes a body's bytes, hashes them, and keeps them up to a limit. A connection reuses its
// sink.
type sink struct {
	sha, md5 hash.Hash // nil if nothing is hashed
	n        int64
	limit    int64
	kept     []byte // all of the body while n <= limit
}

func newSink(hashing bool) *sink {
	k := &sink{}
	if hashing {
		k.sha, k.md5 = sha256.New(), md5.New()
	}
	return k
}

// begin prepares for a body of that length, -1 if unknown.
func (k *sink) begin(length, limit int64) {
	if k.sha != nil {
		k.sha.Reset()
		k.md5.Reset()
	}
	k.n, k.limit, k.kept = 0, limit, nil
	if length > 0 && length <= limit {
		k.kept = make([]byte, 0, min(length, 16<<20))
	}
}

func (k *sink) take(p []byte) {
	k.n += int64(len(p))
	if k.sha != nil {
		k.sha.Write(p)
		k.md5.Write(p)
	}
	if k.n <= k.limit {
		k.kept = append(k.kept, p...)
	} else {
		k.kept = nil
	}
}

// content is what the sink knows about the whole body.
func (k *sink) content() Object {
	o := Object{Size: k.n, Body: k.kept}
	if k.sha == nil {
		o.ETag = fmt.Sprintf(`"%032x"`, k.n)
		return o
	}
	o.SHA256 = hex.EncodeToString(k.sha.Sum(nil))
	o.ETag = `"` + hex.EncodeToString(k.md5.Sum(nil)) + `"`
	return o
}
