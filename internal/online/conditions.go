package online

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/akubra/akubra/synclog/repair/client"
)

// cleanupTimeout bounds the removal of what was written, even if the check was interrupted.
const cleanupTimeout = 10 * time.Second

// How a backend treats the conditions of a write.
const (
	ConditionsKept    = "kept"
	ConditionsIgnored = "ignored"
	ConditionsRefused = "refused"
	ConditionsUnknown = "unknown"
)

// conditions finds out whether a backend honors the conditions of a write.
func (c *check) conditions(ctx context.Context, i int, bucket string) {
	if r := &c.reports[i]; r.listed {
		r.tryConditions(ctx, c.clients[i], bucket)
	}
}

// Conditions finds out whether a backend honors the conditions of a write (R29), using an object
// of its own: nobody else's is ever written to. what is one of the Conditions…; why says more.
func Conditions(ctx context.Context, c *client.Client, bucket string) (what string, why []string) {
	var r Report
	r.tryConditions(ctx, c, bucket)
	return r.Conditions, append(r.Problems, r.Warnings...)
}

func (r *Report) tryConditions(ctx context.Context, c *client.Client, bucket string) {
	t := trial{ctx: ctx, client: c, bucket: bucket, key: "akubra-check-" + rand.Text()}
	// If the condition is honored, nothing is stored, because there is no such object.
	match := t.put("If-Match", `"00000000000000000000000000000000"`)
	created := t.put("If-None-Match", "*")
	var again error
	if created == nil {
		again = t.put("If-None-Match", "*")
	}
	if err := t.cleanUp(); err != nil {
		r.warn("the object %q of this check is left in bucket %q: %v", t.key, bucket, err)
	}
	switch {
	case match == nil:
		r.Conditions = ConditionsIgnored
		r.problem("it ignores conditional writes (If-Match), so two clients can overwrite each other unnoticed")
	case created == nil && again == nil:
		r.Conditions = ConditionsIgnored
		r.problem("it ignores conditional writes (If-None-Match), so two clients can overwrite each other unnoticed")
	case client.Unsupported(match) || client.Unsupported(created):
		r.Conditions = ConditionsRefused
		r.warn("it does not support conditional writes and refuses them")
	case client.HasCode(match, "NoSuchBucket"):
		r.Conditions = ConditionsUnknown
		r.problem("cannot find out whether it honors conditional writes: it has no bucket %q", bucket)
	case client.Status(match)/100 != 4 || created != nil || client.Status(again)/100 != 4:
		r.Conditions = ConditionsUnknown
		r.warn("cannot find out whether it honors conditional writes: %s", reasons(match, created, again))
	case client.Status(match) == http.StatusForbidden:
		r.Conditions = ConditionsUnknown
		r.warn("cannot find out whether it honors conditional writes: %v", match)
	default:
		r.Conditions = ConditionsKept
	}
}

// reasons are the errors among errs, each once, in one line.
func reasons(errs ...error) string {
	var all []string
	for _, err := range errs {
		if err != nil && !slices.Contains(all, err.Error()) {
			all = append(all, err.Error())
		}
	}
	return strings.Join(all, "; ")
}

// trial is an object written to find out.
type trial struct {
	ctx         context.Context
	client      *client.Client
	bucket, key string

	stored   bool // perhaps
	versions []string
}

func (t *trial) put(name, value string) error {
	h, err := t.client.Discard(t.ctx, &client.Request{
		Method: http.MethodPut, Bucket: t.bucket, Key: t.key, Body: []byte("akubra check --online"), Header: http.Header{name: {value}},
	})
	if err == nil || client.Status(err)/100 != 4 {
		t.stored = true
	}
	if v := h.Get("X-Amz-Version-Id"); v != "" {
		t.versions = append(t.versions, v)
	}
	return err
}

func (t *trial) cleanUp() error {
	if !t.stored {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), cleanupTimeout)
	defer cancel()
	remove := func(version string) error {
		r := &client.Request{Method: http.MethodDelete, Bucket: t.bucket, Key: t.key}
		if version != "" {
			r.Query = []client.Param{{Name: "versionId", Value: version}}
		}
		_, err := t.client.Discard(ctx, r)
		if client.Status(err) == http.StatusNotFound {
			return nil
		}
		return err
	}
	if len(t.versions) == 0 {
		return remove("")
	}
	var errs []error
	for _, v := range t.versions {
		errs = append(errs, remove(v))
	}
	return errors.Join(errs...)
}
