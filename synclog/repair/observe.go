package repair

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/akubra/akubra/synclog/repair/client"
)

// observe asks every backend that can be asked for the object; objects[i] is nil
// where there is none, or errs[i] says why it is not known.
func (r *Repairer) observe(ctx context.Context, bucket, key string) (objects []*object, errs []error) {
	objects, errs = make([]*object, len(r.backends)), make([]error, len(r.backends))
	r.each(func(i int, b *backend) {
		if errs[i] = r.usable(b); errs[i] == nil {
			objects[i], errs[i] = b.head(ctx, bucket, key)
		}
	})
	return objects, errs
}

// each calls f for every backend, at once, and waits.
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

// errMaintained is what a backend under maintenance is not asked for.
var errMaintained = errors.New("repair: the backend is under maintenance")

// usable tells why a backend is not to be asked.
func (r *Repairer) usable(b *backend) error {
	switch {
	case r.o.Maintained != nil && r.o.Maintained(b.name):
		return errMaintained
	case b.breaker.open.Load():
		return errOut
	}
	return nil
}

// agreeable reports whether different ETags of two objects can mean that they have
// the same content: parts may be cut in another way, storages may encrypt.
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
		if err := r.waitBytes(ctx, len(p)); err != nil {
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

// content opens an object that must be the one that was looked at.
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
	if now := newObject(b, res.Header, res.ContentLength); now.etag != o.etag || now.size != o.size {
		_ = res.Body.Close()
		return nil, errMoved
	}
	return res.Body, nil
}

// sum reads an object and gives its SHA-256.
func (r *Repairer) sum(ctx context.Context, b *backend, bucket, key string, o *object) (string, error) {
	body, err := r.content(ctx, b, bucket, key, o)
	if err != nil {
		return "", err
	}
	defer body.Close()
	h := sha256.New()
	var p [16 << 10]byte
	for {
		if err := r.waitBytes(ctx, len(p)); err != nil {
			return "", err
		}
		n, err := io.ReadFull(body, p[:])
		h.Write(p[:n])
		r.counts.compared.Add(uint64(n)) //nolint:gosec // never negative
		if ended(err) {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", b.at(err)
		}
	}
}
