package synclog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/akubra/akubra/internal/testkit"
)

func sample() Record {
	return Record{
		Time:   time.Date(2024, 3, 5, 14, 7, 9, 120_000_000, time.FixedZone("", 3600)),
		Method: "PUT", Path: "/bucket/a//b%2Fc?acl", FailedHost: "http://b:9000", SuccessHost: "http://a:9000",
		UserAgent: "aws-cli/2.15", Error: "backend answered 503", Op: "storing", Status: 503,
		Bucket: "bucket", Key: "a//b/c", ETag: `"5d41402a"`, Size: 4096, ID: "18a0-1",
	}
}

func TestR16GoldenLine(t *testing.T) {
	r := sample()
	want := `{"ts":"2024-03-05T13:07:09.120000000Z","method":"PUT","path":"/bucket/a//b%2Fc?acl",` +
		`"failedhost":"http://b:9000","successhost":"http://a:9000","useragent":"aws-cli/2.15",` +
		`"error":"backend answered 503","op":"storing","status":503,"bucket":"bucket","key":"a//b/c",` +
		`"etag":"\"5d41402a\"","size":4096,"id":"18a0-1"}`
	if got := string(r.AppendJSON([]byte("before "))); got != "before "+want {
		t.Errorf("got  %s\nwant before %s", got, want)
	}

	var zero Record
	want = `{"ts":"0001-01-01T00:00:00.000000000Z","method":"","path":"","failedhost":"","successhost":"",` +
		`"useragent":"","error":"","op":"","status":0,"bucket":"","key":"","etag":"","size":0,"id":""}`
	if got := string(zero.AppendJSON(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestR16Escaping(t *testing.T) {
	for _, c := range []struct{ in, text, path string }{
		{"plain ü€😀 <&>", "plain ü€😀 <&>", "plain ü€😀 <&>"},
		{`q"b\`, `q\"b\\`, `q\"b\\`},
		{"\x00\n\x1f\x7f", `\u0000\u000a\u001f\u007f`, `\u0000\u000a\u001f\u007f`},
		{"\u0085\u009b\u00a0", `\u0085\u009b` + "\u00a0", `\u0085\u009b` + "\u00a0"},
		{"\u2028x\u2029", `\u2028x\u2029`, `\u2028x\u2029`},
		{"/\xff/\xc3", `/\ufffdFF/\ufffdC3`, `/%FF/%C3`},
		{"\xff41", `\ufffdFF41`, `%FF41`},
		{"\ufffd", `\ufffd\ufffd`, "\ufffd"},
		{"\ufffdFF", `\ufffd\ufffdFF`, "\ufffdFF"},
		{"\xef\xbf", `\ufffdEF\ufffdBF`, "%EF%BF"},
		{"\xed\xa0\x80", `\ufffdED\ufffdA0\ufffd80`, "%ED%A0%80"}, // a surrogate
	} {
		if got := string(appendString(nil, c.in, false)); got != `"`+c.text+`"` {
			t.Errorf("%q as text: got %s, want %q", c.in, got, c.text)
		}
		if got := string(appendString(nil, c.in, true)); got != `"`+c.path+`"` {
			t.Errorf("%q as path: got %s, want %q", c.in, got, c.path)
		}
	}
}

func TestParseRecordRefuses(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{``, "unexpected end"},
		{`null`, "no \"ts\""},
		{`{}`, "no \"ts\""},
		{`[]`, "cannot unmarshal"},
		{`{"ts":"yesterday"}`, "cannot parse"},
		{`{"ts":"9999-12-31T23:00:00-02:00"}`, "year 10000"},
		{`{"ts":"2024-03-05T13:07:09Z","status":"x"}`, "cannot unmarshal"},
		{`{"ts":"2024-03-05T13:07:09Z"}{"ts":"2024-03-05T13:07:09Z"}`, "after top-level"},
		{`{"ts":"2024-03-05T13:07:09Z","key":"` + "\xff" + `"}`, "UTF-8"},
		{`{"ts":"2024-03-05T13:07:09Z","key":"a\ufffd"}`, `"key" has a U+FFFD`},
		{`{"ts":"2024-03-05T13:07:09Z","key":"\ufffd41"}`, `"key" has a U+FFFD`},
		{`{"ts":"2024-03-05T13:07:09Z","key":"\ufffdfe"}`, `"key" has a U+FFFD`},
		{`{"ts":"2024-03-05T13:07:09Z","useragent":"\udcff"}`, `"useragent" has a U+FFFD`},
	} {
		_, err := ParseRecord([]byte(c.line))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want one with %q", c.line, err, c.want)
		}
	}
	r, err := ParseRecord([]byte(`{"later":[1],"path":"/a�","ts":"2024-03-05T15:07:09+02:00"}` + "\n"))
	testkit.MustDo(t, err)
	want := Record{Time: time.Date(2024, 3, 5, 13, 7, 9, 0, time.UTC), Path: "/a�"}
	if r != want {
		t.Errorf("got %+v, want %+v", r, want)
	}
}

// inLine is what r is after it was written and read.
func inLine(r Record) Record {
	r.Time = time.Unix(0, r.Time.UnixNano()).UTC()
	var path strings.Builder
	for i, c := range r.Path {
		if c == utf8.RuneError && !strings.HasPrefix(r.Path[i:], "\ufffd") {
			fmt.Fprintf(&path, "%%%02X", r.Path[i])
		} else {
			path.WriteRune(c)
		}
	}
	r.Path = path.String()
	return r
}

func FuzzRecord(f *testing.F) {
	f.Add(int64(1709644029123456789), "PUT", "/b/k?acl=\xff", "http://a", "http://b", "ua\xe9\x00", "err\r\n\"", "storing",
		503, "b", "k\xff41\ufffd41\xf0\x9f", `"etag"`, int64(1)<<40, "id")
	f.Add(int64(-1), "", "\ufffd\xef\xbf", "\u2028", "\u0085", "\\", "\x7f", "", -1, "\xed\xa0\x80", "\xc0\xaf", "", int64(-1), "")
	f.Fuzz(func(t *testing.T, ns int64, method, path, failed, success, ua, errText, op string,
		status int, bucket, key, etag string, size int64, id string) {
		r := Record{time.Unix(0, ns), method, path, failed, success, ua, errText, op, status, bucket, key, etag, size, id}
		line := r.AppendJSON(nil)
		if !json.Valid(line) || !utf8.Valid(line) {
			t.Fatalf("not JSON: %q", line)
		}
		if i := bytes.IndexFunc(line, func(c rune) bool { return c < ' ' || c == '\u0085' || c == '\u2028' || c == '\u2029' }); i >= 0 {
			t.Fatalf("not one line, at %d: %q", i, line)
		}
		back, err := ParseRecord(line)
		if err != nil {
			t.Fatalf("%v\n%s", err, line)
		}
		if want := inLine(r); back != want {
			t.Fatalf("got  %#v\nwant %#v\nline %s", back, want, line)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	r := sample()
	f.Add(r.AppendJSON(nil))
	f.Add([]byte(`{"ts":"0000-01-01T00:00:00+01:00","key":"\ufffdFF","path":"\ufffd\udcff"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		first, err := ParseRecord(line)
		if err != nil {
			return
		}
		second, err := ParseRecord(first.AppendJSON(nil))
		if err != nil || second != first {
			t.Fatalf("%#v became %#v, %v", first, second, err)
		}
	})
}
