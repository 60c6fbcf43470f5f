package engine

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/http1"
	"github.com/akubra/akubra/s3"
)

// hostileSizes are such that what is linear costs the same a byte in each, and what is
// quadratic sixteen times as much in the last as in the first.
var hostileSizes = []int{4 << 10, 16 << 10, 64 << 10}

func eachHostile(b *testing.B, kinds map[string]func(size int) string, f func(b *testing.B, raw []byte)) {
	for name, make := range kinds {
		for _, size := range hostileSizes {
			b.Run(fmt.Sprintf("%s/%dKiB", name, size>>10), func(b *testing.B) {
				raw := []byte(make(size))
				b.SetBytes(int64(len(raw)))
				b.ReportAllocs()
				f(b, raw)
			})
		}
	}
}

func fill(line string) func(int) string {
	return func(size int) string { return strings.Repeat(line, size/len(line)) }
}

// numbered is a field a line, with names that are alike.
func numbered(size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "x-amz-meta-%05d:\r\n", i)
	}
	return b.String()
}

// BenchmarkHostileRequests are heads made to cost much, as the server and the proxy take
// them (R23).
func BenchmarkHostileRequests(b *testing.B) {
	nominated := "Connection: x-amz-meta-99999" + strings.Repeat(", x-amz-meta-99998", http1.MaxNominees-1) + "\r\n"
	eachHostile(b, map[string]func(int) string{
		"nominees":        func(size int) string { return "Connection: " + fill("a,")(size) + "\r\n" },
		"nominees_fields": func(size int) string { return nominated + numbered(size) },
		"fields":          numbered,
		"empty_fields":    fill("x:\r\n"),
		"one_name":        fill("x-amz-meta-a: b\r\n"),
		"trailers": func(size int) string {
			return strings.NewReplacer("x-amz", "Trailer: x-amz", ":\r", "\r").Replace(numbered(size))
		},
		"cookies": fill("Cookie: a=b\r\n"),
		"codings": fill("Content-Encoding: a\r\n"),
	}, func(b *testing.B, raw []byte) {
		message := append([]byte("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\n"), raw...)
		message = append(message, "\r\n"...)
		src := bytes.NewReader(nil)
		br := bufio.NewReaderSize(src, len(message))
		var h fasthttp.RequestHeader
		var dst []byte
		for b.Loop() {
			src.Reset(message)
			br.Reset(src)
			if err := h.Read(br); err != nil {
				b.Fatal(err)
			}
			dst, _, _ = buildHead(dst[:0], "PUT", h.RequestURI(), h.RawHeaders(), fuzzAdditional)
		}
	})
}

func BenchmarkHostileTargets(b *testing.B) {
	domains := []string{"s3.test", "example.com"}
	eachHostile(b, map[string]func(int) string{
		"parameters": fill("a&"), "empty_parameters": fill("&"), "escapes": fill("%61&"), "tokens": fill("continuation-token=%61&"), "uploads": fill("uploadId=%61&"),
	}, func(b *testing.B, raw []byte) {
		target := append([]byte("/b%61/k?"), raw...)
		for b.Loop() {
			t := s3.ParseTarget(target, []byte("b.s3.test"), domains)
			hashOfTarget(&t)
		}
	})
}

// BenchmarkHostileAnswers are heads of a backend, as one that comes at once is taken.
func BenchmarkHostileAnswers(b *testing.B) {
	nominated := "Connection: x-amz-meta-99999" + strings.Repeat(", x-amz-meta-99998", http1.MaxNominees-1) + "\r\n"
	eachHostile(b, map[string]func(int) string{
		"nominees":        func(size int) string { return "Connection: " + fill("a,")(size) + "\r\n" },
		"nominees_fields": func(size int) string { return nominated + numbered(size) },
		"fields":          numbered,
		"empty_fields":    fill("x:\r\n"),
		"lengths":         fill("Content-Length: 0\r\n"),
	}, func(b *testing.B, raw []byte) {
		message := append([]byte("HTTP/1.1 200 OK\r\n"), raw...)
		message = append(message, "\r\n"...)
		e := &generation{addResponse: fuzzAdditional}
		var dst []byte
		for b.Loop() {
			var a http1.Answer
			if http1.HeadEnd(message) != len(message) {
				b.Fatal("no end")
			}
			if a.Parse(message) == nil {
				dst = e.appendAnswerHead(dst[:0], &a)
			}
		}
	})
}

// BenchmarkHostileChunks are answers in the smallest chunks.
func BenchmarkHostileChunks(b *testing.B) {
	eachHostile(b, map[string]func(int) string{"bytes": fill("1\r\nx\r\n")}, func(b *testing.B, raw []byte) {
		message := append(bytes.Clone(raw), "0\r\n\r\n"...)
		src := bytes.NewReader(nil)
		br := bufio.NewReaderSize(src, len(message))
		buf := make([]byte, 64<<10)
		for b.Loop() {
			src.Reset(message)
			br.Reset(src)
			c := http1.ChunkReader{From: br}
			for {
				if _, err := c.Read(buf); err == io.EOF {
					break
				} else if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// BenchmarkHostileTrailers come in packets of one byte.
func BenchmarkHostileTrailers(b *testing.B) {
	eachHostile(b, map[string]func(int) string{
		"one":    func(size int) string { return "x-a: " + fill("a")(size) + "\r\n" },
		"many":   numbered,
		"medium": fill("x-amz-meta-a: b\r\n"),
	}, func(b *testing.B, raw []byte) {
		message := append(append([]byte("0\r\n"), raw...), "\r\n"...)
		for b.Loop() {
			br := bufio.NewReaderSize(iotest.OneByteReader(bytes.NewReader(message)), len(message))
			var req fasthttp.Request
			req.Header.SetContentLength(-1)
			if err := req.ContinueReadBodyStream(br, 1); err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, newStrictChunks(req.BodyStream())); err != nil {
				b.Fatal(err)
			}
		}
	})
}
