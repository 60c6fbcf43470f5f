package s3mem

import (
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// bucketDocs are the subresources of a bucket that can be written.
var bucketDocs = []string{"acl", "policy", "cors", "lifecycle", "versioning", "tagging", "encryption", "website", "notification", "object-lock"}

func (s *Storage) bucketLocked(w http.ResponseWriter, r *request, b *Bucket) {
	if b == nil && !(r.Method == http.MethodPut && len(r.query) == 0) {
		refuse(w, http.StatusNotFound, "NoSuchBucket")
		return
	}
	for _, sub := range bucketDocs {
		if r.query.Has(sub) {
			s.bucketDocLocked(w, r, b, sub)
			return
		}
	}
	switch {
	case r.Method == http.MethodPut && b != nil:
		refuse(w, http.StatusConflict, "BucketAlreadyOwnedByYou")
	case r.Method == http.MethodPut:
		lock := r.Header.Get("X-Amz-Bucket-Object-Lock-Enabled") == "true" && !s.manners.Lossy
		s.makeBucket(r.bucket, lock, lock)
	case r.Method == http.MethodDelete && len(b.Keys) > 0 && r.Header.Get("X-Minio-Force-Delete") != "true":
		refuse(w, http.StatusConflict, "BucketNotEmpty")
	case r.Method == http.MethodDelete:
		delete(s.buckets, r.bucket)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPost && r.query.Has("delete"):
		s.deleteManyLocked(w, r, b)
	case r.Method == http.MethodGet && r.query.Has("versions"):
		s.listVersionsLocked(w, r, b)
	case r.Method == http.MethodGet:
		s.listLocked(w, r, b)
	case r.Method != http.MethodHead:
		refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowed")
	}
}

func (s *Storage) bucketDocLocked(w http.ResponseWriter, r *request, b *Bucket, sub string) {
	switch {
	case r.Method == http.MethodPut:
		b.Docs[sub] = string(r.body)
		if sub == "versioning" {
			b.Versioned = Inside(b.Docs[sub], "Status") == "Enabled"
		}
	case r.Method == http.MethodDelete:
		delete(b.Docs, sub)
		w.WriteHeader(http.StatusNoContent)
	case b.Docs[sub] != "":
		_, _ = io.WriteString(w, b.Docs[sub])
	case sub == "acl":
		_, _ = io.WriteString(w, s.cannedACL("private"))
	case sub == "versioning":
		_, _ = io.WriteString(w, "<VersioningConfiguration/>")
	default:
		refuse(w, http.StatusNotFound, "NoSuchConfiguration")
	}
}

func (s *Storage) deleteManyLocked(w http.ResponseWriter, r *request, b *Bucket) {
	var list struct {
		Object []struct{ Key, VersionId string } //nolint:revive // S3's name
	}
	if err := xml.Unmarshal(r.body, &list); err != nil || len(list.Object) > 1000 {
		refuse(w, http.StatusBadRequest, "MalformedXML")
		return
	}
	var doc strings.Builder
	doc.WriteString("<DeleteResult>")
	for _, o := range list.Object {
		key := s.fold(o.Key)
		if b.locked(key, o.VersionId, s.now()) {
			doc.WriteString("<Error>" + element("Key", o.Key) + element("Code", "AccessDenied") + "</Error>")
			continue
		}
		id, marker := s.deleteLocked(b, key, o.VersionId)
		doc.WriteString("<Deleted>" + element("Key", o.Key))
		if o.VersionId != "" {
			doc.WriteString(element("VersionId", o.VersionId))
		}
		if marker {
			doc.WriteString("<DeleteMarker>true</DeleteMarker>" + element("DeleteMarkerVersionId", id))
		}
		doc.WriteString("</Deleted>")
	}
	_, _ = io.WriteString(w, doc.String()+"</DeleteResult>")
}

func element(name, text string) string {
	var b strings.Builder
	b.WriteString("<" + name + ">")
	_ = xml.EscapeText(&b, []byte(text))
	return b.String() + "</" + name + ">"
}

// page returns the keys of a listing's page, and the last of them if there are more.
func (b *Bucket) page(r *request, after string) (keys []string, last string) {
	most, _ := strconv.Atoi(r.query.Get("max-keys"))
	if most <= 0 || most > 1000 {
		most = 1000
	}
	for _, key := range slices.Sorted(maps.Keys(b.Keys)) {
		if key <= after || !strings.HasPrefix(key, r.query.Get("prefix")) || !r.query.Has("versions") && b.current(key) == nil {
			continue
		}
		if len(keys) == most {
			return keys, keys[most-1]
		}
		keys = append(keys, key)
	}
	return keys, ""
}

const listTime = "2006-01-02T15:04:05.000Z"

func name(r *request, key string) string {
	if r.query.Get("encoding-type") == "url" {
		return url.QueryEscape(key)
	}
	return key
}

func (s *Storage) listLocked(w http.ResponseWriter, r *request, b *Bucket) {
	after := r.query.Get("start-after") + r.query.Get("marker")
	if token := r.query.Get("continuation-token"); token != "" {
		after = strings.TrimPrefix(token, "t:")
	}
	keys, last := b.page(r, after)
	var doc strings.Builder
	doc.WriteString("<ListBucketResult>")
	if r.query.Get("encoding-type") == "url" {
		doc.WriteString("<EncodingType>url</EncodingType>")
	}
	for _, key := range keys {
		v := b.current(key)
		fmt.Fprintf(&doc, "<Contents>%s<ETag>&quot;%s&quot;</ETag><Size>%d</Size><LastModified>%s</LastModified></Contents>",
			element("Key", name(r, key)), v.ETag, len(v.Body), v.Modified.UTC().Format(listTime))
	}
	fmt.Fprintf(&doc, "<IsTruncated>%t</IsTruncated>", last != "")
	if last != "" {
		doc.WriteString(element("NextContinuationToken", "t:"+last))
	}
	_, _ = io.WriteString(w, doc.String()+"</ListBucketResult>")
}

func (s *Storage) listVersionsLocked(w http.ResponseWriter, r *request, b *Bucket) {
	keys, last := b.page(r, r.query.Get("key-marker"))
	var doc strings.Builder
	doc.WriteString("<ListVersionsResult>")
	if r.query.Get("encoding-type") == "url" {
		doc.WriteString("<EncodingType>url</EncodingType>")
	}
	for _, key := range keys {
		for i, v := range b.Keys[key] {
			kind := "Version"
			if v.Marker {
				kind = "DeleteMarker"
			}
			fmt.Fprintf(&doc, "<%s>%s%s<IsLatest>%t</IsLatest><LastModified>%s</LastModified>", kind, element("Key", name(r, key)),
				element("VersionId", v.ID), i == 0, v.Modified.UTC().Format(listTime))
			if !v.Marker {
				fmt.Fprintf(&doc, "<ETag>&quot;%s&quot;</ETag><Size>%d</Size>", v.ETag, len(v.Body))
			}
			doc.WriteString("</" + kind + ">")
		}
	}
	fmt.Fprintf(&doc, "<IsTruncated>%t</IsTruncated>", last != "")
	if last != "" {
		doc.WriteString(element("NextKeyMarker", name(r, last)))
	}
	_, _ = io.WriteString(w, doc.String()+"</ListVersionsResult>")
}
