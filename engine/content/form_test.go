package content

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

const formType = "multipart/form-data; boundary=x"

// formField is a field of such a form.
func formField(disposition, value string) string {
	return "--x\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n" + value + "\r\n"
}

// The form is read alike whatever pieces it comes in.
func TestFormInPieces(t *testing.T) {
	t.Parallel()
	body := formField(`name="a"`, "\r\n") + formField(`name="key"`, "\r\nk ${filename}\r\n") + formField(`name="z"`, "") +
		formField(`name="file"; filename="f.txt"`, "\r\n--not the end\r\n") + "--x--\r\n"
	for name, cut := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader, "halves": iotest.HalfReader, "with its end": iotest.DataErrReader,
	} {
		for _, length := range []int64{-1, int64(len(body))} {
			f := NewForm([]byte(formType), length)
			var keys []string
			size := int64(-1)
			passed := ""
			f.Src = cut(strings.NewReader(body))
			f.Begin = func(key string) error { keys = append(keys, key); return nil }
			f.Ended = func(n int64) { size = n }
			for p := make([]byte, 200); ; {
				n, err := f.Read(p)
				passed += string(p[:n])
				if len(keys) == 0 && len(passed) > strings.Index(body, "f.txt")+200 {
					t.Fatalf("%s: the file begins without its key", name)
				}
				if err != nil {
					break
				}
			}
			if passed != body || len(keys) != 1 || keys[0] != "\r\nk f.txt\r\n" || size != 17 {
				t.Errorf("%s, length %d: keys %q, size %d, passed on as it was: %v", name, length, keys, size, passed == body)
			}
		}
	}
}

func FuzzForm(f *testing.F) {
	f.Add(formType, []byte(formField(`name="key"`, "k")+formField(`name="file"; filename="f.txt"`, "file")+"--x--\r\n"), 7)
	f.Add(formType, []byte("--x\r\n\r\n\r\n--x--\r\n"), 1)
	f.Fuzz(func(t *testing.T, contentType string, body []byte, step int) {
		read := func(step int) (keys []string, size int64) {
			form := NewForm([]byte(contentType), -1)
			if form == nil {
				return nil, 0
			}
			form.Src = bytes.NewReader(body)
			form.Begin = func(key string) error { keys = append(keys, key); return nil }
			form.Ended = func(n int64) { size = n }
			p := make([]byte, step)
			var passed []byte
			for {
				n, err := form.Read(p)
				passed = append(passed, p[:n]...)
				if err != nil {
					break
				}
			}
			if !bytes.Equal(passed, body) || len(keys) != 1 || len(form.buf) > maxFormHead+step {
				t.Fatalf("%d keys, %d bytes of %d, %d kept", len(keys), len(passed), len(body), len(form.buf))
			}
			return keys, size
		}
		if len(body) > maxFormHead/2 {
			return // where it is cut depends on the pieces
		}
		step = 1 + max(step, -step)%300
		if step < 1 {
			return
		}
		keys, size := read(step)
		again, same := read(len(body) + 1)
		if fmt.Sprint(keys) != fmt.Sprint(again) || size != same {
			t.Fatalf("in pieces of %d: %q, %d; at once: %q, %d", step, keys, size, again, same)
		}
	})
}
