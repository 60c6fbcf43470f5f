package http1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http/httputil"
	"strings"
	"testing"
)

func TestR5AnswerHead(t *testing.T) {
	good := func(h Answer) *Answer { return &h }
	tests := []struct {
		raw  string
		want *Answer // nil: rejected
	}{
		{"HTTP/1.1 200 OK\r\n\r\n", good(Answer{Status: 200, Length: -1})},
		{"HTTP/1.1 200\r\n\r\n", good(Answer{Status: 200, Length: -1})},
		{"HTTP/1.1 599 \r\n\r\n", good(Answer{Status: 599, Length: -1})},
		{"HTTP/1.0 200 OK\r\n\r\n", good(Answer{Changes: true, Status: 200, HTTP10: true, Close: true, Length: -1})},
		{"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", good(Answer{Changes: true, Status: 200, HTTP10: true, Length: -1, names: 1})},
		{"HTTP/1.1 200 OK\r\nconnection: x,, CLOSE\r\n\r\n", good(Answer{Changes: true, Status: 200, Close: true, Length: -1, names: 2, Nominates: true})},
		{"HTTP/1.1 200 OK\r\nConnection: a" + strings.Repeat(",a", MaxNominees) + "\r\n\r\n", nil},
		{"HTTP/1.1 200 OK\r\n" + strings.Repeat("Connection: close\r\n", MaxNominees+1) + "\r\n", nil},
		{"HTTP/1.1 200 OK\r\nA: b\r\nEtag:  \"x\" \r\nETag: \"y\"\r\n\r\n", good(Answer{Status: 200, Length: -1, etag: span{30, 33}})},
		{"HTTP/1.1 200 OK\r\nETag:\r\nEtags: z\r\n\r\n", good(Answer{Status: 200, Length: -1, etag: span{22, 22}})},
		{"HTTP/1.1 200 OK\r\ncontent-LENGTH:  12\t\r\n\r\n", good(Answer{Status: 200, Length: 12})},
		{"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nContent-Length: 12\r\n\r\n", good(Answer{Changes: true, Status: 200, Length: 12})},
		{"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nContent-Length: 13\r\n\r\n", nil},
		{"HTTP/1.1 200 OK\r\nContent-Length: 12, 12\r\n\r\n", nil},
		{"HTTP/1.1 200 OK\r\nContent-Length: +12\r\n\r\n", nil},
		{"HTTP/1.1 200 OK\r\nContent-Length: -0\r\n\r\n", nil},
		{"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", nil},
		{"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\n", nil},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", good(Answer{Changes: true, Status: 200, Chunked: true, Length: -1})},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", good(Answer{Changes: true, Status: 200, Chunked: true, Length: -1})},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", nil},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", nil},
		{"HTTP/1.1 200 OK\r\nX: y\n\r\n", good(Answer{Changes: true, Status: 200, Length: -1})},
		{"HTTP/1.1 200 OK\r\nX: y\r\n\n", good(Answer{Changes: true, Status: 200, Length: -1})},
		{"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", good(Answer{Status: 204, Length: -1})},
		{"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", good(Answer{Changes: true, Status: 204})},
		{"HTTP/1.1 200 OK\r\nkeep-alive: x\r\n\r\n", good(Answer{Changes: true, Status: 200, Length: -1})},
		{"HTTP/1.1 200 OK\r\nUpgrade: x\r\n\r\n", good(Answer{Changes: true, Status: 200, Length: -1})},
		{"HTTP/1.1 200 OK\r\nTrailer: x\r\n\r\n", good(Answer{Changes: true, Status: 200, Length: -1})},
		{"HTTP/1.1 200 OK\r\nContent-Encoding: x\r\n\r\n", good(Answer{Status: 200, Length: -1})},
		{"HTTP/1.1 200 OK\nX: y\n\n", good(Answer{Changes: true, Status: 200, Length: -1})},
		{"HTTP/1.1 200 OK\r\nX\r\n\r\n", nil},
		{"HTTP/1.1 200 OK\r\n: y\r\n\r\n", nil},
		{"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", nil},
		{"HTTP/1.1 200 OK\r\nX: y\r\n z: folded\r\n\r\n", nil},
		{"HTTP/1.1 200 OK\r\nX: y\x00\r\n\r\n", nil},
		{"HTTP/1.1 200 OK\r\nX: y\rZ: w\r\n\r\n", nil},
		{"HTTP/1.1 200 O\rK\r\n\r\n", nil},
		{"HTTP/2.0 200 OK\r\n\r\n", nil},
		{"HTTP/1.1 99 OK\r\n\r\n", nil},
		{"HTTP/1.1 099 OK\r\n\r\n", nil},
		{"HTTP/1.1 600 OK\r\n\r\n", nil},
		{"HTTP/1.1 +20 OK\r\n\r\n", nil},
		{"HTTP/1.1 2000 OK\r\n\r\n", nil},
		{"HTTP/1.1  200 OK\r\n\r\n", nil},
		{"HTTP/1.x 200 OK\r\n\r\n", nil},
		{"ICY 200 OK\r\n\r\n", nil},
		{"\r\n\r\n", nil},
	}
	for _, tt := range tests {
		var got Answer
		err := got.Parse([]byte(tt.raw))
		got.Raw = nil
		switch {
		case tt.want == nil && err == nil:
			t.Errorf("%q is taken for %+v", tt.raw, got)
		case tt.want != nil && (err != nil || fmt.Sprint(got) != fmt.Sprint(*tt.want)):
			t.Errorf("%q is read as %+v (%v), want %+v", tt.raw, got, err, *tt.want)
		}
	}
}

