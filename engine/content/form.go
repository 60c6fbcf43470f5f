package content

import (
	"bytes"
	"io"
	"mime"
	"net/textproto"
	"strings"

	"github.com/akubra/akubra/http1"
)

// maxFormHead bounds how much of a form is kept to find its key: S3 accepts no more than 20 KB
// before the file.
const maxFormHead = 64 << 10

// Form finds the key and the file's size in a form as it passes. It belongs to one
// goroutine.
type Form struct {
	Src  io.Reader
	left int64 // of a body with a length; -1 otherwise
	// Begin is called once, before the last part of the body is passed on, with the key, or with
	// "" if the key cannot be read.
	Begin func(key string) error
	// Ended is called with the file's size once it is known.
	Ended func(size int64)

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

// NewForm returns nil if the request is not an upload by form.
func NewForm(contentType []byte, length int64) *Form {
	media, params, err := mime.ParseMediaType(string(contentType))
	if err != nil || media != "multipart/form-data" || params["boundary"] == "" {
		return nil
	}
	f := &Form{left: length, delim: []byte("\r\n--" + params["boundary"])}
	f.buf = append(f.buf, "\r\n"...) // the first delimiter may have none
	return f
}

// Read passes the body on.
func (f *Form) Read(p []byte) (int, error) {
	n, err := f.Src.Read(p)
	f.feed(p[:n])
	if f.left > 0 {
		f.left -= int64(n)
	}
	if !f.begun && (f.part >= formFile || f.left == 0 || err == io.EOF) {
		f.begun = true
		if problem := f.Begin(f.key); problem != nil {
			return 0, problem
		}
	}
	return n, err
}

// feed examines the next bytes.
func (f *Form) feed(p []byte) {
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
func (f *Form) step() bool {
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
			f.Ended(f.at - int64(len(f.delim)) - f.fileAt)
			f.part = formOver
			return false
		}
		f.skip(f.found)
	case formOver:
	}
	return false
}

// cut removes and returns what precedes sep in buf, and removes sep.
func (f *Form) cut(sep []byte) (before []byte, ok bool) {
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
func (f *Form) skip(n int) {
	f.buf = f.buf[n:]
	f.at += int64(n)
	f.found = 0
}

// readHeader reads the header of a field. Of several files the last one counts.
func (f *Form) readHeader(header []byte) {
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
