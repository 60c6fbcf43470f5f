package engine

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/engine/ring"
	"github.com/akubra/akubra/http1"
	"github.com/akubra/akubra/internal/testkit"
)

// fuzzAdditional are configured headers, one of them a name that S3 clients use.
var fuzzAdditional = headers{{"Cache-Control", "no-cache"}, {"X-Added", "by the proxy"}}

// rawField is one header line, taken apart by the test's own means.
type rawField struct{ name, value string }

// rawFields takes a head apart, in which every line must end with CR LF.
func rawFields(t *testing.T, head []byte) (first string, fields []rawField) {
	t.Helper()
	text, ok := strings.CutSuffix(string(head), "\r\n\r\n")
	if !ok {
		t.Fatalf("no blank line at the end of %q", head)
	}
	lines := strings.Split(text, "\r\n")
	for i, line := range lines {
		if strings.ContainsAny(line, "\r\n\x00") {
			t.Fatalf("line %q of %q is more than one", line, head)
		}
		if i == 0 {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			t.Fatalf("line %q of %q is no field", line, head)
		}
		fields = append(fields, rawField{name, value})
	}
	return lines[0], fields
}

// expectedFields says once more, in other words, what R2 wants of a request's
// fields.
func expectedFields(sent []rawField) (fields []rawField) {
	drop := []string{"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "expect"}
	never := []string{"host", "content-length"}
	chunked, expect := false, false
	for _, f := range sent {
		name, value := strings.ToLower(f.name), strings.Trim(f.value, " \t")
		switch name {
		case "connection":
			for token := range strings.SplitSeq(value, ",") {
				token = strings.ToLower(strings.Trim(token, " \t"))
				if !slices.Contains(never, token) && token != "close" && token != "keep-alive" {
					drop = append(drop, token)
				}
			}
		case "transfer-encoding":
			chunked = true
		case "expect":
			expect = expect || strings.EqualFold(value, "100-continue")
		}
	}
	for _, f := range sent {
		if !slices.Contains(drop, strings.ToLower(f.name)) {
			fields = append(fields, f)
		}
	}
	passed := slices.Clone(fields)
	for _, h := range fuzzAdditional {
		if !slices.ContainsFunc(passed, func(f rawField) bool { return strings.EqualFold(f.name, h.name) }) {
			fields = append(fields, rawField{h.name, " " + h.value})
		}
	}
	if chunked {
		fields = append(fields, rawField{"Transfer-Encoding", " chunked"}, rawField{"Connection", " close"})
	}
	if expect {
		fields = append(fields, rawField{"Expect", " 100-continue"})
	}
	return fields
}

// parseLikeTheServer gives what readHead gets to see of a request, or nil.
func parseLikeTheServer(data []byte) (h *fasthttp.RequestHeader, rest []byte) {
	br := bufio.NewReaderSize(bytes.NewReader(data), len(data)+16)
	h = new(fasthttp.RequestHeader)
	if h.Read(br) != nil {
		return nil, nil
	}
	if v := string(h.Protocol()); v != "HTTP/1.1" && v != "HTTP/1.0" || string(h.Method()) == "CONNECT" {
		return nil, nil
	}
	rest, _ = io.ReadAll(br)
	return h, rest
}

// FuzzBuildHead: what the server and buildHead let through is one well-formed
// request with the fields that R2 says, and net/http reads the same out of it
// as out of what the client sent (R8).
func FuzzBuildHead(f *testing.F) {
	for _, target := range nastyTargets {
		f.Add([]byte("PUT " + target + " HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 3\r\n\r\nabc"))
	}
	for _, fields := range nastyFields {
		f.Add([]byte("GET /b/k HTTP/1.1\r\nHost: s3.test\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n"))
	}
	for _, fields := range []string{
		"Connection: x-a, host\r\nX-A: b\r\nHost: s3.test\r\n", "Connection: X-added\r\nX-Added: b\r\nHost: s3.test\r\n", "Transfer-Encoding: chunked\r\nHost:s3.test\r\nExpect: 100-continue\r\n",
		"Host: s3.test\r\nX-A: b\n\r\n", "Host: s3.test\r\nX-A: b\r\n c\r\n", "Host: s3.test\nX-A: b\r\n", "cache-control:\r\nhost: a\r\n",
		"Content-Length: 3\r\nHost: h\r\nTransfer-Encoding: identity\r\n", "TE: x\r\nUpgrade: y\r\nKeep-Alive: z\r\nHost: h\r\n",
	} {
		f.Add([]byte("POST /b/k HTTP/1.1\r\n" + fields + "\r\n"))
		f.Add([]byte("POST /b/k HTTP/1.0\r\n" + fields + "\r\n"))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, rest := parseLikeTheServer(data)
		if h == nil {
			return
		}
		out, parsed, problem := buildHead(nil, string(h.Method()), h.RequestURI(), h.RawHeaders(), fuzzAdditional)
		if problem != "" {
			return
		}
		first, got := rawFields(t, out)
		if want := fmt.Sprintf("%s %s HTTP/1.1", h.Method(), h.RequestURI()); first != want {
			t.Fatalf("request line is %q, want %q", first, want)
		}
		_, sent := rawFields(t, append([]byte("\r\n"), h.RawHeaders()...))
		if want := expectedFields(sent); !slices.Equal(got, want) {
			t.Fatalf("fields are\n%q, want\n%q", got, want)
		}
		checkFraming(t, got, &parsed)
		again, _ := parseLikeTheServer(out)
		if again == nil {
			t.Fatalf("the server would refuse %q", out)
		}
		compareWithNetHTTP(t, data, out, rest)
	})
}

