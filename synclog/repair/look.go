package repair

import (
	"context"
	"errors"
	"strings"

	"github.com/akubra/akubra/synclog/repair/client"
	"github.com/akubra/akubra/synclog/task"
)

// sight is what one look at the backends has shown of a key.
type sight struct {
	objects []*object
	errs    []error
	views   []view
	listed  []listed // where that was asked already
}

// look asks all backends that can be asked, and assembles what planContent decides by.
func (w *run) look(ctx context.Context) (*sight, error) {
	s := &sight{views: make([]view, len(w.r.backends))}
	listings, wait := w.listAhead(ctx)
	s.objects, s.errs = w.r.observe(ctx, w.t.Bucket, w.t.Key, w.old)
	wait()
	s.listed = listings
	if suspicious(w.t.Key) {
		for i, folded := range w.r.lookUp(ctx, w.t.Bucket, w.t.Key, s.objects, s.errs) {
			w.folded[i] = w.folded[i] || folded
		}
	}
	now := w.r.o.Now()
	for i, o := range s.objects {
		v, b := &s.views[i], w.r.backends[i]
		if w.r.o.Memory.Lossy(b.name) {
			v.lossy = func(name string) bool { return w.r.o.Memory.Loses(b.name, name) }
		}
		v.invents = w.r.o.Memory.Loses(b.name, inventedType)
		v.folded = w.folded[i]
		switch {
		case s.errs[i] != nil:
			continue
		case o == nil:
			v.is = absent
			continue
		}
		v.is, v.etag, v.size, v.modified = present, o.etag, o.size, o.modified
		if e := o.listed; e != nil && e.ETag != "" {
			v.etag, v.size = e.ETag, e.Size
		}
		v.meta = withoutLines(o.meta(now), w.apart...)
		v.damaged = w.damaged[i] == o.etag && o.etag != "" || w.know.cutShort(i, v)
	}
	w.know.foldAlike(s.views)
	if err := w.compare(ctx, s); err != nil {
		return nil, err
	}
	if err := w.lookCloser(ctx, s); err != nil {
		return nil, err
	}
	w.judge(s)
	w.noteGuesses(s)
	return s, nil
}

// noteGuesses learns who makes up types: two have taken what stands, and the one that shows a type shows
// what a server guesses from the key.
func (w *run) noteGuesses(s *sight) {
	c := w.know.stands
	for i := range s.views {
		for j := range s.views {
			v, o := &s.views[i], &s.views[j]
			if c != nil && !c.del && has(c.took, i) && has(c.took, j) && c.shownBy(i, v) && c.shownBy(j, o) &&
				v.hasName(headerType) && !o.hasName(headerType) && guessed(w.t.Key, s.objects[i].system(headerType)) {
				w.r.learn(w.r.backends[i], inventedType)
				v.invents = true
			}
		}
	}
}

// foldAlike counts a name that a backend stores under another one as the key's own, if the backend
// shows under the key what was acknowledged: that is what it gives to those who ask.
func (k *knowledge) foldAlike(views []view) {
	if k.stands == nil || k.stands.del || k.stands.etag == "" {
		return
	}
	for i := range views {
		own := views[i]
		if own.folded = false; k.stands.shownBy(i, &own) {
			views[i].folded = false
		}
	}
}

// cutShort reports whether a backend shows the acknowledged ETag with a different size.
func (k *knowledge) cutShort(i int, v *view) bool {
	c := k.stands
	return c != nil && !c.del && c.size > 0 && c.etagAt(i) != "" && v.etag == c.etagAt(i) && v.size != c.size
}

// lookUp consults the listings if a name may be a directory's, or another key's. It removes
// directories from objects, and reports which backends show another key's object.
func (r *Repairer) lookUp(ctx context.Context, bucket, key string, objects []*object, errs []error) (folded []bool) {
	folded = make([]bool, len(objects))
	r.each(func(i int, b *backend) {
		if errs[i] != nil || objects[i] == nil {
			return
		}
		entry, known, err := b.listed(ctx, bucket, key)
		directory := false
		if err == nil && known && entry == nil {
			directory, err = b.isDirectory(ctx, bucket, key, objects[i])
		}
		switch {
		case err != nil:
			objects[i], errs[i] = nil, err
		case directory:
			objects[i] = nil // that is no object
		case known && entry == nil:
			folded[i] = true
		case entry != nil && strings.HasSuffix(key, "/"):
			objects[i].listed = entry
		}
	})
	return folded
}

