package engine

import (
	"bytes"
	"io"
	"mime"
	"net/textproto"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/akubra/akubra/http1"
	"github.com/akubra/akubra/s3"
)

// An upload by form (S3 API reference, "POST Object") writes one object whose key stands in the
// form, before the file. So the body is examined as it passes: the key must be known before any
// backend can have the whole file, because the journal keeps the write, and repair finds the
// object, under that key (R20, R34).

// maxFormHead bounds how much of a form is kept to find its key: S3 accepts no more than 20 KB
// before the file.
const maxFormHead = 64 << 10

// form finds the key and the file's size in a form as it passes. It belongs to the handler's
// goroutine.
type form struct {
	src  io.Reader
	left int64 // of a body with a length; -1 otherwise
	// begin is called once, before the last part of the body is passed on, with the key, or with
	// "" if the key cannot be read.
	begin func(key string) *s3Error
	// ended is called with the file's size once it is known.
	ended func(size int64)

	delim  []byte // CR LF, two hyphens, the boundary
	buf    []byte // what is still to be looked at, of the body with a CR LF before it
	mem    []byte // buf is somewhere in it
	at     int64  // where buf begins
	found  int    // up to here buf was searched
	part   formPart
	name   string // of the field at hand
	key    string
	hasKey bool
	begun  bool
	fileAt int64 // where the file begins
}

// formPart says which part of a form comes next.
type formPart uint8

const (
	formDelimiter formPart = iota // the next one
	formHeader                    // of the field behind it
	formFile                      // the file itself, to its end
	formOver                      // nothing that matters
)

// newForm returns nil if the request is not an upload by form.
func newForm(contentType []byte, length int64) *form {
	media, params, err := mime.ParseMediaType(string(contentType))
	if err != nil || media != "multipart/form-data" || params["boundary"] == "" {
		return nil
	}
	f := &form{left: length, delim: []byte("\r\n--" + params["boundary"])}
	f.buf = append(f.buf, "\r\n"...) // the first delimiter may have none
	return f
}

// Read passes the body on.
func (f *form) Read(p []byte) (int, error) {
	n, err := f.src.Read(p)
	f.feed(p[:n])
	if f.left > 0 {
		f.left -= int64(n)
	}
	if !f.begun && (f.part >= formFile || f.left == 0 || err == io.EOF) {
		f.begun = true
		if problem := f.begin(f.key); problem != nil {
			return 0, problem
		}
	}
	return n, err
}

// feed examines the next bytes.
func (f *form) feed(p []byte) {
	if f.part == formOver {
		return
	}
	if cap(f.buf)-len(f.buf) < len(p) {
		f.buf = append(f.mem[:0], f.buf...)
	}
	f.buf = append(f.buf, p...)
	if cap(f.buf) > cap(f.mem) {
		f.mem = f.buf[:0]
	}
	for f.step() {
	}
	if f.part == formOver || f.part < formFile && len(f.buf) > maxFormHead {
		f.part, f.buf, f.mem = formOver, nil, nil
	}
}

// step consumes one item of buf, if it is complete.
func (f *form) step() bool {
	switch f.part {
	case formDelimiter:
		value, ok := f.cut(f.delim)
		if ok {
			if f.name == "key" && !f.hasKey {
				f.key, f.hasKey = string(value), true
			}
			f.part = formHeader
		}
		return ok
	case formHeader:
		if bytes.HasPrefix(f.buf, []byte("--")) {
			f.part = formOver // the end, and no file
			return false
		}
		header, ok := f.cut([]byte("\r\n\r\n"))
		if ok {
			f.readHeader(header)
		}
		return ok
	case formFile:
		if _, ok := f.cut(f.delim); ok {
			f.ended(f.at - int64(len(f.delim)) - f.fileAt)
			f.part = formOver
			return false
		}
		f.skip(f.found)
	case formOver:
	}
	return false
}

// cut removes and returns what precedes sep in buf, and removes sep.
func (f *form) cut(sep []byte) (before []byte, ok bool) {
	i := bytes.Index(f.buf[f.found:], sep)
	if i < 0 {
		f.found = max(f.found, len(f.buf)-len(sep)+1, 0)
		return nil, false
	}
	before = f.buf[:f.found+i]
	f.skip(f.found + i + len(sep))
	return before, true
}

// skip drops the first n bytes of buf; what was cut off stays valid until more is fed.
func (f *form) skip(n int) {
	f.buf = f.buf[n:]
	f.at += int64(n)
	f.found = 0
}