func TestR5HeadEnd(t *testing.T) {
	for raw, want := range map[string]int{
		"":                           0,
		"a\r\n":                      0,
		"a\r\n\r\nb":                 5,
		"a\n\nb":                     3,
		"a\n\r\nb":                   4,
		"a\r\n\nb":                   4,
		"a\n\nbody\r\n\r\n":          3,
		"a\r\nb: c\r\n\r\nbody\n\n":  11,
		"a\r\nb: c\n\nbody\r\n\r\nx": 9,
	} {
		if got := HeadEnd([]byte(raw)); got != want {
			t.Errorf("head of %q ends at %d, want %d", raw, got, want)
		}
	}
}

// A chunk of which a part has arrived is returned at once.
func TestR3ChunksAreNotWaitedFor(t *testing.T) {
	for _, raw := range []string{"a\r\nhello", "5\r\nhello", "5\r\nhello\r\n", "5\r\nhello\r\n7", "2\r\nhe\r\n9\r\nllo", "5\r\nhello\r\n0\r\n"} {
		waits := io.MultiReader(strings.NewReader(raw), readerFunc(func([]byte) (int, error) {
			t.Errorf("%q is waited for", raw)
			return 0, io.EOF
		}))
		c := ChunkReader{From: bufio.NewReader(waits)}
		p := make([]byte, 100)
		if n, err := c.Read(p); string(p[:n]) != "hello" || err != nil {
			t.Errorf("%q gives %q (%v)", raw, p[:n], err)
		}
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// oneRead returns data bit by bit.
type oneRead struct {
	data []byte
	size int
}

func (r *oneRead) Read(p []byte) (int, error) {
	n := copy(p[:min(len(p), max(r.size, 1))], r.data)
	if r.data = r.data[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// FuzzChunkReader: ChunkReader agrees with net/http's reader, however the response is divided into
// packets.
func FuzzChunkReader(f *testing.F) {
	for _, raw := range []string{
		"5\r\nhello\r\n0\r\n\r\n", "5;a=b\r\nhello\r\n3 \r\nabc\r\n0\r\nx: y\r\n\r\n", "0\r\n\r\n", "5\r\nhel", "5\r\nhello0\r\n\r\n",
		"x\r\n", "-1\r\n\r\n", "ffffffffffffffff\r\n", "5\nhello\n0\n\n", "00005\r\nhello\r\n000\r\n\r\n", "",
	} {
		f.Add([]byte(raw), uint16(1), uint16(3))
		f.Add([]byte(raw), uint16(1000), uint16(1000))
	}
	f.Fuzz(func(t *testing.T, data []byte, packet, step uint16) {
		br := bufio.NewReaderSize(&oneRead{data: data, size: int(packet)}, 4096)
		c := &ChunkReader{From: br}
		var got []byte
		var err error
		for p := make([]byte, max(int(step), 1)); err == nil; {
			var n int
			n, err = c.Read(p)
			if n == 0 && err == nil {
				t.Fatal("nothing was read, and no error")
			}
			got = append(got, p[:n]...)
		}
		whole := bufio.NewReader(bytes.NewReader(data))
		want, wantErr := io.ReadAll(httputil.NewChunkedReader(whole))
		// net/http may reject what ChunkReader tolerates (lines with LF alone, too many tiny
		// chunks), but never the other way round.
		switch {
		case wantErr == nil && (err != io.EOF || !bytes.Equal(got, want)):
			t.Fatalf("%q is read as %q (%v), by net/http as %q", data, got, err, want)
		case wantErr != nil && !bytes.HasPrefix(got, want) && !bytes.HasPrefix(want, got):
			t.Fatalf("%q is read as %q (%v), by net/http as %q (%v)", data, got, err, want, wantErr)
		case wantErr == nil:
			behind, _ := io.ReadAll(br)
			if wantBehind, _ := io.ReadAll(whole); !bytes.Equal(behind, wantBehind) {
				t.Fatalf("behind %q is %q, by net/http %q", data, behind, wantBehind)
			}
		}
	})
}

// FuzzHead: a head is parsed within its bounds, each field is one well-formed line, and what a
// response is said to contain is really there.
func FuzzHead(f *testing.F) {
	for _, raw := range []string{
		"HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.0 204 x\nA: b\n\n", "X: y\r\n z: folded\r\n\r\n", "X : y\r\n\r\n", "A:\r\n\r\n", "\r\n",
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for rest := data; len(rest) > 0; {
			line, name, value, after, problem := CutField(rest)
			if problem != "" {
				break
			}
			if len(line)+len(after) != len(rest) || bytes.Count(line, []byte("\n")) != 1 || !bytes.HasSuffix(line, []byte("\r\n")) {
				t.Fatalf("of %q the line is %q", rest, line)
			}
			if name != nil && (!isToken(name) || !bytes.HasPrefix(line, append(bytes.Clone(name), ':')) || !bytes.Equal(bytes.Trim(line[len(name)+1:len(line)-2], " \t"), value)) {
				t.Fatalf("%q is read as %q and %q", line, name, value)
			}
			rest = after
		}
		n := HeadEnd(data)
		var a Answer
		if n == 0 || a.Parse(data[:n]) != nil {
			return
		}
		if a.Status < 100 || a.Status > 599 || a.Chunked && a.Length >= 0 || !bytes.Equal(a.ETag(), Field(a.Raw, "ETag")) {
			t.Fatalf("%q is read as %+v, %q", data[:n], a, a.ETag())
		}
	})
}