// lookCloser asks for tags and ACLs if looks alone would not show that the same bytes were written
// with different ones: if a backend that owes the content shows it already, if one was given it in
// this run, if a write to them overlapped with the content's, and if verify has found a difference.
func (w *run) lookCloser(ctx context.Context, s *sight) error {
	closer := w.know.found != nil || w.know.crossed || w.decided != nil || w.know.stands != nil && w.know.stands.carried&task.CarriedTags != 0
	counts := map[int]bool{}
	for i := range s.views {
		v := &s.views[i]
		if v.is != present {
			continue
		}
		counts[s.objects[i].tagCount()] = true
		if w.given[i].from != nil {
			closer = closer || w.given[i].extras.tags != "" || w.given[i].extras.acl != nil || w.given[i].extras.canned != ""
			continue
		}
		for j := range s.views {
			o := &s.views[j]
			closer = closer || j != i && o.is == present && w.given[j].from == nil && w.know.owes(i) && v.sameContent(o) && v.meta == o.meta
		}
	}
	if !closer && len(counts) < 2 {
		return nil
	}
	errs := make([]error, len(s.views))
	w.r.each(func(i int, b *backend) {
		if s.views[i].is != present {
			return
		}
		x, err := w.r.extrasOf(ctx, b, w.t.Bucket, w.t.Key, s.objects[i])
		if errs[i] = err; err != nil {
			return
		}
		s.views[i].meta += withoutLines(x.meta(), w.apart...)
	})
	return firstOf(errs)
}

// compare reads contents whose sizes agree and whose ETags cannot.
func (w *run) compare(ctx context.Context, s *sight) error {
	if w.know.found != nil {
		return w.readAll(ctx, s)
	}
	classes := 0
	for i := range s.views {
		a := &s.views[i]
		if a.is != present || a.damaged || a.folded {
			continue
		}
		for j := range i {
			b := &s.views[j]
			if b.is != present || b.damaged || b.folded || a.size != b.size || a.content != 0 {
				continue
			}
			equal := a.etag == b.etag
			if !equal {
				var err error
				if equal, err = w.equal(ctx, s, i, j); err != nil {
					return err
				}
			}
			if !equal || a.etag == b.etag && b.content == 0 {
				continue
			}
			if b.content == 0 {
				classes++
				b.content = classes
			}
			a.content = b.content
		}
	}
	return nil
}

// equal reports whether contents of the same size are the same despite different ETags.
func (w *run) equal(ctx context.Context, s *sight, i, j int) (bool, error) {
	a, b, at, bt := &s.views[i], &s.views[j], w.r.backends[i], w.r.backends[j]
	both := w.know.bothShow(i, j, a, b)
	if both && !w.know.owes(i) && !w.know.owes(j) {
		return true, nil
	}
	if s.objects[i].sealed || s.objects[j].sealed { // it cannot be read: both have to have answered that they took it
		return both && has(w.know.stands.said, i) && has(w.know.stands.said, j), nil
	}
	// A copy with a different ETag shows that its backend makes ETags in its own way.
	fresh := w.given[i].from != nil && w.given[i].etag == a.etag || w.given[j].from != nil && w.given[j].etag == b.etag
	if !fresh && !w.r.agreeable(s.objects[i], at, s.objects[j], bt) {
		return false, nil
	}
	equal, err := w.r.equalContent(ctx, w.t.Bucket, w.t.Key, s.objects[i], at, s.objects[j], bt)
	if equal && fresh && isMD5(a.etag) && isMD5(b.etag) {
		target := at
		if w.given[i].from == nil {
			target = bt
		}
		target.opaque.Store(true)
	}
	return equal, err
}

// readAll reads all contents, which verify has found to differ.
func (w *run) readAll(ctx context.Context, s *sight) error {
	classes := map[string]int{}
	for i := range s.views {
		v, b := &s.views[i], w.r.backends[i]
		if v.is != present || v.folded {
			continue
		}
		sum, err := w.r.sum(ctx, b, w.t.Bucket, w.t.Key, s.objects[i])
		if err != nil {
			return err
		}
		if classes[sum.sha256] == 0 {
			classes[sum.sha256] = len(classes) + 1
		}
		v.content = classes[sum.sha256]
		v.damaged = v.damaged || w.r.damaged(ctx, b, w.t.Bucket, w.t.Key, s.objects[i], sum.md5)
	}
	return nil
}

