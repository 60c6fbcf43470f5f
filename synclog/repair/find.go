package repair

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/akubra/akubra/s3"
	"github.com/akubra/akubra/synclog/repair/client"
)

// findTimeout bounds how long FindVersion waits.
const findTimeout = 2 * time.Second

// FindVersion asks backends for a version of an object. It returns, as sets of the places in names, those
// that have it, and those that may have it because they are out, or do not say.
func (r *Repairer) FindVersion(names []string, bucket, key, id string) (have, may uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), findTimeout)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	for i, name := range names {
		n, known := r.index[name]
		out := !known || r.o.Maintained != nil && r.o.Maintained(name)
		all.Go(func() {
			has, sure := false, false
			if !out {
				has, sure = r.backends[n].hasVersion(ctx, bucket, key, id)
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case !sure:
				may |= 1 << i
			case has:
				have |= 1 << i
			}
		})
	}
	all.Wait()
	return have, may
}

// hasVersion reports whether the backend has a version of an object, and whether that is certain.
func (b *backend) hasVersion(ctx context.Context, bucket, key, id string) (has, sure bool) {
	_, err := b.Discard(ctx, &client.Request{
		Method: http.MethodGet, Bucket: bucket, Key: key, Query: []client.Param{{Name: "versionId", Value: id}},
		Header: http.Header{"Range": {"bytes=0-0"}},
	})
	e := client.AsError(err)
	switch {
	case err == nil:
		return true, true
	case e == nil:
		return false, false
	case e.Status == http.StatusMethodNotAllowed, e.Status == http.StatusRequestedRangeNotSatisfiable:
		return true, true // a delete marker, or an empty object
	}
	return false, e.Code != "" && s3.IsUnknownVersion(e.Status, e.Code)
}
