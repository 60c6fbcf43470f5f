package repair

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"

	"github.com/akubra/akubra/s3"
	"github.com/akubra/akubra/synclog/repair/client"
	"github.com/akubra/akubra/synclog/task"
)

// doBucket makes a bucket, or one of its settings, equal on all backends.
func (r *Repairer) doBucket(ctx context.Context, t *task.Task) result {
	w := r.newRun(t)
	w.know = r.knowledgeOf(t)
	name, newest := subresourceOf(t.Target), t.Newest()
	if behind, parked, err := w.behindRemoval(); behind || err != nil {
		return behindResult(parked, err)
	}
	switch {
	case newest == nil:
		w.end = endResolved
	case newest.Aspect == task.Content && newest.Unrepeatable && !newest.Delete():
		w.person("a write that cannot be repeated: %s", newest.Method)
	case newest.Aspect == task.Setting && name != "":
		w.end, w.err = w.bucketDocument(ctx, name)
	case newest.Method == http.MethodPost && !hasParam(queryOf(t.Target), "delete"):
		// A form's upload has its key in the form.
		w.person("an upload by form to bucket %q; verify finds its key", t.Bucket)
	case newest.Method == http.MethodPost:
		w.person("a multi-object delete in bucket %q that could not be read; verify finds its keys", t.Bucket)
	case name != "":
		w.end, w.err = w.bucketDocument(ctx, name)
	default:
		w.end, w.err = w.bucketItself(ctx)
	}
	return w.result
}

// person parks a task that only a person can do.
func (w *run) person(format string, args ...any) {
	w.end, w.park, w.err = endParked, task.NeedsPerson, fmt.Errorf(format, args...)
}

// lookAtBucket is look for a bucket.
func (w *run) lookAtBucket(ctx context.Context) *sight {
	n := len(w.r.backends)
	s := &sight{views: make([]view, n), errs: make([]error, n), objects: make([]*object, n)}
	w.r.each(func(i int, b *backend) {
		if s.errs[i] = w.r.usable(b); s.errs[i] != nil {
			return
		}
		o, err := b.head(ctx, w.t.Bucket, "")
		switch {
		case err != nil:
			s.errs[i] = err
		case o == nil:
			s.views[i].is = absent
		default:
			// All that a bucket shows is that it exists, and whether its objects can be
			// locked.
			s.views[i].is = present
			locks, err := b.locks(ctx, w.t.Bucket)
			if err != nil && backendFault(err) { // that is no bucket without object lock
				s.views[i], s.errs[i] = view{}, err
			} else if locks {
				s.views[i].meta = lineLock + ":yes\n"
			}
		}
	})
	return s
}

const lineLock = "object lock"

// locks reports whether a bucket has object lock; it has none where there is an error.
func (b *backend) locks(ctx context.Context, bucket string) (bool, error) {
	doc, err := b.getDocument(ctx, bucket, "", "object-lock")
	return err == nil && doc.is == present, err
}

// bucketItself creates a bucket, or deletes it, where that is still to be done.
func (w *run) bucketItself(ctx context.Context) (end, error) {
	removal := removalOf(w.t)
	if w.doneByAll() {
		if !w.r.o.DryRun {
			w.r.endKeys(w.t, removal.Seq)
		}
		return endResolved, nil
	}
	left, err := w.removeOld(ctx)
	if err != nil {
		return w.leaveForced(removal, err)
	}
	for range maxRounds {
		s := w.lookAtBucket(ctx)
		for i := range s.views {
			if has(left, i) && s.errs[i] == nil { // what it shows is the old bucket
				s.views[i], s.errs[i] = view{}, errOut
			}
		}
		for i := range s.views {
			if v := &s.views[i]; w.given[i].gone && v.is == present {
				v.refused = "a delete"
			}
		}
		p := planContent(w.know, s.views, w.r.policy)
		if lockedOtherwise(p, s.views) {
			p = planContent(w.know, s.views, w.r.policy)
		}
		switch {
		case p.park != "":
			return w.leave(s, p)
		case p.action == actNothing && p.wait:
			return w.wait(s.errs)
		case p.action == actNothing:
			if removal != nil && removal == w.t.Of(task.Content) && unseen(s.views) == 0 && firstPresent(s.views) < 0 && !w.r.o.DryRun {
				w.r.endKeys(w.t, removal.Seq)
			}
			return endResolved, nil
		}
		if !w.r.o.DryRun {
			if p = w.allowed(p); len(p.targets) == 0 {
				return w.wait(s.errs)
			}
		}
		if err := w.actOnBucket(ctx, p); err != nil {
			return w.leaveForced(removal, err)
		}
		if w.r.o.DryRun {
			return endResolved, nil
		}
	}
	return endFailed, fmt.Errorf("cannot make bucket %q equal: it still differs after %d rounds", w.t.Bucket, maxRounds)
}

// lockedOtherwise reports whether the bucket exists on a target, but differs in whether it has
// object lock: an existing bucket can neither get it nor lose it.
func lockedOtherwise(p plan, views []view) (found bool) {
	for _, i := range p.targets {
		if p.action == actCopy && views[i].is == present {
			views[i].refused, found = lineLock, true
		}
	}
	return found
}

