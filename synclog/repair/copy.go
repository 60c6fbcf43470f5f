package repair

import (
	"context"
	"crypto/md5" //nolint:gosec // what ETags are
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/akubra/akubra/s3"
	"github.com/akubra/akubra/synclog/repair/client"
)

const (
	// smallObject is the size up to which an object is read into memory, so that it can be signed,
	// and sent again.
	smallObject = 128 << 10
	// maxSingle is the largest object that S3 accepts in one request.
	maxSingle = 5 << 30
)

// errMoved: what was looked at has changed since, so it must be looked at again.
var errMoved = errors.New("repair: the object has changed meanwhile")

// transfer copies one object from one backend to another.
type transfer struct {
	r           *Repairer
	bucket, key string
	src, dst    *backend
	from        *object
	to          *object     // nil: absent
	made        string      // the id of the version that the copy is, of a target with versions
	another     atomic.Bool // the source is another version by now
	skip        feature     // what this object goes without
	extras      extras
	lock        lock
	content     *ahead // of a small object; nil: it is streamed
	// still is called before the last bytes of a long copy are sent; an error keeps the target
	// from storing it. locked: the target may lock the key meanwhile.
	still func(ctx context.Context, locked bool) error
	// seal keeps clients from writing the key, unless it fails. unseal lets them write again; it
	// may be called without seal.
	seal   func() error
	unseal func()
	// began records a multipart upload, so that it can be ended even after a kill.
	began func(uploadID string)
	sent  *int64
}

// errDamaged is about a source whose content does not match its ETag or checksum.
var errDamaged = errors.New("repair: the content is damaged")

// do copies, and returns the ETag that the target has answered with.
func (c *transfer) do(ctx context.Context) (etag string, err error) {
	if c.from.size < 0 {
		return "", c.src.errorf("does not tell the object's length")
	}
	madeBucket, retried, asked := false, false, false
	for {
		if err := c.dst.making.wait(ctx, c.bucket); err != nil {
			return "", err
		}
		if parts(c.from.etag) > 0 || c.from.size > maxSingle {
			etag, err = c.multipart(ctx)
		} else {
			etag, err = c.single(ctx)
		}
		if err == nil {
			err = c.finish(ctx)
			c.unseal()
			return etag, err
		}
		c.unseal()
		strip, known := c.refused(err)
		switch {
		case ctx.Err() != nil || errors.Is(err, errMoved) || faultOf(err) == c.src:
			return "", err
		case c.misjudged(ctx, err):
			c.skip |= featCondition
		case c.moved(err):
			return "", fmt.Errorf("%w (%w)", errMoved, err)
		case client.HasCode(err, "NoSuchBucket") && !madeBucket:
			madeBucket = true
			if err := c.r.makeBucket(ctx, c.dst, c.bucket, c.src); err != nil {
				return "", err
			}
		case client.HasCode(err, "XAmzContentChecksumMismatch", "InvalidChecksum"),
			client.HasCode(err, "BadDigest") && c.used()&featChecksum != 0:
			// Its MD5 was compared here; it serves as the checksum, which is never dropped.
			return "", c.src.at(fmt.Errorf("%w: backend %q has content that does not match its checksum (%w)", errDamaged, c.src.name, err))
		case strip != 0:
			if strip&(featRetention|featHold) != 0 && !asked {
				if asked, _ = c.dst.locks(ctx, c.bucket); asked {
					continue // it was refused while the bucket was being made
				}
			}
			c.skip |= strip
			if known {
				c.dst.forget(strip, err)
			}
		case closedOnUs(err) && !retried:
			retried = true
		default:
			return "", err
		}
	}
}

// closedOnUs: the backend closed a kept-alive connection just as it was being used.
func closedOnUs(err error) bool {
	var transport *client.TransportError
	return errors.As(err, &transport) &&
		(errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
			strings.Contains(err.Error(), "server closed idle connection"))
}

// single copies by one GET and one PUT.
func (c *transfer) single(ctx context.Context) (string, error) {
	var read http.Header
	var small []byte
	var large io.Reader
	if c.content != nil {
		var err error
		if small, err = c.content.take(ctx, c); err != nil {
			return "", err
		}
		read = c.content.header
	} else {
		res, err := c.open(ctx)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		read, large = res.Header, res.Body
	}
	// Only the checksums are taken from its headers, because only a GET returns them: looks are
	// compared, and some servers guess a Content-Type for a GET only.
	c.from.header = c.from.header.Clone()
	copyChecksums(c.from.header, read)
	header := c.headers()
	c.condition(header)
	if use := c.used(); use&featChecksum != 0 && read.Get("X-Amz-Checksum-Type") != "COMPOSITE" {
		copyChecksums(header, read)
		delete(header, "X-Amz-Checksum-Type")
	}
	if isMD5(c.from.etag) && !c.from.encrypted && !c.src.opaque.Load() && !c.r.o.IgnoreETags {
		if sum, err := hex.DecodeString(c.from.etag); err == nil {
			header.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum))
		}
	}
	put := &client.Request{Method: http.MethodPut, Bucket: c.bucket, Key: c.key, Header: header}
	if c.content != nil {
		put.Body = small
		if err := c.seal(); err != nil {
			return "", err
		}
	} else {
		sum := md5.New() //nolint:gosec // what ETags are
		body := c.meter(ctx, io.TeeReader(large, sum), c.from.size)
		locked := c.used()&featCondition != 0
		body.last = func(ctx context.Context) error {
			if err := c.whole(ctx, hex.EncodeToString(sum.Sum(nil))); err != nil {
				return err
			}
			if err := c.still(ctx, locked); err != nil {
				return err
			}
			return c.seal()
		}
		put.Stream, put.Length = body, c.from.size
	}
	h, err := c.dst.Discard(ctx, put)
	if body, ok := put.Stream.(*meter); ok {
		body.end()
	}
	if err != nil {
		return "", c.blame(err)
	}
	*c.sent += c.from.size
	if c.content != nil {
		c.dst.moved.Add(c.from.size)
	}
	c.made = h.Get(headerVersion)
	return s3.Unquote(h.Get("Etag")), nil
}