// checkFraming: there is one Host, one framing at most, and the proxy sees it so.
func checkFraming(t *testing.T, fields []rawField, h *head) {
	t.Helper()
	count := map[string]int{}
	for _, f := range fields {
		count[strings.ToLower(f.name)]++
		if strings.EqualFold(f.name, "Content-Length") && strings.TrimLeft(strings.Trim(f.value, " \t"), "0") != strings.TrimLeft(fmt.Sprint(h.contentLength), "0") {
			t.Fatalf("length is read as %d: %q", h.contentLength, fields)
		}
	}
	if count["host"] != 1 || count["content-length"]+count["transfer-encoding"] > 1 ||
		(count["content-length"] == 1) != (h.contentLength >= 0) || (count["transfer-encoding"] == 1) != h.chunked {
		t.Fatalf("framing of %q is read as %+v", fields, h)
	}
}

// compareWithNetHTTP holds what goes out against what came in, as net/http reads
// both. It refuses more than S3 keys can bear (raw bytes), and is no oracle then.
func compareWithNetHTTP(t *testing.T, in, out, rest []byte) {
	t.Helper()
	before, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(in)))
	if err != nil {
		return
	}
	after, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(append(slices.Clip(out), rest...))))
	if err != nil {
		t.Fatalf("net/http reads %q, but not what is made of it, %q: %v", in, out, err)
	}
	if before.Method != after.Method || before.RequestURI != after.RequestURI || before.Host != after.Host ||
		before.ContentLength != after.ContentLength || !slices.Equal(before.TransferEncoding, after.TransferEncoding) {
		t.Fatalf("net/http reads %q as %+v, but %q as %+v", in, before, out, after)
	}
	was, errWas := io.ReadAll(before.Body)
	is, errIs := io.ReadAll(after.Body)
	if !bytes.Equal(was, is) || (errWas == nil) != (errIs == nil) {
		t.Fatalf("net/http reads the body %q (%v) before and %q (%v) after", was, errWas, is, errIs)
	}
}

