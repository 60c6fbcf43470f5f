package repair

import (
	"context"
	"crypto/md5" //nolint:gosec // what ETags are
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/akubra/akubra/s3"
	"github.com/akubra/akubra/synclog/repair/client"
	"github.com/akubra/akubra/synclog/task"
)

const (
	maxParts = 10000
	minPart  = 5 << 20 // of all parts but the last
	// maxGap is how many part numbers may be missing before the parts' sizes are guessed.
	maxGap = 50
	// completeWait is how long a backend may take for a completion.
	completeWait = 10 * time.Minute
	abortTimeout = 10 * time.Second
)

// layout says how the source's object was put together.
type layout struct {
	count    int
	byNumber bool  // the source gives its parts by their number
	size     int64 // of each part but the last, where it does not
}

type completePart struct {
	PartNumber int
	ETag       string
}

type completeUpload struct {
	XMLName xml.Name `xml:"CompleteMultipartUpload"`
	Part    []completePart
}

// multipart copies part by part, cut as the source's parts are: only then do the ETags come out
// the same.
func (c *transfer) multipart(ctx context.Context) (string, error) {
	l, err := c.layout(ctx)
	if err != nil {
		return "", err
	}
	etag, err := c.upload(ctx, l)
	if l.byNumber && client.Status(err) == http.StatusRequestedRangeNotSatisfiable {
		l = guessLayout(c.from.size, l.count) // its numbers have larger gaps
		etag, err = c.upload(ctx, l)
	}
	if client.HasCode(err, "EntityTooSmall") && (l.byNumber || l.size < minPart) {
		// The source accepts smaller parts than the target does.
		return c.upload(ctx, evenLayout(c.from.size, max(8<<20, c.from.size/maxParts+1)))
	}
	return etag, err
}

// layout asks for the first part: a backend that knows the object's parts says how many there are,
// and returns each by its number. For others the layout is guessed.
func (c *transfer) layout(ctx context.Context) (layout, error) {
	n := parts(c.from.etag)
	if n == 0 {
		return evenLayout(c.from.size, max(512<<20, c.from.size/maxParts+1)), nil
	}
	first, err := c.src.head(ctx, c.bucket, c.key, client.Param{Name: "partNumber", Value: "1"})
	switch {
	case client.Status(err) == http.StatusRequestedRangeNotSatisfiable:
		return layout{count: n, byNumber: true}, nil // it has no part 1
	case err != nil && (client.Unsupported(err) || client.Status(err) == http.StatusBadRequest):
		return guessLayout(c.from.size, n), nil
	case err != nil:
		return layout{}, err
	case first == nil || first.etag != c.from.etag:
		return layout{}, errMoved
	}
	count, err := strconv.Atoi(first.header.Get("X-Amz-Mp-Parts-Count"))
	if err == nil && count == n {
		return layout{count: n, byNumber: true}, nil
	}
	return guessLayout(c.from.size, n), nil
}

func evenLayout(size, part int64) layout {
	return layout{count: int(max(1, (size+part-1)/part)), size: part}
}

// guessLayout assumes the part size that clients would have used for so many parts: a common one,
// or else the smallest number of MiB.
func guessLayout(size int64, n int) layout {
	if n == 1 {
		return layout{count: 1, size: max(size, 1)}
	}
	fits := func(part int64) bool { return (size+part-1)/part == int64(n) }
	for _, mib := range []int64{8, 16, 5, 64, 10, 15, 32, 100, 128, 50, 20, 25, 256, 512, 1024} {
		if fits(mib << 20) {
			return layout{count: n, size: mib << 20}
		}
	}
	least := (size + int64(n) - 1) / int64(n)
	if mib := (least + 1<<20 - 1) &^ (1<<20 - 1); mib > 0 && fits(mib) {
		return layout{count: n, size: mib}
	}
	return layout{count: n, size: max(least, 1)}
}

func (c *transfer) upload(ctx context.Context, l layout) (etag string, err error) {
	id, err := c.initiate(ctx)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			c.r.abort(ctx, c.dst, c.bucket, c.key, id)
		}
	}()
	c.began(id)
	all, err := c.sendParts(ctx, l, id)
	if err != nil {
		return "", err
	}
	done := completeUpload{Part: make([]completePart, 0, l.count)}
	var sent int64
	sum := md5.New() //nolint:gosec // what ETags are
	for i, part := range all {
		sent += part.size
		sum.Write(part.md5)
		done.Part = append(done.Part, completePart{i + 1, part.etag})
	}
	*c.sent += sent
	if err := c.wholeParts(ctx, l, fmt.Sprintf("%x-%d", sum.Sum(nil), l.count)); err != nil {
		return "", err
	}
	if sent != c.from.size {
		return "", fmt.Errorf("%w (its parts have %d bytes in place of %d)", errMoved, sent, c.from.size)
	}
	if err := c.still(ctx, false); err != nil {
		return "", err
	}
	if err := c.seal(); err != nil {
		return "", err
	}
	return c.complete(ctx, id, done)
}

