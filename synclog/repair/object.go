package repair

import (
	"context"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/akubra/akubra/s3"
	"github.com/akubra/akubra/synclog/repair/client"
)

// object is what a HEAD or GET has told about an object.
type object struct {
	header    http.Header
	etag      string // without quotes
	size      int64
	modified  time.Time     // by the backend's own clock
	listed    *client.Entry // what a listing says of it, where a name may be a directory's
	encrypted bool          // in a way that makes the ETag no MD5
	sealed    bool          // with a key that only its client has (SSE-C): a listing is all that shows it
}

func newObject(h http.Header, size int64) *object {
	o := &object{header: h, size: size, etag: s3.Unquote(h.Get("Etag"))}
	if t, err := http.ParseTime(h.Get("Last-Modified")); err == nil {
		o.modified = t
	}
	sse := h.Get("X-Amz-Server-Side-Encryption")
	o.encrypted = sse != "" && sse != "AES256" || h.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") != ""
	return o
}

// head looks at an object; it returns nil if there is none.
func (b *backend) head(ctx context.Context, bucket, key string, params ...client.Param) (*object, error) {
	begun := time.Now()
	res, err := b.Do(ctx, &client.Request{Method: http.MethodHead, Bucket: bucket, Key: key, Query: params})
	if err == nil || client.Status(err) == http.StatusNotFound {
		b.pace.note(time.Since(begun))
	}
	if err != nil {
		switch client.Status(err) {
		case http.StatusNotFound:
			return nil, nil //nolint:nilnil // there is none
		case http.StatusMethodNotAllowed:
			if client.AsError(err).Header.Get("X-Amz-Delete-Marker") == "true" {
				return nil, nil //nolint:nilnil // as some say it
			}
		case http.StatusForbidden, http.StatusBadRequest:
			switch err = b.whyNot(ctx, bucket, key, err); {
			case noSuchName(err):
				return nil, nil //nolint:nilnil // there is none, nor can be
			case wantsClientKey(err) && len(params) == 0:
				return b.sealed(ctx, bucket, key, err)
			}
			return nil, b.at(err)
		}
		return nil, b.at(err)
	}
	_ = res.Body.Close()
	return newObject(res.Header, res.ContentLength), nil
}

// wantsClientKey reports whether an object cannot be read without the key that it was encrypted with
// (SSE-C). S3 and MinIO say it in the same words.
func wantsClientKey(err error) bool {
	e := client.AsError(err)
	return e != nil && e.Status == http.StatusBadRequest && strings.Contains(e.Message, "form of Server Side Encryption")
}

// sealed is what a listing shows of an object that a HEAD was refused for, as err says.
func (b *backend) sealed(ctx context.Context, bucket, key string, err error) (*object, error) {
	entry, known, listErr := b.listed(ctx, bucket, key)
	switch {
	case listErr != nil:
		return nil, listErr
	case !known:
		return nil, b.at(err)
	case entry == nil: // gone by now
		return nil, nil //nolint:nilnil // there is none
	}
	return &object{header: http.Header{}, etag: entry.ETag, size: entry.Size, modified: entry.Modified, encrypted: true, sealed: true}, nil
}

// whyNot asks again in a way that gets an answer with a body: a refused HEAD does not say whether
// the key or the credentials are the reason.
func (b *backend) whyNot(ctx context.Context, bucket, key string, err error) error {
	header := http.Header{"Range": {"bytes=0-0"}}
	if _, why := b.Discard(ctx, &client.Request{Method: http.MethodGet, Bucket: bucket, Key: key, Header: header}); client.Status(why) == client.Status(err) {
		return why
	}
	return err
}

