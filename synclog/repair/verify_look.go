package repair

import (
	"context"
	"errors"
)

// look compares one key, by what the backends say now.
func (v *verifier) look(ctx context.Context, cancel context.CancelFunc, key string) {
	if v.r.objects != nil && v.r.objects.Wait(ctx) != nil || ctx.Err() != nil {
		return
	}
	var d Difference
	for range maxRounds {
		objects, errs := v.r.observe(ctx, v.o.Bucket, key)
		d = v.compare(ctx, key, objects, errs)
		if d.Kind != diffMoved {
			break
		}
	}
	if d.Kind == diffMoved {
		d.Kind = DiffError
	}
	if d.Kind == "" || ctx.Err() != nil {
		return
	}
	v.tell(ctx, d)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil {
		cancel()
	}
}

const diffMoved = "moved" // to be looked at again

func (v *verifier) compare(ctx context.Context, key string, objects []*object, errs []error) Difference {
	d := Difference{Bucket: v.o.Bucket, Key: key}
	first := -1
	for i, b := range v.r.backends {
		h := Have{Backend: b.name}
		switch o := objects[i]; {
		case errs[i] != nil:
			h.Error = errs[i].Error()
			d.Kind = DiffError
		case o != nil:
			h.Present, h.Size, h.ETag, h.Modified = true, o.size, o.etag, o.modified
			if first < 0 {
				first = i
			}
		}
		d.Have = append(d.Have, h)
	}
	if d.Kind != "" || first < 0 {
		return d
	}
	read := v.o.Deep
	for i, o := range objects {
		a := objects[first]
		switch {
		case o == nil:
			d.Kind = DiffMissing
			return d
		case o.size != a.size:
			d.Kind = DiffSize
			return d
		case o.etag == a.etag || v.o.IgnoreETags:
		case v.r.agreeable(a, v.r.backends[first], o, v.r.backends[i]):
			read = true
		default:
			d.Kind = DiffETag
			return d
		}
	}
	if read {
		v.read(ctx, &d, objects, first)
	}
	if d.Kind == "" && v.o.Deep {
		for _, o := range objects {
			if o.fingerprint(true) != objects[first].fingerprint(true) {
				d.Kind = DiffMetadata
			}
		}
	}
	return d
}

// read compares contents, all backends' at once.
func (v *verifier) read(ctx context.Context, d *Difference, objects []*object, first int) {
	errs := make([]error, len(objects))
	v.r.each(func(i int, b *backend) {
		d.Have[i].SHA256, errs[i] = v.r.sum(ctx, b, v.o.Bucket, d.Key, objects[i])
	})
	for i, err := range errs {
		switch {
		case errors.Is(err, errMoved):
			d.Kind = diffMoved
			d.Have[i].Error = err.Error()
			return
		case err != nil:
			d.Kind = DiffError
			d.Have[i].Error = err.Error()
		case d.Kind == "" && d.Have[i].SHA256 != d.Have[first].SHA256:
			d.Kind = DiffContent
		}
	}
}