// FuzzAnswerHead: what parse accepts can be sent on, as one well-formed head
// that net/http reads like the one that came.
func FuzzAnswerHead(f *testing.F) {
	for _, raw := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.0 200 OK\r\n\r\nabc", "HTTP/1.1 204\r\nX-A: b\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n0\r\n\r\n", "HTTP/1.1 200 OK\nX: y\n\nabc\r\n\r\n",
		"HTTP/1.1 206 Partial\r\nContent-Range: bytes 1-2/3\r\nSet-Cookie: a\r\nSet-Cookie: b=c\r\nContent-Length: 2\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\nConnection: close, ETag\r\nETag: e\r\nKeep-Alive: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\nDate: x\r\nServer: y\r\nServer: z\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Encoding: a\r\nContent-Encoding: b\r\nContent-Type:\r\nX-Added: c\r\n\r\n",
		"HTTP/1.0 204 \nContent-LEngth:0\n\n",
		"HTTP/1.1 200 OK\r\n folded: x\r\nX : y\r\n: z\r\nX: \x00\r\n\r\n",
	} {
		f.Add([]byte(raw))
	}
	e := &generation{addResponse: fuzzAdditional}
	f.Fuzz(func(t *testing.T, data []byte) {
		n := http1.HeadEnd(data)
		for i := range data {
			if m := http1.HeadEnd(data[:i]); m != 0 && m != n || m > i {
				t.Fatalf("of %d bytes the head's end is %d, of all %d", i, m, n)
			}
		}
		if n == 0 {
			return
		}
		var a http1.Answer
		if a.Parse(data[:n]) != nil || a.Status < 200 {
			return
		}
		if a.Chunked && a.Length >= 0 {
			t.Fatalf("two framings: %+v", a)
		}
		head := e.appendAnswerHead(nil, &a)
		first, fields := rawFields(t, head)
		if !strings.HasPrefix(first, fmt.Sprintf("HTTP/1.1 %d", a.Status)) {
			t.Fatalf("status line is %q", first)
		}
		lengths := 0
		for _, field := range fields {
			switch strings.ToLower(field.name) {
			case "connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "proxy-connection":
				t.Fatalf("%s goes to the client: %q", field.name, head)
			case "content-length":
				lengths++
			}
		}
		if lengths > 1 || lengths == 1 && (a.Length < 0 || a.Status == 204) {
			t.Fatalf("%d lengths, %+v: %q", lengths, a, head)
		}
		compareAnswers(t, data[:n], head)
	})
}

// compareAnswers holds the head that goes out against the one that came in, as
// net/http reads both.
func compareAnswers(t *testing.T, in, out []byte) {
	t.Helper()
	get := &http.Request{Method: "HEAD"}
	before, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(in)), get)
	if err != nil {
		return
	}
	after, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(out)), get)
	if err != nil {
		t.Fatalf("net/http reads %q, but not what is made of it, %q: %v", in, out, err)
	}
	if before.StatusCode != after.StatusCode {
		t.Fatalf("status %d becomes %d", before.StatusCode, after.StatusCode)
	}
	hop := []string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Trailer", "Te", "Upgrade"}
	for line := range strings.SplitSeq(string(in), "\n") {
		// net/http keeps no Connection.
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Connection") {
			for token := range strings.SplitSeq(strings.TrimSuffix(value, "\r"), ",") {
				hop = append(hop, http.CanonicalHeaderKey(strings.Trim(token, " \t")))
			}
		}
	}
	for name, want := range before.Header {
		got := after.Header[name]
		if name == "Content-Length" {
			continue // held above
		}
		if !slices.Contains(hop, name) && !slices.Equal(got, want) {
			t.Fatalf("%s is %q, was %q", name, got, want)
		}
	}
}

// oneRead gives data bit by bit.
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

// FuzzCopyChunk: what comes in goes out, framed as net/http decodes it, wherever
// the ring wraps.
func FuzzCopyChunk(f *testing.F) {
	f.Add([]byte("hello"), uint16(1), uint8(0))
	f.Add([]byte(strings.Repeat("x", 1000)), uint16(9999), uint8(5))
	f.Add([]byte(pattern(900)), uint16(33), uint8(1))
	f.Add([]byte("0\r\n\r\nGET / HTTP/1.1\r\n\r\n"), uint16(7), uint8(2))
	f.Fuzz(func(t *testing.T, body []byte, size uint16, class uint8) {
		rg := ring.Get(ring.Options{Size: 128 << (class % 6), Readers: 1})
		defer rg.Put()
		var out []byte
		r := &request{}
		r.message.Ring = rg
		src := &oneRead{data: body, size: int(size)}
		for total := 0; ; {
			room, err := rg.Reserve()
			testkit.MustDo(t, err)
			n, err := r.copyChunk(room, src)
			if total += n; n > 0 {
				// All of it is read at once, so that there is always room.
				for end := len(out) + n + chunkFrame; len(out) < end; {
					p, err := rg.Next(0)
					testkit.MustDo(t, err)
					out = append(out, p...)
					rg.Advance(0, len(p))
				}
			}
			if err == io.EOF && total == len(body) {
				break
			}
			if err != nil {
				t.Fatalf("after %d of %d bytes: %v", total, len(body), err)
			}
		}
		got, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(append(out, "0\r\n\r\n"...))))
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%d bytes became %d (%v)", len(body), len(got), err)
		}
	})
}

