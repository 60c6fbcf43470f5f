package repair

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/akubra/akubra/s3"
	"github.com/akubra/akubra/synclog/repair/client"
)

func (w *run) copyAll(ctx context.Context, d decision, objects []*object) error {
	var errs []error
	for _, i := range d.targets {
		src, dst := w.r.backends[d.source], w.r.backends[i]
		c := &transfer{
			r: w.r, bucket: w.t.Bucket, key: w.t.Key, src: src, dst: dst, from: objects[d.source], to: objects[i],
			sent: &w.bytes, still: func(ctx context.Context, locked bool) error { return w.stillThere(ctx, dst, objects[i], locked) },
			seal: w.seal, unseal: w.unseal,
			began: func(id string) {
				w.t.LastError = uploadNote(dst, id)
				w.r.note(w.t)
			},
		}
		w.r.ghosts.add(taskID(w.t), ghost{i, objects[d.source].etag, objects[d.source].modified})
		etag, err := c.do(ctx)
		if err != nil {
			// The others are given theirs, unless the source is what failed.
			errs = append(errs, err)
			if faultOf(err) != dst {
				break
			}
			continue
		}
		w.given[i] = gift{etag: etag, from: objects[d.source]}
		w.copied++
		w.actions = append(w.actions, "copied "+src.name+" to "+dst.name)
	}
	return firstOf(errs)
}

// firstOf is the error to go by: what moved is no failure beside one that is.
func firstOf(errs []error) error {
	for _, err := range errs {
		if !errors.Is(err, errMoved) {
			return err
		}
	}
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}

// stillThere looks once more before a copy becomes the object: storages without
// conditional writes would take it over anything. Not so in the middle of a PUT
// with a condition: MinIO locks the object for it, and would let the look wait for
// its end.
func (w *run) stillThere(ctx context.Context, b *backend, was *object, locked bool) error {
	if !w.still() {
		return errMoved
	}
	if locked {
		return nil
	}
	now, err := b.head(ctx, w.t.Bucket, w.t.Key)
	if err != nil {
		return err
	}
	if (now == nil) != (was == nil) || now != nil && (now.etag != was.etag || !now.modified.Equal(was.modified) && now.size != was.size) {
		return errMoved
	}
	return nil
}

func (w *run) deleteAll(ctx context.Context, d decision, objects []*object) error {
	var errs []error
	for _, i := range d.targets {
		b := w.r.backends[i]
		err := w.seal()
		if err == nil {
			err = w.r.deleteObject(ctx, b, w.t.Bucket, w.t.Key, objects[i])
			w.unseal()
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		w.deleted++
		w.actions = append(w.actions, "deleted from "+b.name)
	}
	return firstOf(errs)
}

// deleteObject deletes what was looked at, and nothing else where the storage
// knows conditions.
func (r *Repairer) deleteObject(ctx context.Context, b *backend, bucket, key string, was *object) error {
	conditional := b.has(featConditionDelete) && was.etag != ""
	for {
		header := http.Header{}
		if conditional {
			header.Set("If-Match", `"`+was.etag+`"`)
		}
		_, err := b.Discard(ctx, &client.Request{Method: http.MethodDelete, Bucket: bucket, Key: key, Header: header})
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

// syncSub copies the subresource that the newest write was about.
func (w *run) syncSub(ctx context.Context, d decision) error {
	name := subresourceOf(w.t.Newest().Target)
	if !s3.Subresources[name].Document {
		return nil // about an object, a restore say, it is nothing that others should have too
	}
	src := w.r.backends[d.source]
	var errs []error
	for i, b := range w.r.backends {
		if i == d.source || w.r.usable(b) != nil {
			continue
		}
		wrote, err := w.r.syncDocument(ctx, w.t.Bucket, w.t.Key, name, src, b)
		switch {
		case err != nil:
			errs = append(errs, err)
		case wrote:
			w.copied++
			w.actions = append(w.actions, "copied ?"+name+" from "+src.name+" to "+b.name)
		}
	}
	return firstOf(errs)
}

// plan tells what would be done.
func (w *run) plan(ctx context.Context, d decision, errs []error) (end, error) {
	switch d.action {
	case actWait:
		return w.wait(errs)
	case actResolve:
		return endResolved, nil
	case actSub:
		err := w.syncSub(ctx, d)
		for i, a := range w.actions {
			w.actions[i] = "would have " + a
		}
		return endResolved, err
	}
	for _, i := range d.targets {
		if d.action == actCopy {
			w.copied++
			w.actions = append(w.actions, "would copy "+w.r.backends[d.source].name+" to "+w.r.backends[i].name)
		} else {
			w.deleted++
			w.actions = append(w.actions, "would delete from "+w.r.backends[i].name)
		}
	}
	if !d.complete {
		_, err := w.wait(errs)
		return endPartly, err
	}
	return endResolved, nil
}
