package repair

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/akubra/akubra/synclog/repair/client"
)

// pageKeys is the number of keys of a page, the most that S3 gives.
const pageKeys = 1000

// listing is one backend's listing, read one page ahead by a goroutine of its own.
type listing struct {
	pages chan []client.Entry
	page  []client.Entry
	head  client.Entry

	ended bool // pages is closed, and what follows is valid

	err      error
	noBucket bool
}

func startListing(ctx context.Context, b *backend, bucket, prefix string) *listing {
	l := &listing{pages: make(chan []client.Entry, 1)}
	go func() {
		defer close(l.pages)
		l.err = l.fetch(ctx, b, bucket, prefix)
	}()
	return l
}

// pageTries is how often a page is requested.
const pageTries = 5

func (l *listing) fetch(ctx context.Context, b *backend, bucket, prefix string) error {
	var from client.Next
	for {
		page, err := b.List(ctx, bucket, prefix, from, pageKeys)
		for try := 1; err != nil && backendFault(err) && try < pageTries; try++ {
			if !sleep(ctx, backoff(try, time.Second, 10*time.Second)) {
				return ctx.Err()
			}
			page, err = b.List(ctx, bucket, prefix, from, pageKeys)
		}
		switch {
		case client.HasCode(err, "NoSuchBucket"):
			l.noBucket = true
			return nil
		case err != nil:
			return fmt.Errorf("cannot list bucket %q: %w", bucket, err)
		}
		if !slices.IsSortedFunc(page.Entries, func(a, c client.Entry) int { return strings.Compare(a.Key, c.Key) }) {
			b.log.Info("a backend's listing is out of order, which makes verify slower", "backend", b.name, "bucket", bucket)
		}
		if len(page.Entries) > 0 {
			select {
			case l.pages <- page.Entries:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if page.Last {
			return nil
		}
		from = page.Next
	}
}

// next returns the next entry, valid until the following call; nil at the end.
func (l *listing) next() *client.Entry {
	for len(l.page) == 0 {
		page, ok := <-l.pages
		if !ok {
			l.ended = true
			return nil
		}
		l.page = page
	}
	l.head, l.page = l.page[0], l.page[1:]
	return &l.head
}

// wait waits for the goroutine to end. Its context must be done.
func (l *listing) wait() {
	for range l.pages { //nolint:revive // to its end
	}
}
