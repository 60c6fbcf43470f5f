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

// strictChunks is a client's chunked body as the server decodes it, with what stands
// between and behind the chunks looked at before. The server forgives in a trailer what
// it refuses in a head, and what it gives of it does not show that any more: a space
// before a colon, a bare LF, a folded line (R8).
//
// For that it has to know the connection's reader, and whether a chunk has ended; both
// are fields of the server's stream that it shows to nobody.
type strictChunks struct {
	stream io.Reader
	br     *bufio.Reader
	left   reflect.Value // of the chunk
	ended  bool
}

// streamReader and streamLeft are the places of those fields.
var streamReader, streamLeft = streamFields()

// streamFields panics where the library's stream is another one than this was written
// for, which is seen by the first test that runs.
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

// check looks at the next chunk's line, and at the trailer if it is the last one's. What
// is wrong with a size, and control bytes in a value, are for the server to say.
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

// line gives the line that begins at bytes behind what the server has read.
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
