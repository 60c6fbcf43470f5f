package repair

import (
	"context"
	"errors"
	"mime"
	"path"
	"strings"

	"github.com/akubra/akubra/synclog/repair/client"
)

// look compares one key by what the backends say now.
func (v *verifier) look(ctx context.Context, key string) *Difference {
	if v.r.objects != nil && v.r.objects.Wait(ctx) != nil {
		return nil
	}
	d := v.twice(ctx, key, func() Difference { return v.lookOnce(ctx, key) })
	if d != nil && d.Kind == DiffMissing {
		v.judgeMissing(ctx, d)
	}
	return d
}

// twice looks once more at what looks different, between two checks whether anybody is working on
// the key: what is pending, or in flight, is not a difference.
func (v *verifier) twice(ctx context.Context, key string, look func() Difference) *Difference {
	var d Difference
	for seen := 0; seen < 2; {
		if ctx.Err() != nil {
			return nil
		}
		d = look()
		if d.Kind == "" {
			return nil
		}
		if v.o.Busy != nil {
			switch busy, parked, err := v.o.Busy(v.o.Bucket, key); {
			case err != nil:
				d.Kind = DiffError
				d.Have[0].Error = err.Error()
				return &d
			case busy && key == "":
				return nil
			case busy:
				v.mu.Lock()
				v.sum.Busy++
				v.mu.Unlock()
				return nil
			default:
				d.parked = parked
			}
		}
		seen++
	}
	return &d
}

const diffMoved = "moved" // to be looked at again

func (v *verifier) lookOnce(ctx context.Context, key string) (d Difference) {
	for range maxRounds {
		objects, errs := v.r.observe(ctx, v.o.Bucket, key, 0)
		var folded []bool
		if suspicious(key) {
			folded = v.r.lookUp(ctx, v.o.Bucket, key, objects, errs)
		}
		for i := range folded {
			if folded[i] {
				objects[i] = nil // another key's
			}
		}
		if d = v.compare(ctx, key, objects, errs); d.Kind != diffMoved {
			return d
		}
	}
	d.Kind = DiffError
	return d
}

// judgeMissing decides which backends should get what others have: none if a history says that it
// was deleted, or cannot tell.
func (v *verifier) judgeMissing(ctx context.Context, d *Difference) {
	if v.o.Missing == MissingPark {
		d.owed = v.all()
		return
	}
	for i, b := range v.r.backends {
		if d.Have[i].Present {
			continue
		}
		entries, err := b.Versions(ctx, d.Bucket, d.Key)
		switch {
		case client.HasCode(err, "NoSuchBucket") && v.o.Missing == MissingCopy:
		case err == nil && len(entries) > 0: // a delete marker, or what is under one
			d.owed = v.all()
			return
		case v.o.Missing == MissingCopy:
		case err != nil || !v.versioned(ctx, b):
			d.owed = v.all()
			return
		}
	}
}

// versioned reports whether a bucket keeps what is deleted from it.
func (v *verifier) versioned(ctx context.Context, b *backend) bool {
	doc, err := b.getDocument(ctx, v.o.Bucket, "", "versioning")
	return err == nil && doc.is == present && strings.Contains(doc.normal, "Enabled")
}

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
		kind := ""
		switch {
		case o == nil:
			d.Kind = DiffMissing
			return d
		case o.size != a.size:
			kind = DiffSize
		case o.etag == a.etag || v.o.IgnoreETags:
		case v.r.agreeable(a, v.r.backends[first], o, v.r.backends[i]):
			read = true
		default:
			kind = DiffETag
		}
		if kind != "" && d.Kind == "" {
			d.Kind = kind
		}
	}
	if d.Kind != "" {
		d.owed = v.all()
		return d
	}
	if read {
		v.read(ctx, &d, objects, first)
	}
	if d.Kind == "" && v.o.Deep {
		v.belongings(ctx, &d, objects, first)
	}
	return d
}

