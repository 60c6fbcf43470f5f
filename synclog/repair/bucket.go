package repair

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"

	"github.com/akubra/akubra/s3"
	"github.com/akubra/akubra/synclog/repair/client"
	"github.com/akubra/akubra/synclog/task"
)

// errReported is about what only a human can decide.
var errReported = errors.New("repair: for you to decide")

// doBucket makes the backends equal about a bucket, or its configuration.
func (r *Repairer) doBucket(ctx context.Context, t *task.Task) result {
	var res result
	name := subresourceOf(t.Target)
	switch {
	case name != "":
		res.end, res.err = r.bucketDocument(ctx, t, name, &res)
	case t.Newest().Method == http.MethodPost && !hasParam(queryOf(t.Target), "delete"):
		// A form's upload has its key in the form.
		res.end, res.err = endReported, fmt.Errorf("%w: an upload by form to bucket %q; verify finds its key", errReported, t.Bucket)
	case t.Newest().Method == http.MethodPost:
		res.end, res.err = endReported, fmt.Errorf("%w: a multi-object delete in bucket %q that could not be read; verify finds its keys", errReported, t.Bucket)
	default:
		res.end, res.err = r.bucketItself(ctx, t, &res)
	}
	return res
}

// bucketItself makes a bucket, or deletes it, where it was not.
func (r *Repairer) bucketItself(ctx context.Context, t *task.Task, res *result) (end, error) {
	states, errs := make([]state, len(r.backends)), make([]error, len(r.backends))
	r.each(func(i int, b *backend) {
		if errs[i] = r.usable(b); errs[i] != nil {
			return
		}
		o, err := b.head(ctx, t.Bucket, "")
		switch {
		case err != nil:
			errs[i] = err
		case o == nil:
			states[i].is = absent
		default:
			// Of buckets there is nothing but that they are.
			states[i].is = present
		}
		states[i].owed = r.owed(t, i)
	})
	w := &run{r: r, t: t}
	e := eventOf(t)
	e.etag = ""
	d := decide(states, e)
	var failed []error
	for _, i := range d.targets {
		b := r.backends[i]
		verb := "made the bucket at "
		if d.action == actDelete {
			verb = "deleted the bucket from "
		}
		switch {
		case r.o.DryRun:
			verb = "would have " + verb
		case d.action == actDelete:
			if _, err := b.Discard(ctx, &client.Request{Method: http.MethodDelete, Bucket: t.Bucket}); err != nil && client.Status(err) != http.StatusNotFound {
				failed = append(failed, b.at(err))
				continue
			}
			res.deleted++
		default:
			if err := r.makeBucket(ctx, b, t.Bucket); err != nil {
				failed = append(failed, err)
				continue
			}
			res.copied++
		}
		res.actions = append(res.actions, verb+b.name)
	}
	if err := firstOf(failed); err != nil {
		return endFailed, err
	}
	if d.complete && d.action != actWait {
		return endResolved, nil
	}
	ended, err := w.wait(errs)
	res.out = w.out
	return ended, err
}

// makeBucket makes a bucket; that there is one already is as good.
func (r *Repairer) makeBucket(ctx context.Context, b *backend, bucket string) error {
	req := &client.Request{Method: http.MethodPut, Bucket: bucket}
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
	_, err := b.Discard(ctx, req)
	switch {
	case client.HasCode(err, "BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
		return nil
	case err != nil:
		return b.at(err)
	}
	r.o.Log.Info("made a bucket that was missing", "backend", b.name, "bucket", bucket)
	return nil
}

// bucketDocument compares a bucket's policy, CORS, … and copies it where that is
// wanted. Who is owed nothing has taken the write.
func (r *Repairer) bucketDocument(ctx context.Context, t *task.Task, name string, res *result) (end, error) {
	w := &run{r: r, t: t}
	if !s3.Subresources[name].Document {
		return endReported, fmt.Errorf("%w: a write to ?%s of bucket %q that cannot be copied", errReported, name, t.Bucket)
	}
	docs, errs := make([]document, len(r.backends)), make([]error, len(r.backends))
	r.each(func(i int, b *backend) {
		if errs[i] = r.usable(b); errs[i] == nil {
			docs[i], errs[i] = b.getDocument(ctx, t.Bucket, "", name)
		}
	})
	source, differ, complete := -1, false, true
	for i := range docs {
		if errs[i] != nil {
			complete = false
			continue
		}
		if source < 0 || r.owed(t, source) && !r.owed(t, i) {
			source = i
		}
	}
	for i := range docs {
		if source >= 0 && errs[i] == nil {
			differ = differ || docs[i].is != docs[source].is || docs[i].normal != docs[source].normal
		}
	}
	switch {
	case source < 0 || !complete && (!differ || r.owed(t, source)):
		ended, err := w.wait(errs)
		res.out = w.out
		return ended, err
	case !differ:
		return endResolved, nil
	case !r.o.CopyBucketConfig:
		return endReported, fmt.Errorf("%w: ?%s of bucket %q differs between backends; Repair.CopyBucketConfig copies it", errReported, name, t.Bucket)
	}
	var failed []error
	for i, b := range r.backends {
		if i == source || errs[i] != nil {
			continue
		}
		wrote, err := r.syncDocument(ctx, t.Bucket, "", name, r.backends[source], b)
		if err != nil {
			failed = append(failed, err)
		} else if wrote {
			res.copied++
			verb := "copied"
			if r.o.DryRun {
				verb = "would copy"
			}
			res.actions = append(res.actions, fmt.Sprintf("%s ?%s from %s to %s", verb, name, r.backends[source].name, b.name))
		}
	}
	if err := firstOf(failed); err != nil {
		return endFailed, err
	}
	if complete {
		return endResolved, nil
	}
	ended, err := w.wait(errs)
	res.out = w.out
	return ended, err
}
