package s3mem

import (
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kept are the headers kept with an object besides x-amz-meta-*.
var kept = []string{
	"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type", "Expires",
	"X-Amz-Storage-Class", "X-Amz-Website-Redirect-Location",
}

// objectDocs are the subresources of an object that can be written.
var objectDocs = []string{"tagging", "acl", "retention", "legal-hold"}

func (s *Storage) objectLocked(w http.ResponseWriter, r *request, b *Bucket) {
	at := b.find(r.key, r.query.Get("versionId"))
	for _, sub := range objectDocs {
		if r.query.Has(sub) {
			s.objectDocLocked(w, r, b, sub, at)
			return
		}
	}
	switch r.Method {
	case http.MethodPut:
		s.putLocked(w, r, b)
	case http.MethodDelete:
		if v := b.current(r.key); v != nil && !s.holds(w, r, v) {
			return
		}
		if b.locked(r.key, r.query.Get("versionId"), s.now()) {
			refuse(w, http.StatusForbidden, "AccessDenied")
			return
		}
		id, marker := s.deleteLocked(b, r.key, r.query.Get("versionId"))
		if id != "" {
			w.Header().Set("X-Amz-Version-Id", id)
		}
		if marker {
			w.Header().Set("X-Amz-Delete-Marker", "true")
		}
		w.WriteHeader(http.StatusNoContent)
	case http.MethodGet, http.MethodHead:
		s.readLocked(w, r, b, at)
	default:
		refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowed")
	}
}

// find returns the position of a version in its key's stack: the first one if id is "", or -1.
func (b *Bucket) find(key, id string) int {
	for i, v := range b.Keys[key] {
		if id == "" || v.ID == id {
			return i
		}
	}
	return -1
}

func (s *Storage) putLocked(w http.ResponseWriter, r *request, b *Bucket) {
	if !s.holds(w, r, b.current(r.key)) {
		return
	}
	v := s.newVersion(r.Header, r.body)
	if source := r.Header.Get("X-Amz-Copy-Source"); source != "" {
		from := s.source(source)
		if from == nil {
			refuse(w, http.StatusNotFound, "NoSuchKey")
			return
		}
		v.Body, v.Parts, v.ETag = from.Body, nil, s.etag(from.Body)
		if r.Header.Get("X-Amz-Metadata-Directive") != "REPLACE" {
			v.Header = from.Header
		}
		if r.Header.Get("X-Amz-Tagging-Directive") != "REPLACE" && from.Docs["tagging"] != "" {
			v.Docs["tagging"] = from.Docs["tagging"]
		}
	}
	if s.manners.Folders && strings.HasSuffix(r.key, "/") {
		v.Body = nil // under the ETag of what was sent
	}
	if v.Docs["retention"]+v.Docs["legal-hold"] != "" && !b.Lock {
		refuseSaying(w, http.StatusBadRequest, "InvalidRequest", "Bucket is missing ObjectLockConfiguration") // as AWS does
		return
	}
	s.storeLocked(b, r.key, v)
	w.Header().Set("ETag", `"`+v.ETag+`"`)
	if b.Versioned {
		w.Header().Set("X-Amz-Version-Id", v.ID)
	}
	if r.Header.Get("X-Amz-Copy-Source") != "" {
		_, _ = fmt.Fprintf(w, "<CopyObjectResult><ETag>&quot;%s&quot;</ETag></CopyObjectResult>", v.ETag)
	}
}

// source is the version that x-amz-copy-source names, or nil.
func (s *Storage) source(name string) *Version {
	name, id, _ := strings.Cut(strings.TrimPrefix(name, "/"), "?versionId=")
	name, _ = url.PathUnescape(name)
	bucket, key, _ := strings.Cut(name, "/")
	b := s.buckets[bucket]
	if b == nil {
		return nil
	}
	key = s.fold(key)
	if at := b.find(key, id); at >= 0 && !b.Keys[key][at].Marker {
		return b.Keys[key][at]
	}
	return nil
}

// newVersion is what a write's headers and body create; it has no id yet.
func (s *Storage) newVersion(h http.Header, body []byte) *Version {
	v := &Version{Body: body, Header: http.Header{}, ETag: s.etag(body), Modified: s.now(), Docs: map[string]string{}}
	for name, value := range h {
		if slices.Contains(kept, name) && !(s.manners.Lossy && name == "Cache-Control") || strings.HasPrefix(name, "X-Amz-Meta-") {
			v.Header[name] = value
		}
	}
	if v.Header.Get("Content-Encoding") == "aws-chunked" {
		v.Header.Del("Content-Encoding")
	}
	if acl := h.Get("X-Amz-Acl"); acl != "" {
		v.Docs["acl"] = s.cannedACL(acl)
	}
	if s.manners.Lossy {
		return v
	}
	if tags := h.Get("X-Amz-Tagging"); tags != "" {
		v.Docs["tagging"] = TagDocument(tags)
	}
	if mode := h.Get("X-Amz-Object-Lock-Mode"); mode != "" {
		v.Docs["retention"] = "<Retention><Mode>" + mode + "</Mode><RetainUntilDate>" +
			h.Get("X-Amz-Object-Lock-Retain-Until-Date") + "</RetainUntilDate></Retention>"
	}
	if hold := h.Get("X-Amz-Object-Lock-Legal-Hold"); hold != "" {
		v.Docs["legal-hold"] = "<LegalHold><Status>" + hold + "</Status></LegalHold>"
	}
	return v
}

func (s *Storage) etag(body []byte) string {
	if s.manners.OwnETags {
		return hashed([]byte(s.Name), body)
	}
	return hashed(body)
}

// TagDocument is the document of encoded tags ("a=1&b=2").
func TagDocument(encoded string) string {
	values, _ := url.ParseQuery(encoded)
	var doc strings.Builder
	doc.WriteString("<Tagging><TagSet>")
	for _, k := range slices.Sorted(maps.Keys(values)) {
		doc.WriteString("<Tag><Key>" + k + "</Key><Value>")
		_ = xml.EscapeText(&doc, []byte(values.Get(k)))
		doc.WriteString("</Value></Tag>")
	}
	doc.WriteString("</TagSet></Tagging>")
	return doc.String()
}

const allUsers = "http://acs.amazonaws.com/groups/global/AllUsers"

func (s *Storage) cannedACL(canned string) string {
	owner := "owner-of-" + s.Name
	grant := func(kind, who, what string) string {
		return `<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="` + kind + `">` + who +
			`</Grantee><Permission>` + what + `</Permission></Grant>`
	}
	grants := grant("CanonicalUser", "<ID>"+owner+"</ID>", "FULL_CONTROL")
	if canned == "public-read" {
		grants += grant("Group", "<URI>"+allUsers+"</URI>", "READ")
	}
	return "<AccessControlPolicy><Owner><ID>" + owner + "</ID></Owner><AccessControlList>" + grants + "</AccessControlList></AccessControlPolicy>"
}

// storeLocked puts a version on top; it replaces "null" if the bucket is not versioned.
func (s *Storage) storeLocked(b *Bucket, key string, v *Version) {
	stack := b.Keys[key]
	if v.ID = s.id(); !b.Versioned {
		v.ID = "null"
		stack = slices.DeleteFunc(slices.Clone(stack), func(old *Version) bool { return old.ID == "null" })
	}
	b.Keys[key] = append([]*Version{v}, stack...)
}

// deleteLocked deletes a version for good, or the key: with a marker if the bucket is versioned.
func (s *Storage) deleteLocked(b *Bucket, key, id string) (version string, marker bool) {
	if id == "" && b.Versioned {
		m := &Version{Marker: true, Modified: s.now()}
		s.storeLocked(b, key, m)
		return m.ID, true
	}
	if id == "" {
		id = "null"
	}
	at := b.find(key, id)
	if at < 0 {
		return "", false
	}
	v := b.Keys[key][at]
	if b.Keys[key] = slices.Delete(slices.Clone(b.Keys[key]), at, at+1); len(b.Keys[key]) == 0 {
		delete(b.Keys, key)
	}
	if !b.Versioned {
		return "", false
	}
	return id, v.Marker
}

// locked reports whether a version may not be deleted.
func (b *Bucket) locked(key, id string, now time.Time) bool {
	at := b.find(key, id)
	if id == "" || at < 0 {
		return false
	}
	v := b.Keys[key][at]
	until, _ := time.Parse(time.RFC3339, Inside(v.Docs["retention"], "RetainUntilDate"))
	return Inside(v.Docs["legal-hold"], "Status") == "ON" || now.Before(until)
}

// Inside is the text of an element of a document, or "".
func Inside(doc, element string) string {
	_, rest, _ := strings.Cut(doc, "<"+element+">")
	text, _, _ := strings.Cut(rest, "</"+element+">")
	return text
}

// holds reports whether a request's conditions hold, and answers the request if not.
func (s *Storage) holds(w http.ResponseWriter, r *request, v *Version) bool {
	match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	writes := r.Method != http.MethodGet && r.Method != http.MethodHead
	switch {
	case match == "" && none == "" || writes && s.manners.IgnoresConditions:
		return true
	case match != "" && v == nil:
		refuse(w, http.StatusNotFound, "NoSuchKey")
	case match != "" && match != "*" && match != `"`+v.ETag+`"`, none != "" && v != nil:
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
	default:
		return true
	}
	return false
}

func (s *Storage) readLocked(w http.ResponseWriter, r *request, b *Bucket, at int) {
	if at < 0 {
		if s.manners.Folders && strings.HasSuffix(r.key, "/") && b.under(r.key) {
			w.Header().Set("ETag", `"`+hashed()+`-0"`)
			w.Header().Set("Last-Modified", s.now().UTC().Format(http.TimeFormat))
			w.Header().Set("Content-Length", "0")
			return
		}
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	v := b.Keys[r.key][at]
	h := w.Header()
	if b.Versioned {
		h.Set("X-Amz-Version-Id", v.ID)
	}
	if v.Marker {
		h.Set("X-Amz-Delete-Marker", "true")
		status := http.StatusNotFound
		if r.query.Get("versionId") != "" {
			status = http.StatusMethodNotAllowed
		}
		refuse(w, status, "NoSuchKey")
		return
	}
	if !s.holds(w, r, v) {
		return
	}
	maps.Copy(h, v.Header)
	h.Set("ETag", `"`+v.ETag+`"`)
	h.Set("Last-Modified", v.Modified.UTC().Format(http.TimeFormat))
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "binary/octet-stream")
		if guess := mime.TypeByExtension(path.Ext(r.key)); s.manners.Guesses && guess != "" {
			h.Set("Content-Type", guess)
		}
	}
	if n := strings.Count(v.Docs["tagging"], "<Tag>"); n > 0 {
		h.Set("X-Amz-Tagging-Count", strconv.Itoa(n))
	}
	for _, p := range [][3]string{
		{"retention", "Mode", "X-Amz-Object-Lock-Mode"}, {"retention", "RetainUntilDate", "X-Amz-Object-Lock-Retain-Until-Date"},
		{"legal-hold", "Status", "X-Amz-Object-Lock-Legal-Hold"},
	} {
		if value := Inside(v.Docs[p[0]], p[1]); value != "" {
			h.Set(p[2], value)
		}
	}
	body, status := v.Body, http.StatusOK
	if n, err := strconv.Atoi(r.query.Get("partNumber")); err == nil && len(v.Parts) > 0 {
		if n > len(v.Parts) {
			refuse(w, http.StatusRequestedRangeNotSatisfiable, "InvalidPartNumber")
			return
		}
		from := int64(0)
		for _, size := range v.Parts[:n-1] {
			from += size
		}
		body, status = body[from:from+v.Parts[n-1]], http.StatusPartialContent
		h.Set("X-Amz-Mp-Parts-Count", strconv.Itoa(len(v.Parts)))
	}
	var from, to int
	if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); n == 2 && from < len(body) {
		body, status = body[from:min(to+1, len(body))], http.StatusPartialContent
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method == http.MethodGet {
		_, _ = w.Write(body)
	}
}