// readHeader reads the header of a field. Of several files the last one counts.
func (f *form) readHeader(header []byte) {
	f.part, f.name = formDelimiter, ""
	for len(header) > 0 {
		var line []byte
		line, header = http1.CutLine(header)
		name, value, _ := bytes.Cut(line, []byte(":"))
		if textproto.CanonicalMIMEHeaderKey(string(http1.TrimSpace(name))) != "Content-Disposition" {
			continue
		}
		_, params, err := mime.ParseMediaType(string(value))
		if err != nil {
			return
		}
		f.name = strings.ToLower(params["name"])
		filename, isFile := params["filename"]
		if f.name == "file" || isFile {
			f.part, f.fileAt = formFile, f.at
			f.key = strings.ReplaceAll(f.key, "${filename}", filename[strings.LastIndexAny(filename, `/\`)+1:])
		}
	}
}

// beginForm records that the write of a form's file is about to go to the backends.
func (r *request) beginForm(key string) *s3Error {
	if len(r.head.target.Bucket) == 0 {
		key = "" // it would be some other bucket's
	}
	var t *turn
	if key != "" {
		t = new(turn) // the request's own may be looked at: it may have been settled
		if !r.e.writes.beginWithin(t, hashKey(r.head.target.Bucket, key), r.writer(), r.o.SlotTimeout) {
			return errKeyBusy
		}
	}
	var began uint64
	var write JournalWrite
	taken := false
	defer func() {
		if taken { // it has come to be the request's
			return
		}
		if t != nil {
			startNext(r.e.writes.leave(t), false)
		}
		if write != nil {
			write.End()
		}
	}()
	var err error
	if r.e.o.Journal != nil {
		began = r.e.o.Journal.Stamp(time.Now())
		write, err = r.e.o.Journal.Begin(r.head.method, r.head.target.Bucket, []byte(key), r.head.host, r.head.raw)
	}
	if err != nil {
		return r.notBegun(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if taken = !r.allEndedLocked(); taken { // else every backend has refused it already, and it has been settled
		r.head.target.Key = []byte(s3.Escape(key))
		r.ledger.beginForm([]byte(key), t, began, write)
	}
	return nil
}

// mayBePositive reports whether the answer's status can be that of a successful write.
func (l *leg) mayBePositive() bool {
	return l.answer.Status < 300 || l.r.head.is(s3.KindForm) && l.answer.Status == 303
}

// location returns what the answer to an upload by form says about the object: a redirection in
// its query, any other answer in its path.
func (l *leg) location() (key, etag string) {
	u, err := url.Parse(string(http1.Field(l.answer.Raw, "Location")))
	if err != nil {
		return "", ""
	}
	if l.answer.Status == 303 {
		for rest := u.RawQuery; rest != ""; {
			var param string
			param, rest, _ = strings.Cut(rest, "&")
			name, value, _ := strings.Cut(param, "=")
			// The form's own URL may have had such parameters; they come before these.
			if value, err = url.QueryUnescape(value); err != nil {
				continue
			}
			switch name {
			case "key":
				key = value
			case "etag":
				etag = s3.Unquote(value)
			}
		}
		return key, etag
	}
	bucket := string(l.r.head.target.Bucket)
	key = strings.TrimPrefix(u.Path, "/")
	if !strings.HasPrefix(u.Host, bucket+".") {
		var ok bool
		if key, ok = strings.CutPrefix(key, bucket+"/"); !ok {
			return "", ""
		}
	}
	return key, ""
}

// sameFormKey reports whether a reported key is this one: some backends remove slashes from both
// ends, of the key or of what they report.
func sameFormKey(told, key string) bool { return path.Clean("/"+told) == path.Clean("/"+key) }

// anotherKey says what is wrong with a form's file that a backend stored under another key.
const anotherKey = "stored under another key"

// readForm makes the request an upload by form if it is one.
func (r *request) readForm(contentType []byte) {
	if !r.head.is(s3.KindPlain) || r.head.method != "POST" || len(r.head.target.Key) > 0 || r.head.target.Sub || r.race.isRead() {
		return
	}
	if f := newForm(contentType, r.head.contentLength); f != nil {
		r.head.kind, r.head.form = s3.KindForm, f
		f.begin, f.ended = r.beginForm, r.ledger.setMade
	}
}