// parts is the number of parts according to an ETag, or 0 if it names none.
func parts(etag string) int {
	sum, count, ok := strings.Cut(etag, "-")
	if !ok || !isHex(sum) {
		return 0
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > maxParts {
		return 0
	}
	return n
}

// isMD5 reports whether an ETag can be the MD5 of the content.
func isMD5(etag string) bool { return isHex(etag) }

func isHex(s string) bool {
	if len(s) != 32 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// systemHeaders are the headers that are the object's own, beside x-amz-meta-*.
var systemHeaders = []string{
	"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type", "Expires",
	"X-Amz-Storage-Class", "X-Amz-Website-Redirect-Location",
}

const metaPrefix = "X-Amz-Meta-"

// Names of lines of metadata that are not headers themselves.
const (
	lineTags = "Tags"
	lineACL  = "ACL"
	lineHold = "X-Amz-Object-Lock-Legal-Hold"
	lineMode = "X-Amz-Object-Lock-Mode"
	lineDate = "X-Amz-Object-Lock-Retain-Until-Date"
)

// meta is the metadata, one line each, in order. What backends add by themselves does not count;
// nor does a retention that has expired by now.
func (o *object) meta(now time.Time) string {
	var lines []string
	for _, name := range systemHeaders {
		if v := o.system(name); v != "" {
			lines = append(lines, name+":"+v+"\n")
		}
	}
	for name, values := range o.header {
		if strings.HasPrefix(name, metaPrefix) {
			lines = append(lines, name+":"+decodeWords(strings.Join(values, ","))+"\n")
		}
	}
	if o.header.Get(lineHold) == "ON" {
		lines = append(lines, lineHold+":ON\n")
	}
	if mode := o.header.Get(lineMode); mode != "" {
		if until, err := time.Parse(time.RFC3339, o.header.Get(lineDate)); err == nil && until.After(now) {
			lines = append(lines, lineMode+":"+mode+"\n", lineDate+":"+until.UTC().Truncate(time.Second).Format(time.RFC3339)+"\n")
		}
	}
	switch len(lines) {
	case 0:
		return ""
	case 1:
		return lines[0]
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// tagCount is the number of tags, or -1 if the backend does not say.
func (o *object) tagCount() int {
	if !mayHaveTags(o.header) {
		return 0
	}
	n, err := strconv.Atoi(o.header.Get("X-Amz-Tagging-Count"))
	if err != nil {
		return -1
	}
	return n
}

// withoutLines returns lines of metadata without those with these names.
func withoutLines(meta string, names ...string) string {
	var kept strings.Builder
	for line := range strings.Lines(meta) {
		if name, _, _ := strings.Cut(line, ":"); !slices.Contains(names, name) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// metadata returns the x-amz-meta-* headers as they were sent.
func (o *object) metadata(to http.Header) {
	encodes := encodesWords(o.header)
	for name, values := range o.header {
		if !strings.HasPrefix(name, metaPrefix) {
			continue
		}
		if encodes {
			values = slices.Clone(values)
			for i, v := range values {
				values[i] = decodeWords(v)
			}
		}
		to[name] = values
	}
}

// encodesWords reports whether a backend returns non-ASCII values encoded as in RFC 2047, however
// they were sent.
func encodesWords(h http.Header) bool {
	server := h.Get("Server")
	return strings.HasPrefix(server, "MinIO") || strings.HasPrefix(server, "AmazonS3")
}

func decodeWords(v string) string {
	if !strings.Contains(v, "=?") {
		return v
	}
	if decoded, err := new(mime.WordDecoder).DecodeHeader(v); err == nil && validValue(decoded) {
		return decoded
	}
	return v
}

// validValue reports whether a header can have the value.
func validValue(v string) bool {
	for i := range len(v) {
		if v[i] < ' ' && v[i] != '\t' || v[i] == 0x7f {
			return false
		}
	}
	return true
}

// system is a system header's value without the parts that mean nothing.
func (o *object) system(name string) string {
	v := o.header.Get(name)
	switch name {
	case "Content-Type":
		if v == "binary/octet-stream" || v == "application/octet-stream" {
			return ""
		}
	case "X-Amz-Storage-Class":
		if v == "STANDARD" {
			return ""
		}
	case "Content-Encoding":
		return contentEncoding(v)
	}
	return v
}

// contentEncoding removes aws-chunked, which belongs to an upload and not to the object.
func contentEncoding(v string) string {
	if !strings.Contains(v, "aws-chunked") {
		return v
	}
	var kept []string
	for _, c := range strings.Split(v, ",") {
		if c = strings.TrimSpace(c); c != "" && c != "aws-chunked" {
			kept = append(kept, c)
		}
	}
	return strings.Join(kept, ",")
}
