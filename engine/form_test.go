package engine

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/engine/outcome"
	"github.com/akubra/akubra/limiter"
	"github.com/akubra/akubra/synclog/task"
)

// formOf is an upload by form: fields as name and value, then the file.
func formOf(filename, file string, fields ...string) (contentType, body string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		_ = w.WriteField(fields[i], fields[i+1])
	}
	f, _ := w.CreateFormFile("file", filename)
	_, _ = io.WriteString(f, file)
	_ = w.Close()
	return w.FormDataContentType(), b.String()
}

func formRequest(path, contentType, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: s3.test\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path, contentType, len(body), body)
}

// redirected is the answer to an upload by form that asks for success_action_redirect.
func redirected(key, etag string) stub.Behaviour {
	to := "http://www.test/done?key=mine&bucket=b&key=" + url.QueryEscape(key) + "&etag=" + url.QueryEscape(etag)
	return stub.Behaviour{Status: 303, Headers: stub.H("Location", to)}
}

// stored is the answer to one that does not.
func stored(status int, location, etag string) stub.Behaviour {
	return stub.Behaviour{Status: status, Headers: stub.H("Location", location, "ETag", etag)}
}

func TestR34FormUploadIsAWriteOfItsKey(t *testing.T) {
	t.Parallel()
	const file = "the file's content"
	const e1 = `"0cc175b9c0f1b6a831c399e269772661"`
	for _, tt := range []struct {
		name, key, filename string
		answer              stub.Behaviour
		want                string
	}{
		{"303", "a/k +1", "f", redirected("a/k +1", e1), "a/k +1"},
		{"204", "k", "f", stored(204, "http://s3.test/b/k", e1), "k"},
		{"201", "k", "f", stored(201, "http://b.s3.test/k", e1), "k"},
		{"200 without a word", "k", "f", stub.Behaviour{Status: 200}, "k"},
		{"the file's name", "up/${filename}", `C:\fakepath\my photo.jpg`, redirected("up/my photo.jpg", e1), "up/my photo.jpg"},
		{"the file's name as it stands", "${filename}", "x", stored(204, "http://s3.test/b/$%7Bfilename%7D", e1), "${filename}"},
		{"slashes taken off", "/k/", "x", stored(204, "http://s3.test/b/k", e1), "/k/"},
		{"of bytes", "\xff\x00%zz", "x", stored(204, "", e1), "\xff\x00%zz"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, 2, withAck(AckAll))
			contentType, body := formOf(tt.filename, file, "policy", "p", "Key", tt.key, "success_action_redirect", "http://www.test/done?key=mine")
			for _, s := range r.stores {
				s.Behave(tt.answer)
			}
			wantStatus(t, r.dial().Do(formRequest("/b", contentType, body)), tt.answer.Status)
			r.wantOwing()
			r.wantNoRecords()

			// One refuses it: that is a divergence of the object.
			r = newRigOn(t, r.stores)
			r.stores[1].Behave(stub.Fails(403))
			wantStatus(t, r.dial().Do(formRequest("/b", contentType, body)), tt.answer.Status)
			list := r.wantOwing("POST " + tt.want + " 10 answered 403")
			if e := list[0]; string(e.Bucket) != "b" || e.Size != int64(len(file)) || e.Aspect != task.Content || e.Unacknowledged ||
				tt.name != "200 without a word" && string(e.ETag) != strings.Trim(e1, `"`) {
				t.Errorf("owed: %+v", e)
			}
			d := r.settled()
			if len(d) != 1 || d[0].Key != tt.want || d[0].Bucket != "b" || d[0].Size != int64(len(file)) ||
				d[0].FailedHost != r.host(1) || d[0].Status != 403 {
				t.Fatalf("recorded: %+v", d)
			}
		})
	}
}

