package repair

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/akubra/akubra/synclog/repair/client"
	"github.com/akubra/akubra/synclog/task"
)

// copyAll copies the object to the targets of a plan.
func (w *run) copyAll(ctx context.Context, d plan, s *sight) error {
	from := s.objects[d.source]
	src := w.r.backends[d.source]
	reader := &transfer{r: w.r, bucket: w.t.Bucket, key: w.t.Key, src: src, from: from}
	content, wait := reader.readAhead(ctx)
	x, l, err := w.belongings(ctx, d.source, s)
	wait()
	if err != nil {
		return err
	}
	var errs []error
	for _, i := range d.targets {
		dst := w.r.backends[i]
		dst.readFrom(d.source)
		dst.overwritten.Store(s.objects[i] != nil)
		if mine, err := w.own(ctx, i, s); err != nil || !mine {
			errs = append(errs, err)
			continue
		}
		c := &transfer{
			r: w.r, bucket: w.t.Bucket, key: w.t.Key, src: src, dst: dst, from: from, to: s.objects[i], extras: x, lock: l, content: content,
			sent: &w.bytes, still: func(ctx context.Context, locked bool) error { return w.stillThere(ctx, dst, s.objects[i], locked) },
			seal: w.seal, unseal: w.unseal,
			began: func(id string) {
				w.t.LastError = uploadNote(dst, id)
				w.r.note(w.t)
			},
		}
		etag, err := c.do(ctx)
		if errors.Is(err, errDamaged) {
			// Another one may be whole; otherwise a person must be told.
			w.damaged[d.source] = from.etag
			return fmt.Errorf("%w (%w)", errMoved, err)
		}
		if w.refusesObject(err) && faultOf(err) == dst {
			w.refused[i] = "the object: " + err.Error()
			errs = append(errs, fmt.Errorf("%w (%w)", errMoved, err))
			continue
		}
		if err != nil {
			// The other targets get their copies, unless the source is what failed.
			errs = append(errs, err)
			if faultOf(err) != dst {
				break
			}
			continue
		}
		w.r.wrote(dst)
		if !reader.another.Load() {
			c.notePair()
		}
		w.given[i] = gift{etag: etag, from: from, source: d.source, extras: c.extras}
		w.damaged[i] = ""
		w.copied++
		w.actions = append(w.actions, "copied "+src.name+" to "+dst.name)
		if suspicious(w.t.Key) && s.objects[i] == nil && !w.folded[d.source] { // else they fold alike
			errs = append(errs, w.unfold(ctx, i))
			if w.folded[i] {
				w.given[i] = gift{}
			}
		}
	}
	return firstOf(errs)
}

// belongings are an object's tags, ACL and lock. Each that is an aspect of its own here comes from
// its own source, so that the new content never stands with the old ones.
func (w *run) belongings(ctx context.Context, source int, s *sight) (x extras, l lock, err error) {
	b := w.r.backends[source]
	if x, err = w.r.extrasOf(ctx, b, w.t.Bucket, w.t.Key, s.objects[source]); err != nil {
		return x, l, err
	}
	l = lockOf(s.objects[source], w.r.o.Now())
	for _, p := range w.parts {
		c := w.r.claimOf(p)
		if !has(c.owed, source) || !c.acked {
			continue // the content's source is as good as any
		}
		for i := range s.views {
			if s.views[i].is != present || has(c.owed, i) || !has(c.took, i) {
				continue
			}
			doc, err := w.r.backends[i].getDocument(ctx, w.t.Bucket, w.t.Key, partNames[p.Aspect])
			if err != nil {
				return x, l, err
			}
			switch p.Aspect {
			case task.Tags:
				x.tags = doc.normal
			case task.ACL:
				x.setACL(&doc)
			case task.Retention:
				l.mode, l.until = cutSpace(doc.normal)
			case task.LegalHold:
				l.hold = doc.normal != ""
			}
			break
		}
	}
	return x, l, nil
}

