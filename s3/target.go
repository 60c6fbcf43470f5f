package s3

import (
	"bytes"

	"github.com/akubra/akubra/http1"
)

// Kind says which of S3's own kinds of request this is.
type Kind uint8

// The kinds of request.
const (
	KindPlain    Kind = iota
	KindInitiate      // POST key?uploads: CreateMultipartUpload (R26)
	KindPart          // PUT key?partNumber=…&uploadId=…: UploadPart, UploadPartCopy (R26)
	KindUpload        // GET or DELETE key?uploadId=…: ListParts, AbortMultipartUpload (R26)
	KindComplete      // POST key?uploadId=…: CompleteMultipartUpload (R25, R26)
	KindDelete        // POST bucket?delete: DeleteObjects (R24)
	KindCopy          // PUT key with x-amz-copy-source: CopyObject (R25)
	KindForm          // POST of a form to a bucket: an upload, whose key is in the form (R34)
)

// Target is what the raw request target means in S3. Its slices point into the raw target and Host
// unless something had to be decoded; nothing in it is ever sent.
type Target struct {
	Bucket   []byte // decoded (R27)
	Key      []byte // percent-encoded, as in the target
	Query    []byte
	UploadID string // decoded; "" if there is none
	Uploads  bool   // ?uploads
	Versions bool   // ?versions
	Delete   bool   // ?delete
	Selects  bool   // ?select
	Restore  bool   // ?restore
	Version  bool   // ?versionId, other than the version "null"
	Page     string // the token at which a page of a listing starts, decoded; see PageTokens
	// Sub reports whether the request addresses a subresource (?acl, ?tagging, …) instead of the
	// object's or bucket's own content. For a write see IsSubWrite.
	Sub  bool
	subs writes // the kinds of write that its subresource parameters have
}

// ParseTarget parses a raw request target. domains are the proxy's own host names in lower case: a
// Host below one of them names the bucket (R27).
func ParseTarget(raw, host []byte, domains []string) Target {
	var t Target
	path := raw
	if i := bytes.IndexByte(path, '?'); i >= 0 {
		path, t.Query = path[:i], path[i+1:]
	}
	if authority := http1.AuthorityOf(path); authority != nil {
		path = path[bytes.Index(path, []byte("://"))+len("://")+len(authority):]
	}
	path = bytes.TrimPrefix(path, []byte("/"))
	if t.Bucket = bucketOfHost(host, domains); t.Bucket != nil {
		t.Key = path
	} else if i := bytes.IndexByte(path, '/'); i >= 0 {
		t.Bucket, t.Key = path[:i], path[i+1:]
	} else {
		t.Bucket = path
	}
	if bytes.IndexByte(t.Bucket, '%') >= 0 {
		t.Bucket = []byte(Unescape(t.Bucket))
	}
	if len(t.Query) > 0 {
		t.parseQuery()
	}
	return t
}

// bucketOfHost returns what precedes one of the domains in host, or nil. A host that is itself one
// of the domains names no bucket, even if it is below another one; of several matching domains the
// longest counts.
func bucketOfHost(host []byte, domains []string) []byte {
	if len(domains) == 0 {
		return nil
	}
	if i := bytes.LastIndexByte(host, ':'); i >= 0 && bytes.IndexByte(host[i:], ']') < 0 {
		host = host[:i]
	}
	var bucket []byte
	for _, domain := range domains {
		if len(host) == len(domain) && http1.EqualFold(host, domain) {
			return nil
		}
		n := len(host) - len(domain) - 1
		if n > 0 && host[n] == '.' && http1.EqualFold(host[n+1:], domain) && (bucket == nil || n < len(bucket)) {
			bucket = host[:n]
		}
	}
	return bucket
}

func (t *Target) parseQuery() {
	for rest := t.Query; len(rest) > 0; {
		var param []byte
		if i := bytes.IndexByte(rest, '&'); i >= 0 {
			param, rest = rest[:i], rest[i+1:]
		} else {
			param, rest = rest, nil
		}
		if len(param) == 0 {
			continue
		}
		name, value, _ := bytes.Cut(param, []byte("="))
		if bytes.IndexByte(name, '%') >= 0 {
			name = []byte(unescapeQuery(name))
		}
		if sub, ok := Subresources[string(name)]; ok {
			t.Sub = true
			t.subs |= sub.writes
		}
		switch string(name) {
		case "uploadId":
			t.UploadID = Unescape(value)
		case "uploads":
			t.Sub, t.Uploads = true, true
		case "versions":
			t.Versions = true
		case "delete":
			t.Sub, t.Delete = true, true
		case "select":
			t.Selects = true
		case "restore":
			t.Restore = true
		case "versionId":
			t.Version = IsVersion(value)
		default:
			t.notePage(name, value)
		}
	}
}

// TagsOf is a target that names the tags of what it is about.
const TagsOf = "/?tagging"

// IsVersion reports whether id belongs to a particular version. The version "null" is what an
// object has without versioning, on every backend.
func IsVersion[T string | []byte](id T) bool { return len(id) > 0 && string(id) != "null" }

// KeyName is the key as S3 knows it, for log records.
func (t *Target) KeyName() string { return Unescape(t.Key) }

// KindOf returns the kind of a request with this target.
func (t *Target) KindOf(method string, copySource bool) Kind {
	switch {
	case method == "POST" && t.Delete && len(t.Key) == 0:
		return KindDelete
	case len(t.Key) == 0:
		return KindPlain
	case t.UploadID != "":
		switch method {
		case "PUT":
			return KindPart
		case "POST":
			return KindComplete
		default:
			return KindUpload
		}
	case method == "POST" && t.Uploads:
		return KindInitiate
	case method == "PUT" && copySource && !t.Sub:
		return KindCopy
	}
	return KindPlain
}

// Writes reports whether a request with this target and of kind k changes what backends have.
// SelectObjectContent is a POST but only reads.
func (t *Target) Writes(method string, k Kind) bool {
	switch method {
	case "PUT", "DELETE":
		return true
	case "POST":
		return k != KindPlain || !t.Selects || t.Restore || len(t.Key) == 0
	}
	return false
}

// PageTokens are the query parameters that say where a page of a listing starts with a token of the
// backend's own, and the response elements that these tokens come from (S3 API reference:
// ListObjectsV2, ListObjectVersions, ListMultipartUploads).
var PageTokens = []struct{ Param, Element string }{
	{"continuation-token", "NextContinuationToken"},
	{"version-id-marker", "NextVersionIdMarker"},
	{"upload-id-marker", "NextUploadIdMarker"},
}

// notePage records the token of a page if name is such a parameter.
func (t *Target) notePage(name, value []byte) {
	for _, p := range PageTokens {
		if string(name) == p.Param && len(value) > 0 {
			t.Page = Unescape(value)
		}
	}
}