// whole returns an error if what was read does not match the source's ETag, before the target can
// store it.
func (c *transfer) whole(ctx context.Context, md5 string) error {
	if c.r.damaged(ctx, c.src, c.bucket, c.key, c.from, md5) {
		return c.src.at(fmt.Errorf("%w: backend %q has content with the MD5 %s under the ETag %s", errDamaged, c.src.name, md5, c.from.etag))
	}
	return nil
}

// open opens all of the source's object, with its checksums.
func (c *transfer) open(ctx context.Context) (*http.Response, error) {
	res, err := c.get(ctx, http.Header{"X-Amz-Checksum-Mode": {"ENABLED"}})
	if err == nil && res.ContentLength != c.from.size {
		_ = res.Body.Close()
		err = fmt.Errorf("%w (it has %d bytes in place of %d)", errMoved, res.ContentLength, c.from.size)
	}
	return res, err
}

// get opens the source's object, which must be the one that was looked at.
func (c *transfer) get(ctx context.Context, header http.Header, params ...client.Param) (*http.Response, error) {
	if c.from.etag != "" {
		header.Set("If-Match", `"`+c.from.etag+`"`)
	}
	res, err := c.src.Do(ctx, &client.Request{Method: http.MethodGet, Bucket: c.bucket, Key: c.key, Header: header, Query: params})
	switch client.Status(err) {
	case http.StatusNotFound, http.StatusPreconditionFailed:
		return nil, fmt.Errorf("%w (%w)", errMoved, err)
	}
	if err != nil {
		return nil, c.src.at(err)
	}
	if res.Header.Get(headerVersion) != c.from.header.Get(headerVersion) {
		c.another.Store(true)
	}
	if etag := s3.Unquote(res.Header.Get("Etag")); etag != c.from.etag {
		_ = res.Body.Close()
		return nil, fmt.Errorf("%w (its ETag is %q in place of %q)", errMoved, etag, c.from.etag)
	}
	return res, nil
}

// condition makes the target refuse the copy if it would replace anything other than what was
// looked at.
func (c *transfer) condition(header http.Header) {
	switch {
	case c.used()&featCondition == 0:
	case c.to == nil:
		header.Set("If-None-Match", "*")
	case c.to.etag != "":
		header.Set("If-Match", `"`+c.to.etag+`"`)
	}
}

// blame attributes a stream's error to the source that it came from.
func (c *transfer) blame(err error) error {
	var source *client.SourceError
	if errors.As(err, &source) {
		if errors.Is(err, errMoved) || errors.Is(err, errDamaged) {
			return err
		}
		return c.src.at(source.Err)
	}
	return c.dst.at(err)
}

// meter is a source's content on its way. If a target answers early, its reader may still be busy
// when the request has ended.
type meter struct {
	ctx  context.Context //nolint:containedctx // of one copy
	c    *transfer
	body io.Reader
	left int64

	mu   sync.Mutex
	last func(ctx context.Context) error // called before the last bytes go out; may be nil
	over bool
}

// end keeps last from being called, and waits for a call in progress.
func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = true
}

// allowed calls last, once.
func (m *meter) allowed() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	look := m.last
	m.last = nil
	switch {
	case m.over:
		return errMoved
	case look == nil:
		return nil
	}
	return look(m.ctx)
}

func (c *transfer) meter(ctx context.Context, body io.Reader, size int64) *meter {
	return &meter{ctx: ctx, c: c, body: body, left: size}
}

func (m *meter) Read(p []byte) (int, error) {
	if len(p) > meterStep {
		p = p[:meterStep]
	}
	if err := waitBytes(m.ctx, len(p), m.c.src, m.c.dst); err != nil {
		return 0, err
	}
	n, err := m.body.Read(p)
	m.left -= int64(n)
	m.c.r.counts.moved(n)
	m.c.dst.moved.Add(int64(n))
	if errors.Is(err, io.EOF) && m.left > 0 {
		return n, io.ErrUnexpectedEOF
	}
	if m.left == 0 && n > 0 && (err == nil || errors.Is(err, io.EOF)) {
		if why := m.allowed(); why != nil {
			// Without these the target cannot store it.
			return 0, why
		}
	}
	return n, err
}

// meterStep is the most that one Read returns.
const meterStep = 32 << 10

func faultOf(err error) *backend {
	var f *fault
	if errors.As(err, &f) {
		return f.b
	}
	return nil
}
