package stub

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/akubra/akubra/http1"
)

// maxHead bounds a head; a peer that sends more is cut off.
const maxHead = 1 << 20

// ErrMalformed is wrapped by the Err of a request that is not proper HTTP/1.1. The parser forgives
// nothing (R8): what a proxy passes on must be beyond doubt.
var ErrMalformed = errors.New("stub: malformed")

// Header is one header line; the name is as sent, the value trimmed.
type Header struct{ Name, Value string }

// Headers are header lines in their order, including repeated ones.
type Headers []Header

// H makes Headers from alternating names and values.
func H(namesAndValues ...string) Headers {
	if len(namesAndValues)%2 != 0 {
		panic("stub: H wants a value for every name")
	}
	var h Headers
	for i := 0; i < len(namesAndValues); i += 2 {
		h = append(h, Header{Name: namesAndValues[i], Value: namesAndValues[i+1]})
	}
	return h
}

// Get returns the first value of a name, in any case, or "".
func (h Headers) Get(name string) string {
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			return h[i].Value
		}
	}
	return ""
}

// Values returns all values of a name, in any case.
func (h Headers) Values(name string) []string {
	var values []string
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			values = append(values, h[i].Value)
		}
	}
	return values
}

// Has reports whether there is such a name, in any case.
func (h Headers) Has(name string) bool {
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			return true
		}
	}
	return false
}

// hasToken reports whether a list header has the token.
func (h Headers) hasToken(name, token string) bool {
	for i := range h {
		if !strings.EqualFold(h[i].Name, name) {
			continue
		}
		for t := range strings.SplitSeq(h[i].Value, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// Framing is how the end of a body is marked.
type Framing int

// The kinds of framing.
const (
	Unframed Framing = iota // no body; in a response: until the connection closes
	ByLength
	ByChunks
)

// readHead reads up to and including the blank line. If the head ends early, it returns what it has
// read along with the error.
func readHead(br *bufio.Reader) (raw []byte, err error) {
	start := 0 // of the current line
	for {
		part, err := br.ReadSlice('\n')
		raw = append(raw, part...)
		switch {
		case err == nil:
		case errors.Is(err, bufio.ErrBufferFull):
			if len(raw) > maxHead {
				return raw, fmt.Errorf("%w: a head over %d bytes", ErrMalformed, maxHead)
			}
			continue
		default:
			return raw, err
		}
		if line := string(raw[start:]); line == "\r\n" || line == "\n" {
			return raw, nil
		}
		if len(raw) > maxHead {
			return raw, fmt.Errorf("%w: a head over %d bytes", ErrMalformed, maxHead)
		}
		start = len(raw)
	}
}

// parseHead splits a head into its first line and its headers.
func parseHead(raw []byte) (first string, headers Headers, err error) {
	line, rest := http1.CutLine(raw)
	if !bytes.HasSuffix(raw[:len(raw)-len(rest)], []byte("\r\n")) || !http1.IsFieldValue(line) {
		return string(line), nil, fmt.Errorf("%w: first line %q", ErrMalformed, line)
	}
	headers, err = parseFields(rest)
	return string(line), headers, err
}

// parseFields reads header lines up to the blank one.
func parseFields(raw []byte) (headers Headers, err error) {
	for {
		line, name, value, rest, problem := http1.CutField(raw)
		switch {
		case problem == "" && name == nil:
			return headers, nil
		case problem == "" && !http1.IsFieldValue(value):
			problem = "control bytes in a header value"
		}
		if problem != "" {
			return headers, fmt.Errorf("%w: %s: %q", ErrMalformed, problem, line)
		}
		headers, raw = append(headers, Header{Name: string(name), Value: string(value)}), rest
	}
}

// parseRequest fills in what the head says.
func (r *Request) parseRequest() error {
	first, headers, err := parseHead(r.RawHead)
	r.Headers = headers
	i, j := strings.IndexByte(first, ' '), strings.LastIndexByte(first, ' ')
	if i > 0 && j > i {
		r.Method, r.Target, r.Proto = first[:i], first[i+1:j], first[j+1:]
	}
	if err != nil {
		return err
	}
	if r.Target == "" || strings.ContainsAny(r.Target, " \t") || r.Proto != "HTTP/1.1" && r.Proto != "HTTP/1.0" {
		return fmt.Errorf("%w: request line %q", ErrMalformed, first)
	}
	if hosts := headers.Values("Host"); len(hosts) > 1 || len(hosts) == 0 && r.Proto == "HTTP/1.1" {
		return fmt.Errorf("%w: %d Host headers", ErrMalformed, len(hosts))
	}
	r.Framing, r.Length, err = parseFraming(headers)
	return err
}

// parseFraming returns how the body is framed; length is -1 unless ByLength.
func parseFraming(headers Headers) (f Framing, length int64, err error) {
	lengths, codings := headers.Values("Content-Length"), headers.Values("Transfer-Encoding")
	switch {
	case len(lengths)+len(codings) > 1:
		return 0, -1, fmt.Errorf("%w: lengths %q with codings %q", ErrMalformed, lengths, codings)
	case len(codings) == 1 && strings.EqualFold(codings[0], "chunked"):
		return ByChunks, -1, nil
	case len(codings) == 1:
		return 0, -1, fmt.Errorf("%w: coding %q", ErrMalformed, codings[0])
	case len(lengths) == 1:
		n, err := strconv.ParseUint(lengths[0], 10, 63)
		if err != nil {
			return 0, -1, fmt.Errorf("%w: length %q", ErrMalformed, lengths[0])
		}
		return ByLength, int64(n), nil
	}
	return Unframed, -1, nil
}