// FuzzStrictChunks: what is let through of a client's chunks is what net/http reads, ends
// where that ends it, and has no line in its trailer but well-formed fields (R8).
func FuzzStrictChunks(f *testing.F) {
	for _, raw := range []string{
		"0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", "5\r\nhello\r\n00;a=b\r\nx-a: b\r\nX-c:d \r\n\r\nx", "5\r\nhel",
		"0\r\nx-a : b\r\n\r\n", "0\r\nx-a: b\n\r\n", "0\r\nx-a: b\r\n c\r\n\r\n", "0\r\nx-a: \x00\r\n\r\n", "0\n\n", "0\r\nHost: h\r\n\r\n",
		"0\r\nx-a: b\r\n", "0\r\n: b\r\n\r\n", "0\r\nx-a: b\rc\r\n\r\n", "0\r\nx a: b\r\n\r\n", "1\r\n0\r\n0\r\n\r\n", "0x0\r\n\r\n",
	} {
		f.Add([]byte(raw), uint16(1))
		f.Add([]byte(raw), uint16(1000))
	}
	f.Fuzz(func(t *testing.T, data []byte, size uint16) {
		br := bufio.NewReaderSize(&oneRead{data: data, size: int(size)}, 4<<10)
		var req fasthttp.Request
		req.Header.SetContentLength(-1)
		req.Header.DisableNormalizing()
		testkit.MustDo(t, req.ContinueReadBodyStream(br, 1))
		got, err := io.ReadAll(newStrictChunks(req.BodyStream()))
		if err != nil {
			return
		}
		rest, _ := io.ReadAll(br)
		trailer := strings.TrimSuffix(string(data), string(rest))
		for last := false; !last; {
			line, behind, _ := strings.Cut(trailer, "\n")
			digits := line[:strings.IndexFunc(line, func(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF", r) })]
			n, err := strconv.ParseInt(digits, 16, 32)
			if last = n == 0; last {
				trailer = behind
			} else if trailer = behind[min(int(n)+2, len(behind)):]; err != nil {
				t.Fatal(err)
			}
		}
		_, fields := rawFields(t, []byte("\r\n"+trailer))
		_, passed := rawFields(t, append([]byte("\r\n"), req.Header.TrailerHeader()...))
		for i := range fields {
			fields[i].value = " " + strings.Trim(fields[i].value, " \t")
		}
		if !slices.Equal(fields, passed) {
			t.Fatalf("of %q the trailer %q is passed on", data, passed)
		}
		theirs := bufio.NewReader(strings.NewReader("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + string(data)))
		r, err := http.ReadRequest(theirs)
		testkit.MustDo(t, err)
		want, err := io.ReadAll(r.Body)
		if err != nil {
			return // it is stricter with names of trailers
		}
		if left, _ := io.ReadAll(theirs); !bytes.Equal(got, want) || !bytes.Equal(rest, left) {
			t.Fatalf("%q is read as %q before %q, by net/http as %q before %q", data, got, rest, want, left)
		}
	})
}

func TestFrameChunk(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 9, 10, 15, 16, 255, 4096, 65535, maxChunk - chunkFrame} {
		b := make([]byte, n+chunkFrame)
		data := []byte(pattern(n))
		copy(b[chunkDigits+2:], data)
		if size := frameChunk(b, n); size != len(b) {
			t.Fatalf("a chunk of %d has %d bytes", n, size)
		}
		got, err := io.ReadAll(httputil.NewChunkedReader(io.MultiReader(bytes.NewReader(b), strings.NewReader("0\r\n\r\n"))))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("a chunk of %d is read as %d bytes (%v)", n, len(got), err)
		}
	}
}