func (w *run) actOnBucket(ctx context.Context, p plan) error {
	var failed []error
	for _, i := range p.targets {
		b := w.r.backends[i]
		verb := "made the bucket at "
		if p.action == actDelete {
			verb = "deleted the bucket from "
		}
		switch {
		case w.r.o.DryRun:
			verb = "would have " + verb
		case p.action == actDelete:
			if err := w.removeBucket(ctx, i); err != nil {
				failed = append(failed, b.at(err))
				continue
			}
			w.given[i].gone = true
			w.deleted++
		default:
			if err := w.r.makeBucket(ctx, b, w.t.Bucket, w.r.backends[p.source]); err != nil {
				failed = append(failed, err)
				continue
			}
			w.r.wrote(b)
			w.copied++
		}
		w.actions = append(w.actions, verb+b.name)
	}
	return firstOf(failed)
}

// makeBucket creates a bucket with the versioning and the object lock of the other one. A bucket that
// exists already is as good. Copies to it wait for the end.
func (r *Repairer) makeBucket(ctx context.Context, b *backend, bucket string, like *backend) error {
	made, err := b.making.begin(ctx, bucket)
	if made == nil {
		return err
	}
	defer made()
	req := &client.Request{Method: http.MethodPut, Bucket: bucket, Header: http.Header{}, Once: true}
	var settings []string // that a new bucket has to be given
	for _, name := range []string{"versioning", "object-lock"} {
		doc, err := like.getDocument(ctx, bucket, "", name)
		switch {
		case err != nil && backendFault(err):
			return err
		case err != nil || doc.is != present:
			continue
		case name == "object-lock":
			req.Header.Set("X-Amz-Bucket-Object-Lock-Enabled", "true")
			if !strings.Contains(doc.normal, "Rule") {
				continue
			}
		}
		settings = append(settings, name)
	}
	if b.Region() != "us-east-1" {
		type configuration struct {
			XMLName            xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CreateBucketConfiguration"`
			LocationConstraint string
		}
		body, err := xml.Marshal(configuration{LocationConstraint: b.Region()})
		if err != nil {
			return err
		}
		req.Body = body
	}
	_, err = b.Discard(ctx, req)
	switch {
	case client.HasCode(err, "BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
		return nil
	case client.Status(err)/100 == 4:
		return b.at(err)
	}
	for _, name := range settings { // nobody else would miss them, if the process or the backend ends now
		missing := task.Write{Aspect: task.Found, Target: client.Path(bucket, "") + "?" + name, Reason: "a bucket that is made again", Owed: []string{b.name}}
		if err := r.o.Journal.Add(&task.Task{Bucket: bucket, Target: missing.Target, Writes: []task.Write{missing}}); err != nil {
			return err
		}
	}
	if err != nil { // it may have been made
		return b.at(err)
	}
	r.o.Log.Info("made a bucket that was missing", "backend", b.name, "bucket", bucket)
	for _, name := range settings {
		if _, err := r.syncDocument(ctx, bucket, "", name, like, b); err != nil {
			return err
		}
	}
	return nil
}

// bucketDocument compares a bucket's policy, CORS and so on, and copies it if required. Backends
// that are owed nothing have taken the write.
func (w *run) bucketDocument(ctx context.Context, name string) (end, error) {
	r, t := w.r, w.t
	if !s3.Subresources[name].Document {
		w.person("a write to ?%s of bucket %q that cannot be copied", name, t.Bucket)
		return w.end, w.err
	}
	docs, errs := make([]document, len(r.backends)), make([]error, len(r.backends))
	r.each(func(i int, b *backend) {
		if errs[i] = w.r.usableBut(w.old, i); errs[i] == nil {
			docs[i], errs[i] = b.getDocument(ctx, t.Bucket, "", name)
		}
	})
	c := r.claimOf(t.Newest())
	if set := t.Of(task.Setting); set != nil { // what repair misses beside it, see makeBucket
		c.owed |= r.bits(set.Owed)
	}
	source, differ, complete := -1, false, true
	for i := range docs {
		if errs[i] != nil {
			complete = false
			continue
		}
		if source < 0 && !has(c.owed, i) {
			source = i
		}
	}
	for i := range docs {
		if errs[i] == nil {
			j := max(source, 0)
			differ = differ || errs[j] == nil && (docs[i].is != docs[j].is || docs[i].normal != docs[j].normal)
		}
	}
	switch {
	case !complete && (source < 0 || !differ):
		return w.wait(errs)
	case !differ:
		return endResolved, nil
	case source < 0:
		w.end, w.park = endParked, task.Conflict
		return endParked, fmt.Errorf("?%s of bucket %q differs, and no backend is known to have the newest", name, t.Bucket)
	case !r.o.CopyBucketConfig && t.Newest().Aspect != task.Found:
		w.person("?%s of bucket %q differs between backends; Repair.CopyBucketConfig copies it", name, t.Bucket)
		return w.end, w.err
	}
	var failed []error
	for i, b := range r.backends {
		if i == source || errs[i] != nil || !has(c.owed, i) {
			continue
		}
		wrote, err := r.syncDocument(ctx, t.Bucket, "", name, r.backends[source], b)
		if err != nil {
			failed = append(failed, err)
		} else if wrote {
			w.copied++
			verb := "copied"
			if r.o.DryRun {
				verb = "would copy"
			}
			w.actions = append(w.actions, fmt.Sprintf("%s ?%s from %s to %s", verb, name, r.backends[source].name, b.name))
		}
	}
	if err := firstOf(failed); err != nil {
		return endFailed, err
	}
	if complete {
		return endResolved, nil
	}
	return w.wait(errs)
}
