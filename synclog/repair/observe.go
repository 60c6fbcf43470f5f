package repair

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what ETags are
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/akubra/akubra/synclog/repair/client"
)

// observe asks every backend that can be asked for the object; objects[i] is nil if there is none,
// and errs[i] says why it is not known. It leaves out the backends of old, which still have the bucket as
// it was before its removal.
func (r *Repairer) observe(ctx context.Context, bucket, key string, old uint64) (objects []*object, errs []error) {
	objects, errs = make([]*object, len(r.backends)), make([]error, len(r.backends))
	r.each(func(i int, b *backend) {
		if errs[i] = r.usableBut(old, i); errs[i] == nil {
			objects[i], errs[i] = b.head(ctx, bucket, key)
		}
	})
	return objects, errs
}

// each calls f for every backend concurrently, and waits.
func (r *Repairer) each(f func(i int, b *backend)) {
	var wg sync.WaitGroup
	for i := 1; i < len(r.backends); i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			f(i, r.backends[i])
		}()
	}
	f(0, r.backends[0])
	wg.Wait()
}

// errMaintained stands for the answer of a backend that is not asked: it is in maintenance, or the
// proxy has taken it out of its pool.
var errMaintained = errors.New("it is demoted or in maintenance, so it is not asked")

// usable returns why a backend must not be asked, or nil.
func (r *Repairer) usable(b *backend) error {
	switch {
	case r.o.Maintained != nil && r.o.Maintained(b.name):
		return errMaintained
	case b.breaker.open.Load():
		return errOut
	}
	return nil
}

// agreeable reports whether two objects can have the same content despite different ETags: parts
// may be cut differently, and backends may encrypt.
func (r *Repairer) agreeable(a *object, at *backend, b *object, bt *backend) bool {
	return r.o.IgnoreETags || at.opaque.Load() || bt.opaque.Load() || a.encrypted || b.encrypted ||
		!isMD5(a.etag) || !isMD5(b.etag)
}

// equalContent reads an object from two backends and compares it.
func (r *Repairer) equalContent(ctx context.Context, bucket, key string, a *object, at *backend, b *object, bt *backend) (bool, error) {
	if a.size != b.size {
		return false, nil
	}
	if a.size == 0 {
		return true, nil
	}
	one, err := r.content(ctx, at, bucket, key, a)
	if err != nil {
		return false, err
	}
	defer one.Close()
	other, err := r.content(ctx, bt, bucket, key, b)
	if err != nil {
		return false, err
	}
	defer other.Close()
	var p, q [16 << 10]byte
	for {
		if err := waitBytes(ctx, len(p), at, bt); err != nil {
			return false, err
		}
		n, errP := io.ReadFull(one, p[:])
		m, errQ := io.ReadFull(other, q[:])
		r.counts.compared.Add(uint64(n)) //nolint:gosec // never negative
		switch {
		case ended(errP) && ended(errQ):
			return bytes.Equal(p[:n], q[:m]), nil
		case errP != nil && !ended(errP):
			return false, at.at(errP)
		case errQ != nil && !ended(errQ):
			return false, bt.at(errQ)
		case errP != nil || errQ != nil || !bytes.Equal(p[:], q[:]):
			return false, nil
		}
	}
}

func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// content opens an object, which must be the one that was looked at.
func (r *Repairer) content(ctx context.Context, b *backend, bucket, key string, o *object) (io.ReadCloser, error) {
	header := http.Header{}
	if o.etag != "" {
		header.Set("If-Match", `"`+o.etag+`"`)
	}
	res, err := b.Do(ctx, &client.Request{Method: http.MethodGet, Bucket: bucket, Key: key, Header: header})
	switch client.Status(err) {
	case http.StatusNotFound, http.StatusPreconditionFailed:
		return nil, fmt.Errorf("%w (%w)", errMoved, err)
	}
	if err != nil {
		return nil, b.at(err)
	}
	if now := newObject(res.Header, res.ContentLength); now.etag != o.etag || now.size != o.size {
		_ = res.Body.Close()
		return nil, errMoved
	}
	return res.Body, nil
}

// sums are an object's checksums.
type sums struct{ sha256, md5 string }