// wholeParts is whole for parts: a backend that returns parts by their numbers makes its ETag from
// their MD5s.
func (c *transfer) wholeParts(ctx context.Context, l layout, etag string) error {
	if !l.byNumber || c.from.encrypted || c.r.o.IgnoreETags || strings.EqualFold(etag, c.from.etag) || c.r.opaque(ctx, c.src, c.bucket, c.key) {
		return nil
	}
	return c.src.at(fmt.Errorf("%w: backend %q has parts of ETag %s under the ETag %s", errDamaged, c.src.name, etag, c.from.etag))
}

func (c *transfer) initiate(ctx context.Context) (id string, err error) {
	body, _, err := c.dst.Document(ctx, &client.Request{
		Method: http.MethodPost, Bucket: c.bucket, Key: c.key, Header: c.headers(), Query: []client.Param{{Name: "uploads"}},
	}, maxDocument)
	if err != nil {
		return "", c.dst.at(err)
	}
	var doc struct {
		UploadID string `xml:"UploadId"`
	}
	if err := xml.Unmarshal(body, &doc); err != nil || doc.UploadID == "" {
		return "", c.dst.errorf("has given no upload id")
	}
	return doc.UploadID, nil
}

// sentPart is a part that the target has.
type sentPart struct {
	etag string
	size int64
	md5  []byte
}

// part copies the n-th part, which has the given number at the source.
func (c *transfer) part(ctx context.Context, l layout, id string, n, number int) (p sentPart, err error) {
	header := make(http.Header, 2)
	var params []client.Param
	from := int64(n-1) * l.size
	switch {
	case l.byNumber:
		params = []client.Param{{Name: "partNumber", Value: client.Int(number)}}
	case c.from.size > 0:
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, min(from+l.size, c.from.size)-1))
	}
	res, err := c.get(ctx, header, params...)
	if err != nil {
		return p, err
	}
	defer res.Body.Close()
	p.size = res.ContentLength
	if want := min(l.size, c.from.size-from); !l.byNumber && p.size != want {
		return p, c.src.errorf("has answered with %d bytes in place of the range's %d", p.size, want)
	}
	if p.size < 0 {
		return p, c.src.errorf("does not tell a part's length")
	}
	sum := md5.New() //nolint:gosec // what ETags are
	h, err := c.dst.Discard(ctx, &client.Request{
		Method: http.MethodPut, Bucket: c.bucket, Key: c.key, Stream: c.meter(ctx, io.TeeReader(res.Body, sum), p.size), Length: p.size,
		Query: []client.Param{{Name: "partNumber", Value: client.Int(n)}, {Name: "uploadId", Value: id}},
	})
	if err != nil {
		return p, c.blame(err)
	}
	p.etag, p.md5 = h.Get("Etag"), sum.Sum(nil)
	return p, nil
}

func (c *transfer) complete(ctx context.Context, id string, done completeUpload) (string, error) {
	doc, err := xml.Marshal(done)
	if err != nil {
		return "", err
	}
	header := make(http.Header, 4)
	c.condition(header)
	body, h, err := c.dst.Document(ctx, &client.Request{
		Method: http.MethodPost, Bucket: c.bucket, Key: c.key, Header: header, Body: doc, Wait: completeWait,
		Query: []client.Param{{Name: "uploadId", Value: id}},
	}, maxDocument)
	if err == nil {
		err = c.dst.ErrorIn(http.MethodPost, body) // R25
	}
	if err != nil {
		return "", c.dst.at(err)
	}
	var result struct{ ETag string }
	if err := xml.Unmarshal(body, &result); err != nil {
		return "", c.dst.errorf("has answered a completion with what is no document: %w", err)
	}
	c.made = h.Get(headerVersion)
	return s3.Unquote(result.ETag), nil
}

// abort ends an upload that nobody will complete. If that fails too, it is no further failure.
func (r *Repairer) abort(ctx context.Context, b *backend, bucket, key, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	_, err := b.Discard(ctx, &client.Request{
		Method: http.MethodDelete, Bucket: bucket, Key: key, Query: []client.Param{{Name: "uploadId", Value: id}},
	})
	if err != nil && client.Status(err) != http.StatusNotFound && !errors.Is(err, context.Canceled) {
		r.o.Log.Warn("cannot abort an upload of our own", "backend", b.name, "bucket", bucket, "key", key, "upload", id, "error", err.Error())
	}
}

// An upload in progress is recorded in the task, so that it can be aborted even after a kill.
const uploadPrefix = "uploading to "

func uploadNote(b *backend, id string) string { return uploadPrefix + b.name + " " + id }

// abortNoted aborts the upload of an earlier process.
func (r *Repairer) abortNoted(ctx context.Context, t *task.Task) {
	rest, ok := strings.CutPrefix(t.LastError, uploadPrefix)
	name, id, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 {
		return
	}
	for _, b := range r.backends {
		if b.name == name {
			r.abort(ctx, b, t.Bucket, t.Key, id)
		}
	}
}
