package engine

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/http1"
)

// strictChunks is a client's chunked body as the server decodes it. It checks what stands between
// and behind the chunks beforehand, because the server tolerates in a trailer what it refuses in a
// head (a space before a colon, a bare LF, a folded line), and its result no longer shows it (R8).
//
// For that it needs the connection's reader and whether a chunk has ended, which are two
// unexported fields of the server's stream.
type strictChunks struct {
	stream io.Reader
	br     *bufio.Reader
	left   reflect.Value // of the chunk
	ended  bool
}

// streamReader and streamLeft are the places of those fields.
var streamReader, streamLeft = streamFields()

// streamFields panics if the library's stream is not the one that this was written for. The first
// test that runs notices.
func streamFields() (reader, left int) {
	var req fasthttp.Request
	req.Header.SetContentLength(-1)
	if err := req.ContinueReadBodyStream(bufio.NewReader(strings.NewReader("")), 1); err != nil {
		panic(fmt.Sprintf("cannot make a stream of fasthttp's: %v", err))
	}
	t := reflect.TypeOf(req.BodyStream()).Elem()
	r, okReader := t.FieldByName("reader")
	l, okLeft := t.FieldByName("chunkLeft")
	if !okReader || !okLeft || r.Type != reflect.TypeFor[*bufio.Reader]() || l.Type != reflect.TypeFor[int]() || len(r.Index)+len(l.Index) != 2 {
		panic("fasthttp's stream of a chunked body has no fields reader and chunkLeft any more")
	}
	return r.Index[0], l.Index[0]
}

func newStrictChunks(stream io.Reader) *strictChunks {
	v := reflect.ValueOf(stream).Elem()
	return &strictChunks{stream: stream, br: (*bufio.Reader)(v.Field(streamReader).UnsafePointer()), left: v.Field(streamLeft)}
}

func (s *strictChunks) Read(p []byte) (int, error) {
	if s.ended {
		return 0, io.EOF
	}
	if s.left.Int() == 0 {
		if err := s.check(); err != nil {
			return 0, err
		}
	}
	n, err := s.stream.Read(p)
	s.ended = err == io.EOF
	return n, err
}

// check looks at the line of the next chunk, and at the trailer if that chunk is the last. Wrong
// sizes and control bytes in values are left to the server.
func (s *strictChunks) check() error {
	line, err := s.line(0)
	if err != nil {
		return err
	}
	if size := bytes.TrimLeft(line, "0"); len(size) == len(line) || http1.Unhex(size[0]) < 16 {
		return nil
	}
	for at := len(line); ; at += len(line) {
		if line, err = s.line(at); err != nil {
			return err
		}
		_, name, value, _, problem := http1.CutField(line)
		switch {
		case problem != "":
		case name == nil:
			return nil
		case new(head).note(name, value) != fieldPlain: // the server knows more of them
			problem = "a field that belongs into the head"
		}
		if problem != "" {
			return badRequest("in the trailer, " + problem)
		}
	}
}

// line returns the line that begins the given number of bytes behind what the server has read.
func (s *strictChunks) line(at int) ([]byte, error) {
	for from := at; ; {
		there, _ := s.br.Peek(s.br.Buffered())
		if i := bytes.IndexByte(there[from:], '\n'); i >= 0 {
			return there[at : from+i+1], nil
		}
		from = len(there)
		if _, err := s.br.Peek(from + 1); errors.Is(err, bufio.ErrBufferFull) {
			return nil, badRequest("a chunk's size or trailer that is too long")
		} else if err != nil {
			return nil, http1.Unexpected(err)
		}
	}
}