// read compares contents, concurrently on all backends, and each with its own ETag.
func (v *verifier) read(ctx context.Context, d *Difference, objects []*object, first int) {
	errs, all := make([]error, len(objects)), make([]sums, len(objects))
	v.r.each(func(i int, b *backend) {
		all[i], errs[i] = v.r.sum(ctx, b, v.o.Bucket, d.Key, objects[i])
		d.Have[i].SHA256 = all[i].sha256
		d.Have[i].Damaged = errs[i] == nil && v.r.damaged(ctx, b, v.o.Bucket, d.Key, objects[i], all[i].md5)
	})
	var damaged []string
	for i, err := range errs {
		switch {
		case errors.Is(err, errMoved):
			d.Kind = diffMoved
			d.Have[i].Error = err.Error()
			return
		case err != nil:
			d.Kind = DiffError
			d.Have[i].Error = err.Error()
		case d.Have[i].Damaged:
			damaged = append(damaged, d.Have[i].Backend)
		case d.Kind == "" && all[i].sha256 != all[first].sha256:
			d.Kind = DiffContent
		}
	}
	switch {
	case d.Kind == DiffError:
	case len(damaged) > 0:
		d.Kind, d.owed = DiffDamaged, damaged
	case d.Kind == DiffContent:
		d.owed = v.all()
	}
}

// belongings compares metadata, tags, ACLs and locks. What a backend is known not to keep is
// reported once, and is not a difference.
func (v *verifier) belongings(ctx context.Context, d *Difference, objects []*object, first int) {
	views, errs := make([]view, len(objects)), make([]error, len(objects))
	now := v.r.o.Now()
	v.r.each(func(i int, b *backend) {
		x, err := v.r.extrasOf(ctx, b, v.o.Bucket, d.Key, objects[i])
		views[i] = view{is: present, meta: objects[i].meta(now) + x.meta(), invents: v.r.o.Memory.Loses(b.name, inventedType)}
		errs[i] = err
	})
	for i, err := range errs {
		if err != nil {
			d.Kind, d.Have[i].Error = DiffError, err.Error()
			return
		}
	}
	excused := false
	for i := range views {
		a, o := &views[first], &views[i]
		for {
			name := o.metaBut(a)
			if name == "" {
				break
			}
			if !v.excuse(d.Key, name, objects, views, first, i) {
				d.Kind, d.What, d.owed = DiffMetadata, name, v.all()
				return
			}
			excused = true
			a.meta, o.meta = withoutLines(a.meta, name), withoutLines(o.meta, name)
		}
	}
	if excused {
		v.mu.Lock()
		v.sum.NotKept++
		v.mu.Unlock()
	}
}

// excuse reports whether a difference is a known peculiarity of a backend, or plainly a type that
// it has guessed.
func (v *verifier) excuse(key, name string, objects []*object, views []view, i, j int) bool {
	for _, pair := range [2][2]int{{i, j}, {j, i}} {
		has, lacks := pair[0], pair[1]
		if !views[has].hasName(name) || views[lacks].hasName(name) {
			continue
		}
		if b := v.r.backends[lacks]; v.r.o.Memory.Loses(b.name, name) || name == lineTags && v.r.o.Memory.Loses(b.name, "?tagging") ||
			name == lineACL && v.r.o.Memory.Loses(b.name, "?acl") {
			v.notKept(b.name, name)
			return true
		}
		if b := v.r.backends[has]; name == headerType && guessed(key, objects[has].system(headerType)) {
			v.r.learn(b, inventedType)
			v.notKept(b.name, inventedType)
			return true
		}
	}
	return false
}

// guessed reports whether a type is what a server would guess from a name.
func guessed(key, contentType string) bool {
	base, _, _ := strings.Cut(contentType, ";")
	byName, _, _ := strings.Cut(mime.TypeByExtension(strings.ToLower(path.Ext(key))), ";")
	return base != "" && (base == byName || byName == "" && (base == "text/plain" || base == "application/x-directory"))
}

func (v *verifier) notKept(backend, what string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	id := backend + "\x00" + what
	if !v.told[id] && v.o.OnNotKept != nil {
		v.o.OnNotKept(backend, what)
	}
	v.told[id] = true
}
