package client

import (
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"
)

// VersionEntry is one version of a key, or a delete marker.
type VersionEntry struct {
	ID, ETag string // ETag without quotes
	Size     int64
	Marker   bool
}

// versionsPages bounds how far a key's versions are read.
const versionsPages = 20

// Versions gives a key's versions and delete markers, the newest first.
func (c *Client) Versions(ctx context.Context, bucket, key string) ([]VersionEntry, error) {
	var all []VersionEntry
	var keyMarker, idMarker string
	for range versionsPages {
		params := []Param{{"versions", ""}, {"encoding-type", "url"}, {"max-keys", "1000"}, {"prefix", key}}
		if keyMarker != "" {
			params = append(params, Param{"key-marker", keyMarker}, Param{"version-id-marker", idMarker})
		}
		body, _, err := c.Document(ctx, &Request{Method: "GET", Bucket: bucket, Query: params}, maxListing)
		if err != nil {
			return nil, err
		}
		page, err := parseVersions(body)
		if err != nil {
			return nil, fmt.Errorf("cannot read the versions of backend %q: %w", c.o.Name, err)
		}
		other := false
		for i := range page.entries {
			if page.keys[i] == key {
				e := page.entries[i]
				e.ID = cmp.Or(e.ID, "null") // as some list it; a delete without an id is another one
				all = append(all, e)
			} else {
				other = true
			}
		}
		// Of other keys with this prefix only those that sort behind it can follow.
		if !page.truncated || other && len(all) > 0 || page.nextKey == "" || page.nextKey > key && !strings.HasPrefix(page.nextKey, key) {
			return all, nil
		}
		keyMarker, idMarker = page.nextKey, page.nextID
	}
	return nil, fmt.Errorf("cannot read the versions of backend %q: there are too many", c.o.Name)
}

// KeyVersion is a version of a key in a bucket.
type KeyVersion struct {
	Key string
	VersionEntry
}

// BucketVersions gives the first page of all versions and delete markers in a bucket; of a backend that does
// not list versions its objects, without ids.
func (c *Client) BucketVersions(ctx context.Context, bucket string) (all []KeyVersion, err error) {
	params := []Param{{"versions", ""}, {"encoding-type", "url"}, {"max-keys", "1000"}}
	body, _, err := c.Document(ctx, &Request{Method: "GET", Bucket: bucket, Query: params}, maxListing)
	if Unsupported(err) {
		page, err := c.List(ctx, bucket, "", Next{}, 1000)
		for i := range page.Entries {
			all = append(all, KeyVersion{Key: page.Entries[i].Key})
		}
		return all, err
	}
	if err != nil {
		return nil, err
	}
	page, err := parseVersions(body)
	if err != nil {
		return nil, fmt.Errorf("cannot read the versions of backend %q: %w", c.o.Name, err)
	}
	for i := range page.entries {
		all = append(all, KeyVersion{page.keys[i], page.entries[i]})
	}
	return all, nil
}

type versionsPage struct {
	entries         []VersionEntry
	keys            []string
	truncated       bool
	nextKey, nextID string
}

// parseVersions keeps the order of versions and markers, which are two lists in one.
func parseVersions(body []byte) (page versionsPage, err error) {
	var doc struct {
		XMLName             xml.Name
		IsTruncated         bool
		EncodingType        string
		NextKeyMarker       string
		NextVersionIDMarker string `xml:"NextVersionIdMarker"`
		Entries             []struct {
			XMLName   xml.Name
			Key       string
			VersionID string `xml:"VersionId"`
			ETag      string
			Size      int64
		} `xml:",any"`
	}
	if err := xml.Unmarshal(body, &doc); err != nil {
		return page, err
	}
	if doc.XMLName.Local != "ListVersionsResult" && doc.XMLName.Local != "ListObjectVersionsResult" {
		return page, fmt.Errorf("it is no ListVersionsResult")
	}
	decode := func(s string) (string, error) {
		if doc.EncodingType != "url" {
			return s, nil
		}
		return url.QueryUnescape(s)
	}
	page.truncated, page.nextID = doc.IsTruncated, doc.NextVersionIDMarker
	if page.nextKey, err = decode(doc.NextKeyMarker); err != nil {
		return page, err
	}
	for i := range doc.Entries {
		e := &doc.Entries[i]
		marker := e.XMLName.Local == "DeleteMarker"
		if !marker && e.XMLName.Local != "Version" {
			continue
		}
		key, err := decode(e.Key)
		if err != nil {
			return page, err
		}
		page.keys = append(page.keys, key)
		page.entries = append(page.entries, VersionEntry{ID: e.VersionID, ETag: strings.Trim(e.ETag, `"`), Size: e.Size, Marker: marker})
	}
	return page, nil
}

// Buckets are the names of all buckets.
func (c *Client) Buckets(ctx context.Context) (names []string, err error) {
	body, _, err := c.Document(ctx, &Request{Method: "GET"}, maxListing)
	if err != nil {
		return nil, err
	}
	var doc struct {
		XMLName xml.Name
		Names   []string `xml:"Buckets>Bucket>Name"`
	}
	if err := xml.Unmarshal(body, &doc); err != nil || doc.XMLName.Local != "ListAllMyBucketsResult" {
		return nil, fmt.Errorf("cannot read the buckets of backend %q: it is no ListAllMyBucketsResult", c.o.Name)
	}
	return doc.Names, nil
}