// under reports whether there is an object below a prefix.
func (b *Bucket) under(prefix string) bool {
	for key := range b.Keys {
		if strings.HasPrefix(key, prefix) && b.current(key) != nil {
			return true
		}
	}
	return false
}

func (s *Storage) objectDocLocked(w http.ResponseWriter, r *request, b *Bucket, sub string, at int) {
	if at < 0 || b.Keys[r.key][at].Marker {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	if (sub == "retention" || sub == "legal-hold") && !b.Lock {
		refuseSaying(w, http.StatusBadRequest, "InvalidRequest", "Bucket is missing Object Lock Configuration")
		return
	}
	v := b.Keys[r.key][at]
	switch {
	case r.Method == http.MethodPut && s.manners.Lossy && sub != "acl":
	case r.Method == http.MethodPut:
		doc := string(r.body)
		if canned := r.Header.Get("X-Amz-Acl"); canned != "" {
			doc = s.cannedACL(canned)
		}
		v = v.clone()
		v.Docs[sub] = doc
		b.Keys[r.key][at] = v
	case r.Method == http.MethodDelete:
		v = v.clone()
		delete(v.Docs, sub)
		b.Keys[r.key][at] = v
		w.WriteHeader(http.StatusNoContent)
	case v.Docs[sub] != "":
		_, _ = io.WriteString(w, v.Docs[sub])
	case sub == "acl":
		_, _ = io.WriteString(w, s.cannedACL("private"))
	case sub == "tagging":
		_, _ = io.WriteString(w, "<Tagging><TagSet></TagSet></Tagging>")
	default:
		refuse(w, http.StatusNotFound, "NoSuchObjectLockConfiguration")
	}
}