// Only what is such an upload, and is answered so.
func TestR34OtherRedirectionsArePositiveOfNoWrite(t *testing.T) {
	t.Parallel()
	contentType, form := formOf("f", "x", "key", "k")
	for name, tt := range map[string]struct {
		request string
		status  int
	}{
		"307 to a form":     {formRequest("/b", contentType, form), 307},
		"301 to a form":     {formRequest("/b", contentType, form), 301},
		"303 to a PUT":      {putRequest("/b/k", "x"), 303},
		"303 to no form":    {formRequest("/b", "text/plain", form), 303},
		"303 to a POST":     {formRequest("/b/k", contentType, form), 303},
		"303 to no content": {"POST /b HTTP/1.1\r\nHost: s3.test\r\nContent-Type: " + contentType + "\r\nContent-Length: 0\r\n\r\n", 303},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2)
			r.stores[0].Behave(stub.Fails(503))
			r.stores[1].Behave(stub.Behaviour{Status: tt.status, Headers: stub.H("Location", "/")})
			a := r.dial().Do(tt.request)
			if a.Status != tt.status && a.Status != 503 {
				t.Fatalf("answer is %d", a.Status)
			}
			r.wantNoRecords()
		})
	}
}

// A storage that does not know what ${filename} stands for has another object than the
// other one.
func TestR34StoredUnderAnotherKey(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, withAck(AckAll))
	contentType, body := formOf("x.jpg", "file", "key", "${filename}")
	gate := make(chan struct{})
	r.stores[0].Behave(redirected("x.jpg", "e"))
	slow := redirected("${filename}", "e")
	slow.Gate = gate
	r.stores[1].Behave(slow)
	c := r.dial()
	c.Send(formRequest("/b", contentType, body))
	r.stores[0].WaitDone(t, 1)
	until(t, "the first leg's end", func() bool { return r.metrics.count(OutcomePositive) == 1 })
	close(gate)
	if a, err := c.ReadAnswer(); err != nil || a.Status != 303 {
		t.Fatal(a, err)
	}
	r.wantOwing("POST x.jpg 10 " + outcome.AnotherKey)
	if d := r.settled(); len(d) != 1 || d[0].Error != outcome.AnotherKey || d[0].FailedHost != r.host(1) || d[0].Key != "x.jpg" {
		t.Fatalf("recorded: %+v", d)
	}
}

// What is under way is noted with its key before any backend can have all of it (R20),
// also where the form is large, or comes in pieces, and an intent has it, too.
func TestR20FormUploadIsNotedUnderItsKey(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, 100 << 10, 3 << 20} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprint(size, chunked), func(t *testing.T) {
				r := newRig(t, 2)
				first, second := gated(t, r.stores[0]), gated(t, r.stores[1])
				contentType, body := formOf("f", pattern(size), "key", "a k")
				request := formRequest("/b", contentType, body)
				if chunked {
					request = fmt.Sprintf("POST /b HTTP/1.1\r\nHost: s3.test\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", contentType, len(body), body)
				}
				c := r.dial()
				c.Send(request)
				r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
				if got := fmt.Sprint(r.journal.underWay()); got != "[b/a k]" {
					t.Errorf("under way is %s", got)
				}
				first()
				if a, err := c.ReadAnswer(); err != nil || a.Status != 200 {
					t.Fatal(a, err)
				}
				if list := r.journal.owing(); len(list) != 1 || !list[0].Open || string(list[0].Key) != "a k" || list[0].Size != int64(size) {
					t.Errorf("owed: %+v", list)
				}
				second()
				r.wantOwing()
			})
		}
	}
}

// A form whose key cannot be read is a write of the bucket's, unless the answer tells.
func TestR34FormWithoutAKeyThatCanBeRead(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer stub.Behaviour
		want   string
	}{
		"told":     {redirected("k", "e"), "k"},
		"not told": {stub.Behaviour{Status: 200}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2, func(o *Options, lo *limiter.Options) { lo.Maintained = 0b10 })
			r.stores[0].Behave(tt.answer)
			contentType, body := formOf("f", "x", "long", strings.Repeat("x", 1<<20), "key", "k")
			wantStatus(t, r.dial().Do(formRequest("/b", contentType, body)), tt.answer.Status)
			r.wantOwing("POST " + tt.want + " 10 maintained")
		})
	}
}