// sum reads a whole object.
func (r *Repairer) sum(ctx context.Context, b *backend, bucket, key string, o *object) (sums, error) {
	body, err := r.content(ctx, b, bucket, key, o)
	if err != nil {
		return sums{}, err
	}
	defer body.Close()
	long, short := sha256.New(), md5.New() //nolint:gosec // what ETags are
	var p [16 << 10]byte
	for {
		if err := waitBytes(ctx, len(p), b); err != nil {
			return sums{}, err
		}
		n, err := io.ReadFull(body, p[:])
		long.Write(p[:n])
		short.Write(p[:n])
		r.counts.compared.Add(uint64(n)) //nolint:gosec // never negative
		if ended(err) {
			return sums{hex.EncodeToString(long.Sum(nil)), hex.EncodeToString(short.Sum(nil))}, nil
		}
		if err != nil {
			return sums{}, b.at(err)
		}
	}
}

// damaged reports whether content with this MD5 does not match its ETag: that of a single,
// unencrypted part on a backend whose ETags are MD5s.
func (r *Repairer) damaged(ctx context.Context, b *backend, bucket, key string, o *object, md5 string) bool {
	if md5 == "" || r.o.IgnoreETags || o.encrypted || !isMD5(o.etag) || strings.EqualFold(o.etag, md5) {
		return false
	}
	return !r.opaque(ctx, b, bucket, key)
}

// opaqueSamples is how many other objects are read to find out whether a backend's ETags are MD5s
// at all.
const opaqueSamples = 3

// opaque reports whether a backend's ETags only look like MD5s. It is called when one is not the
// content's: if another object in the bucket has its MD5 as its ETag, this one is damaged.
func (r *Repairer) opaque(ctx context.Context, b *backend, bucket, key string) bool {
	select {
	case b.judging <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-b.judging }()
	if b.opaque.Load() {
		return true
	}
	if b.honest.Load() {
		return false
	}
	page, err := b.List(ctx, bucket, "", client.Next{}, 100)
	if err != nil {
		return false
	}
	looked := 0
	for i := range page.Entries {
		e := &page.Entries[i]
		if e.Key == key || e.Size == 0 || e.Size > smallObject || !isMD5(e.ETag) {
			continue
		}
		doc, _, err := b.Document(ctx, &client.Request{Method: http.MethodGet, Bucket: bucket, Key: e.Key}, smallObject)
		if err != nil {
			continue
		}
		if sum := md5.Sum(doc); strings.EqualFold(hex.EncodeToString(sum[:]), e.ETag) { //nolint:gosec // what ETags are
			b.honest.Store(true)
			return false
		}
		if looked++; looked == opaqueSamples {
			break
		}
	}
	if looked > 0 {
		b.opaque.Store(true)
		b.log.Info("a backend's ETags are no MD5s: contents are compared where they differ", "backend", b.name)
	}
	return looked > 0
}

// listed reports whether a listing has exactly this key; known is false if it cannot tell. Some
// backends show a directory, or another key's object, when asked for one by name.
func (b *backend) listed(ctx context.Context, bucket, key string) (entry *client.Entry, known bool, err error) {
	for i := range len(key) {
		if key[i] < ' ' || key[i] == 0x7f {
			return nil, false, nil // listings spell these as they like
		}
	}
	if !utf8.ValidString(key) {
		return nil, false, nil
	}
	page, err := b.List(ctx, bucket, key, client.Next{}, 10)
	if err != nil {
		return nil, false, b.at(err)
	}
	for i := range page.Entries {
		if page.Entries[i].Key == key {
			return &page.Entries[i], true, nil
		}
	}
	return nil, true, nil
}

// isDirectory reports whether what a backend shows under a name, but does not list, is a directory. It may be
// the object of another key that the backend takes for the same.
func (b *backend) isDirectory(ctx context.Context, bucket, key string, shown *object) (bool, error) {
	if !strings.HasSuffix(key, "/") {
		return false, nil
	}
	bare := strings.TrimRight(key, "/")
	folded := strings.TrimPrefix(path.Clean("/"+bare), "/")
	for _, other := range []string{bare, bare + "/", folded, folded + "/"} {
		entry, _, err := b.listed(ctx, bucket, other)
		if err != nil || entry != nil && entry.ETag == shown.etag {
			return false, err
		}
	}
	return true, nil
}

// suspicious reports whether a backend may take a key for another one, or for a directory.
func suspicious(key string) bool {
	return strings.HasSuffix(key, "/") || strings.HasPrefix(key, "/") || strings.Contains(key, "//") ||
		strings.Contains("/"+key+"/", "/./") || strings.Contains("/"+key+"/", "/../")
}