// bothShow reports whether two backends show what stands, under ETags of their own.
func (k *knowledge) bothShow(i, j int, a, b *view) bool {
	c := k.stands
	return c != nil && !c.del && c.etagAt(i) != "" && c.shownBy(i, a) && c.shownBy(j, b)
}

// judge says, for each backend that was given a copy in this run, what it has not kept.
func (w *run) judge(s *sight) {
	for i := range s.views {
		g, v := &w.given[i], &s.views[i]
		v.refused = w.refused[i]
		if g.gone && v.is == present && !v.folded {
			v.refused = "a delete"
		}
		if g.from == nil || v.is == unknown {
			continue
		}
		b := w.r.backends[i]
		source := &s.views[g.source]
		switch {
		case source.is != present || source.etag != g.from.etag || v.same(source):
			// It has moved on, or is well.
		case v.is == absent:
			v.refused = "the object"
		case v.etag != g.etag && g.etag != "":
			// Somebody else has written it.
		case !v.sameContent(source):
			v.refused = "the content as it was given"
		default:
			v.refused = v.metaBut(source)
			if v.refused == headerType && !source.hasName(headerType) {
				w.r.learn(b, inventedType)
				v.invents = true
				if v.refused = v.metaBut(source); v.refused == "" {
					continue
				}
			}
			// All of it at once: the key is parked now, and verify is to know.
			for line := range strings.Lines(source.meta) {
				if name, _, _ := strings.Cut(line, ":"); !v.hasName(name) {
					w.r.learn(b, name)
				}
			}
		}
	}
}

// partsOfAll reads one subresource of all backends.
func (w *run) partsOfAll(ctx context.Context, s *sight, name string) (parts []part, docs []document, errs []error) {
	parts, docs, errs = make([]part, len(s.views)), make([]document, len(s.views)), make([]error, len(s.views))
	w.r.each(func(i int, b *backend) {
		p := &parts[i]
		p.object, p.lossy, p.late = &s.views[i], w.r.o.Memory.Loses(b.name, "?"+name), w.know.lacked(i)
		switch s.views[i].is {
		case unknown:
			errs[i] = s.errs[i]
			return
		case absent:
			p.is = absent
			return
		}
		docs[i], errs[i] = b.getDocument(ctx, w.t.Bucket, w.t.Key, name)
		if errs[i] != nil {
			return
		}
		p.is, p.none, p.normal = docs[i].is, docs[i].is == unknown, docs[i].normal
		p.bare = p.is == absent && docs[i].raw == nil && !has(w.know.revised, i) && len(w.know.rivals) == 0
		if name == "acl" && p.normal == ownerAll { // what every object has
			p.is, p.normal = absent, ""
		}
	})
	return parts, docs, errs
}

// apartOf are the lines of metadata that are aspects of their own here.
func apartOf(parts, versions []*task.Write) (names []string) {
	for _, p := range parts {
		names = append(names, partLines[partNames[p.Aspect]]...)
	}
	for _, v := range versions { // which may be the current one
		if !deletesVersion(v) {
			names = append(names, partLines[subresourceOf(v.Target)]...)
		}
	}
	return names
}

// partLines are the lines of metadata that show a subresource.
var partLines = map[string][]string{"tagging": {lineTags}, "acl": {lineACL}, "retention": {lineMode, lineDate}, "legal-hold": {lineHold}}

// stacks are a key's versions on all backends. A backend that does not know versions has what a
// look shows, as its "null" version.
func (w *run) stacks(ctx context.Context) (stacks [][]version, errs []error) {
	stacks, errs = make([][]version, len(w.r.backends)), make([]error, len(w.r.backends))
	w.r.each(func(i int, b *backend) {
		if errs[i] = w.r.usableBut(w.old, i); errs[i] != nil {
			return
		}
		entries, err := b.Versions(ctx, w.t.Bucket, w.t.Key)
		switch {
		case client.HasCode(err, "NoSuchBucket"):
			errs[i] = errNoBucket // what has gone with it no write to a version took away
			return
		case err == nil:
		case client.Unsupported(err):
			errs[i] = errNoVersions
			return
		default:
			errs[i] = b.at(err)
			return
		}
		for _, e := range entries {
			stacks[i] = append(stacks[i], version{id: e.ID, marker: e.Marker, etag: e.ETag, size: e.Size})
		}
	})
	return stacks, errs
}

var errNoBucket = errors.New("repair: the backend has no such bucket")

var errNoVersions = errors.New("repair: the backend does not list versions")
