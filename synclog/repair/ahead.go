package repair

import (
	"context"
	"crypto/md5" //nolint:gosec // what ETags are
	"encoding/hex"
	"io"
	"net/http"
	"sync"

	"github.com/akubra/akubra/synclog/repair/client"
)

// ahead is a small object's content, read once for all targets.
type ahead struct {
	body   []byte
	header http.Header
	md5    string
	err    error
}

// readAhead reads a small object while its tags and its ACL are requested; wait waits for its end.
// It is nil if the object is not to be read into memory.
func (c *transfer) readAhead(ctx context.Context) (content *ahead, wait func()) {
	if c.from.size > smallObject || parts(c.from.etag) > 0 {
		return nil, func() {}
	}
	content = new(ahead)
	var reading sync.WaitGroup
	reading.Go(func() { content.err = content.read(ctx, c) })
	return content, reading.Wait
}

func (a *ahead) read(ctx context.Context, c *transfer) error {
	if c.from.size < 0 {
		return c.src.errorf("does not tell the object's length")
	}
	res, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	a.header, a.body = res.Header, make([]byte, c.from.size)
	for read := a.body; len(read) > 0; {
		n := min(len(read), meterStep)
		if err := waitBytes(ctx, n, c.src); err != nil {
			return err
		}
		if _, err := io.ReadFull(res.Body, read[:n]); err != nil {
			return c.src.at(err)
		}
		read = read[n:]
	}
	sum := md5.Sum(a.body) //nolint:gosec // what ETags are
	a.md5 = hex.EncodeToString(sum[:])
	return nil
}

// take returns the content for one target, at that target's pace.
func (a *ahead) take(ctx context.Context, c *transfer) ([]byte, error) {
	if a.err != nil {
		return nil, a.err
	}
	for left := len(a.body); left > 0; left -= meterStep {
		n := min(left, meterStep)
		if err := waitBytes(ctx, n, c.dst); err != nil {
			return nil, err
		}
		c.r.counts.moved(n)
	}
	return a.body, c.whole(ctx, a.md5)
}

// listed is what a listing has said about a key.
type listed struct {
	asked, known bool
	entry        *client.Entry
	err          error
}

// listAhead asks listings for the key while the backends are looked at, if a copy is likely to
// replace something, as it did with the last key that the backend owed. wait waits for their end.
func (w *run) listAhead(ctx context.Context) (all []listed, wait func()) {
	all = make([]listed, len(w.r.backends))
	var asking sync.WaitGroup
	for i, b := range w.r.backends {
		if !b.overwritten.Load() || !w.know.owes(i) || suspicious(w.t.Key) || w.r.usableBut(w.old, i) != nil || w.given[i].from != nil || w.given[i].gone {
			continue
		}
		asking.Go(func() {
			l := &all[i]
			l.entry, l.known, l.err = b.listed(ctx, w.t.Bucket, w.t.Key)
			l.asked = true
		})
	}
	return all, asking.Wait
}
