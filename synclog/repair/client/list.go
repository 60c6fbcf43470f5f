package client

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/url"
	"time"

	"github.com/akubra/akubra/s3"
)

// maxListing bounds a page's document: 1000 keys of 1024 bytes, each of which may
// be three in the encoding.
const maxListing = 16 << 20

// Entry is one key of a listing.
type Entry struct {
	Key, ETag string // without quotes
	Size      int64
	Modified  time.Time // by the storage's clock
}

// Page is one page of a listing, in the storage's order.
type Page struct {
	Entries []Entry
	// Next is what the next page is asked for by; Last tells that there is none.
	Next Next
	Last bool
}

// Next is where a page begins; the zero value is the start.
type Next struct{ token, after string }

type listResult struct {
	XMLName               xml.Name
	IsTruncated           bool
	EncodingType          string
	NextContinuationToken string
	Contents              []struct {
		Key          string
		ETag         string
		Size         int64
		LastModified string
	}
}

// List gives a page of at most n keys.
func (c *Client) List(ctx context.Context, bucket, prefix string, from Next, n int) (Page, error) {
	params := []Param{{"list-type", "2"}, {"encoding-type", "url"}, {"max-keys", Int(n)}}
	if prefix != "" {
		params = append(params, Param{"prefix", prefix})
	}
	if from.token != "" {
		params = append(params, Param{"continuation-token", from.token})
	} else if from.after != "" {
		// marker is for storages that know the first version of the API only.
		params = append(params, Param{"start-after", from.after}, Param{"marker", from.after})
	}
	body, _, err := c.Document(ctx, &Request{Method: "GET", Bucket: bucket, Query: params}, maxListing)
	if err != nil {
		return Page{}, err
	}
	var doc listResult
	if err := xml.Unmarshal(body, &doc); err != nil || doc.XMLName.Local != "ListBucketResult" {
		return Page{}, fmt.Errorf("cannot read the listing of backend %q: it is no ListBucketResult", c.o.Name)
	}
	page := Page{Last: !doc.IsTruncated, Entries: make([]Entry, 0, len(doc.Contents))}
	for i := range doc.Contents {
		o := &doc.Contents[i]
		e := Entry{Key: o.Key, ETag: s3.Unquote(o.ETag), Size: o.Size}
		if doc.EncodingType == "url" {
			if e.Key, err = url.QueryUnescape(o.Key); err != nil {
				return Page{}, fmt.Errorf("cannot read the listing of backend %q: the key %q is encoded wrongly", c.o.Name, o.Key)
			}
		}
		e.Modified, _ = time.Parse(time.RFC3339, o.LastModified) // the zero time is "not known"
		page.Entries = append(page.Entries, e)
	}
	page.Next.token = doc.NextContinuationToken
	if len(page.Entries) > 0 {
		page.Next.after = page.Entries[len(page.Entries)-1].Key
	}
	if !page.Last && page.Next.token == "" && (page.Next.after == "" || page.Next.after == from.after) {
		return Page{}, fmt.Errorf("cannot read the listing of backend %q: it says that there is more, but not where", c.o.Name)
	}
	return page, nil
}