// Two uploads by form to one key at once are concurrent writes, as any others (R19).
func TestR19FormsOverlap(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	contentType, body := formOf("f", "x", "key", "k")
	first, second := gated(t, r.stores[0]), gated(t, r.stores[1])
	a, b := r.dial(), r.dial()
	a.Send(formRequest("/b", contentType, body))
	b.Send(putRequest("/b/k", "y"))
	for _, s := range r.stores {
		s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == 2 })
	}
	first()
	second()
	for _, c := range []*stub.Client{a, b} {
		if _, err := c.ReadAnswer(); err != nil {
			t.Fatal(err)
		}
	}
	if d := r.settled(); len(d) != 1 || d[0].Error != outcome.OutOfOrder || d[0].Key != "k" {
		t.Fatalf("recorded: %+v", d)
	}
	r.wantNoOverlaps()
}

// chunkedForm is an upload by form in chunks of so many bytes.
func chunkedForm(contentType, body string, size int) string {
	return strings.Replace(chunkedRequest("POST", "/b", body, size), "Host:", "Content-Type: "+contentType+"\r\nHost:", 1)
}

// However slowly its key comes, a form's file follows the write before it on each backend; and where nobody
// knows how large it is, it is deferred (R19).
func TestR19FormFollows(t *testing.T) {
	t.Parallel()
	contentType, body := formOf("f", "two", "key", "k")
	asks := func(raw string) string { return strings.Replace(raw, "Host:", "Expect: 100-continue\r\nHost:", 1) }
	for name, raw := range map[string]string{
		"of known length": formRequest("/b", contentType, body), "asked for": asks(formRequest("/b", contentType, body)),
		"in chunks": chunkedForm(contentType, body, 1000), "in chunks, asked for": asks(chunkedForm(contentType, body, 1000)),
	} {
		for _, at := range []string{"\r\n\r\n", "form-data", "k\r\n", "two"} {
			t.Run(fmt.Sprintf("%s, a pause before %q", name, at), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 2, decidedBy)
				open := gated(t, r.stores[1])
				wantStatus(t, r.dial().Do(putRequest("/b/k", "one")), 200)
				c := r.dial()
				cut := strings.Index(raw, at)
				if at == "\r\n\r\n" {
					cut += len(at)
				}
				c.Send(raw[:cut])
				time.Sleep(3 * lazyWait) // longer than a small body is waited for; where that is not enough, there was no pause
				c.Send(raw[cut:])
				if a, err := c.ReadAnswer(); err != nil || a.Status != 200 {
					t.Fatal(a, err)
				}
				open()
				list := r.settled()
				if deferred := strings.Contains(name, "chunks"); deferred && (len(list) != 1 || list[0].Error != errDeferred.Error()) || !deferred && len(list) != 0 {
					t.Errorf("records: %+v", list)
				}
				if got := lines(r.stores[1]); got[0] != "PUT /b/k one" {
					t.Errorf("the second storage had %.60q", got)
				}
				r.wantNoOverlaps()
			})
		}
	}
}

// A form whose key comes late, or never, is passed on all the same: the legs start when the ring is full.
func TestR34FormThatDoesNotFitIntoTheRing(t *testing.T) {
	t.Parallel()
	for _, fields := range [][]string{{"long", strings.Repeat("x", 60<<10), "key", "k"}, {"long", strings.Repeat("x", 200<<10), "key", "k"}} {
		contentType, body := formOf("f", pattern(100<<10), fields...)
		for name, raw := range map[string]string{
			"of known length": formRequest("/b", contentType, body), "in chunks": chunkedForm(contentType, body, 50_000),
			"in small chunks": chunkedForm(contentType, body, 40), "with a trailer": strings.Replace(chunkedForm(contentType, body, 30_000), "\r\n0\r\n\r\n", "\r\n0\r\nX-Long: "+strings.Repeat("y", 3000)+"\r\n\r\n", 1),
		} {
			t.Run(fmt.Sprint(name, len(body)), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 2, withRing(16<<10))
				wantStatus(t, r.dial().Do(raw), 200)
				r.settled()
				for _, s := range r.stores {
					if got := s.Requests(); len(got) != 1 || string(got[0].Body) != body {
						t.Errorf("%d requests, or another body", len(got))
					}
				}
				r.wantNoOverlaps()
			})
		}
	}
}