func cutSpace(s string) (before, after string) {
	for i := range len(s) {
		if s[i] == ' ' {
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// own reports whether what a target shows under the key belongs to that key: on a backend that
// folds names, another key's object would be overwritten.
func (w *run) own(ctx context.Context, i int, s *sight) (bool, error) {
	if s.objects[i] == nil || suspicious(w.t.Key) {
		return true, nil // suspicious ones were looked up before
	}
	l := s.listed[i]
	if !l.asked || l.known && l.entry == nil { // it may have come between the listing and the look
		l.entry, l.known, l.err = w.r.backends[i].listed(ctx, w.t.Bucket, w.t.Key)
	}
	if l.err != nil {
		return false, l.err
	}
	if l.known && l.entry == nil {
		w.folded[i] = true
		return false, errMoved
	}
	return true, nil
}

// unfold takes back a copy that has landed under another key's name.
func (w *run) unfold(ctx context.Context, i int) error {
	b := w.r.backends[i]
	entry, known, err := b.listed(ctx, w.t.Bucket, w.t.Key)
	if err != nil || !known || entry != nil {
		return err
	}
	o, err := b.head(ctx, w.t.Bucket, w.t.Key)
	if given := w.given[i].etag; err == nil && o != nil && (given == "" || given == o.etag) { // else it has been written since
		err = w.r.deleteObject(ctx, b, w.t, o)
	}
	w.folded[i] = true
	return err
}

// firstOf returns the error to act on: errMoved is not a failure if there is a real one beside it.
func firstOf(errs []error) (moved error) {
	for _, err := range errs {
		switch {
		case err == nil:
		case errors.Is(err, errMoved):
			moved = err
		default:
			return err
		}
	}
	return moved
}

// stillThere looks once more before a copy becomes the object, because backends without
// conditional writes would put it over anything. It must not be called in the middle of a
// conditional PUT: MinIO locks the object during that, and would keep the look waiting until its
// end.
func (w *run) stillThere(ctx context.Context, b *backend, was *object, locked bool) error {
	if !w.still() {
		return errMoved
	}
	if locked {
		return nil
	}
	now, err := b.head(ctx, w.t.Bucket, w.t.Key)
	if err == nil && was == nil && now != nil && strings.HasSuffix(w.t.Key, "/") {
		// It may be a directory, as it was when it was looked up.
		entry, known, listErr := b.listed(ctx, w.t.Bucket, w.t.Key)
		directory := false
		if err = listErr; known && entry == nil {
			directory, err = b.isDirectory(ctx, w.t.Bucket, w.t.Key, now)
		}
		if directory {
			now = nil
		}
	}
	if err != nil {
		return err
	}
	if (now == nil) != (was == nil) || now != nil && (now.etag != was.etag || !now.modified.Equal(was.modified) && now.size != was.size) {
		return errMoved
	}
	return nil
}

func (w *run) deleteAll(ctx context.Context, d plan, s *sight) error {
	var errs []error
	for _, i := range d.targets {
		b := w.r.backends[i]
		b.overwritten.Store(true)
		if mine, err := w.own(ctx, i, s); err != nil || !mine {
			errs = append(errs, err)
			continue
		}
		err := w.seal()
		if err == nil {
			err = w.r.deleteObject(ctx, b, w.t, s.objects[i])
			w.unseal()
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		w.r.wrote(b)
		w.given[i] = gift{gone: true}
		w.deleted++
		w.actions = append(w.actions, "deleted from "+b.name)
	}
	return firstOf(errs)
}

// deleteObject deletes what was looked at, and nothing else if the backend knows conditions.
func (r *Repairer) deleteObject(ctx context.Context, b *backend, t *task.Task, was *object) error {
	conditional := b.has(featConditionDelete) && was != nil && was.etag != "" && was.listed == nil
	for {
		header := http.Header{}
		if c := t.Of(task.Content); c != nil && c.Delete() && c.Carried&task.CarriedBypass != 0 {
			header = bypass()
		}
		if conditional {
			header.Set("If-Match", `"`+was.etag+`"`)
		}
		_, err := b.Discard(ctx, &client.Request{Method: http.MethodDelete, Bucket: t.Bucket, Key: t.Key, Header: header})
		switch {
		case err == nil || client.Status(err) == http.StatusNotFound:
			return nil
		case conditional && client.Unsupported(err):
			conditional = false
			b.forget(featConditionDelete, err)
		case conditional && (client.Status(err) == http.StatusPreconditionFailed || client.HasCode(err, "ConditionalRequestConflict")):
			return fmt.Errorf("%w (%w)", errMoved, err)
		default:
			return b.at(err)
		}
	}
}

// would describes what would be done.
func (w *run) would(s *sight, d plan) (end, error) {
	for _, i := range d.targets {
		if d.action == actCopy {
			w.copied++
			w.actions = append(w.actions, "would copy "+w.r.backends[d.source].name+" to "+w.r.backends[i].name)
		} else {
			w.deleted++
			w.actions = append(w.actions, "would delete from "+w.r.backends[i].name)
		}
	}
	if d.wait || unseen(s.views) > 0 {
		_, err := w.wait(s.errs)
		return endPartly, err
	}
	return endResolved, nil
}
