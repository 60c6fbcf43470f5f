package repair

import (
	"context"
)

// states puts together what decide goes by. Where a target was given a copy, and
// answers with that, differences that it insists on are its own way to store it.
func (w *run) states(ctx context.Context, objects []*object, errs []error) ([]state, error) {
	states := make([]state, len(objects))
	for i, o := range objects {
		s := &states[i]
		s.owed = w.r.owed(w.t, i)
		switch {
		case errs[i] != nil:
		case o == nil:
			s.is = absent
		default:
			s.is, s.etag, s.size, s.modified = present, o.etag, o.size, o.modified
			s.meta = o.fingerprint(w.event.kind != eventSub)
		}
	}
	w.r.ghosts.age(taskID(w.t), states)
	for i, g := range w.given {
		o := objects[i]
		if g.from == nil || o == nil || errs[i] != nil || g.etag != "" && o.etag != g.etag {
			continue
		}
		if want := g.from.fingerprint(w.event.kind != eventSub); states[i].meta != want {
			w.r.keepsOtherwise(w.r.backends[i], w.t, want, states[i].meta)
			states[i].meta = want
		}
	}
	return states, w.compare(ctx, objects, states)
}

// compare reads contents where sizes agree and ETags cannot.
func (w *run) compare(ctx context.Context, objects []*object, states []state) error {
	classes := 0
	for i := range states {
		a := &states[i]
		if a.is != present {
			continue
		}
		for j := range i {
			b := &states[j]
			if b.is != present || a.size != b.size || a.meta != b.meta || a.etag == b.etag || a.content != 0 {
				continue
			}
			// A copy that came out with another ETag shows that its storage has
			// ways of its own.
			fresh := w.given[i].from != nil && w.given[i].from.etag == b.etag ||
				w.given[j].from != nil && w.given[j].from.etag == a.etag
			at, bt := w.r.backends[i], w.r.backends[j]
			if !fresh && !w.r.agreeable(objects[i], at, objects[j], bt) {
				continue
			}
			equal, err := w.r.equalContent(ctx, w.t.Bucket, w.t.Key, objects[i], at, objects[j], bt)
			if err != nil {
				return err
			}
			if !equal {
				continue
			}
			if b.content == 0 {
				classes++
				b.content = classes
			}
			a.content = b.content
			if fresh && isMD5(a.etag) && isMD5(b.etag) {
				target := at
				if w.given[i].from == nil {
					target = bt
				}
				target.opaque.Store(true)
			}
		}
	}
	return nil
}
