package repair

import (
	"context"
	"strings"

	"github.com/akubra/akubra/s3"
	"github.com/akubra/akubra/synclog/task"
)

// Head is what one backend shows of a key, for people.
type Head struct {
	Have
	Metadata []string `json:"metadata,omitempty"` // "NAME:value"; tags and ACL among it
	// Folded: the backend shows another key's object under this name.
	Folded bool `json:"folded,omitempty"`
	// Versions is how many versions the backend has, including markers, if a write was to one of
	// them; -1 means not known.
	Versions int `json:"versions,omitempty"`
}

// Show asks each backend what it has for a task's key now. Nothing is changed, and no content is
// read. It may be called at any time, also during a repair.
func (r *Repairer) Show(ctx context.Context, t *task.Task) []Head {
	heads := make([]Head, len(r.backends))
	for i, b := range r.backends {
		heads[i].Backend = b.name
	}
	if t.Key == "" {
		r.each(func(i int, b *backend) { r.showBucket(ctx, b, t, &heads[i]) })
		return heads
	}
	objects, errs := r.observe(ctx, t.Bucket, t.Key, 0)
	if suspicious(t.Key) {
		for i, folded := range r.lookUp(ctx, t.Bucket, t.Key, objects, errs) {
			heads[i].Folded = folded
		}
	}
	r.each(func(i int, b *backend) {
		h, o := &heads[i], objects[i]
		if errs[i] == nil && o != nil {
			h.Present, h.Size, h.ETag, h.Modified = true, o.size, o.etag, o.modified
			h.Metadata = linesOf(o.meta(r.o.Now()))
			var x extras
			x, errs[i] = r.extrasOf(ctx, b, t.Bucket, t.Key, o)
			h.Metadata = append(h.Metadata, linesOf(x.meta())...)
		}
		if errs[i] == nil && len(versionsOf(t)) > 0 {
			entries, err := b.Versions(ctx, t.Bucket, t.Key)
			if h.Versions = len(entries); err != nil {
				h.Versions = -1
			}
		}
		if errs[i] != nil {
			h.Error = errs[i].Error()
		}
	})
	return heads
}

// CloseIdle closes the connections that Show has kept.
func (r *Repairer) CloseIdle() {
	for _, b := range r.backends {
		b.Close()
	}
}

// showBucket reports whether a bucket, or a setting of it, exists.
func (r *Repairer) showBucket(ctx context.Context, b *backend, t *task.Task, h *Head) {
	err := r.usable(b)
	var o *object
	if err == nil {
		o, err = b.head(ctx, t.Bucket, "")
	}
	h.Present = o != nil
	if name := subresourceOf(t.Target); err == nil && o != nil && s3.Subresources[name].Document {
		var doc document
		doc, err = b.getDocument(ctx, t.Bucket, "", name)
		for _, line := range linesOf(doc.normal) {
			h.Metadata = append(h.Metadata, "?"+name+":"+line)
		}
	}
	if err != nil {
		h.Error = err.Error()
	}
}

func linesOf(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool { return c == '\n' })
}
