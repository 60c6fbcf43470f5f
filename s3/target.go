package s3

import (
	"bytes"

	"github.com/akubra/akubra/http1"
)

// Kind says which of S3's own ways a request goes.
type Kind uint8

// The ways that there are.
const (
	KindPlain    Kind = iota
	KindInitiate      // POST key?uploads: CreateMultipartUpload (R26)
	KindPart          // PUT key?partNumber=…&uploadId=…: UploadPart, UploadPartCopy (R26)
	KindUpload        // GET or DELETE key?uploadId=…: ListParts, AbortMultipartUpload (R26)
	KindComplete      // POST key?uploadId=…: CompleteMultipartUpload (R25, R26)
	KindDelete        // POST bucket?delete: DeleteObjects (R24)
	KindCopy          // PUT key with x-amz-copy-source: CopyObject (R25)
	KindForm          // POST of a form on a bucket: an upload, whose key is in the form (R34)
)

// Target is what the raw request target means to S3. Its slices point into the
// raw target and Host where nothing is to be decoded; nothing in it is ever sent.
type Target struct {
	Bucket   []byte // decoded (R27)
	Key      []byte // percent-encoded, as it stands in the target
	Query    []byte
	UploadID string // decoded; "" if there is none
	Uploads  bool   // ?uploads
	Delete   bool   // ?delete
	Selects  bool   // ?select
	Restore  bool   // ?restore
	Version  bool   // ?versionId, but for the version "null"
	Page     string // where a page of a listing begins, decoded; see PageTokens
	// Sub reports whether the request is about a subresource (?acl, ?tagging, …), not
	// the object's or bucket's own content; of a write, see IsSubWrite.
	Sub  bool
	subs Write // what the parameters that name a subresource are for
}

// ParseTarget splits a raw request target. Domains are the proxy's own host
// names, lower case: a Host below one of them carries the bucket (R27).
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

// bucketOfHost returns what stands before one of the domains in host, or nil.
// A host that is itself one of them carries no bucket, also where it lies below
// another one; of several domains the longest counts.
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
			name = []byte(UnescapeQuery(name))
		}
		if sub, ok := Subresources[string(name)]; ok {
			t.Sub = true
			t.subs |= sub.Writes
		}
		switch string(name) {
		case "uploadId":
			t.UploadID = Unescape(value)
		case "uploads":
			t.Sub, t.Uploads = true, true
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

// IsVersion reports whether id is a version's own. The version "null" is the one
// that an object has without versioning, on every storage.
func IsVersion[T string | []byte](id T) bool { return len(id) > 0 && string(id) != "null" }

// KeyName is the key as S3 knows it, for records.
func (t *Target) KeyName() string { return Unescape(t.Key) }

// KindOf says which way a request with this target goes.
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

// Writes reports whether a request with this target, whose kind is k, changes what
// backends have. SelectObjectContent is a POST, but reads.
func (t *Target) Writes(method string, k Kind) bool {
	switch method {
	case "PUT", "DELETE":
		return true
	case "POST":
		return k != KindPlain || !t.Selects || t.Restore || len(t.Key) == 0
	}
	return false
}

// PageTokens are the query parameters that say where a page of a listing begins in a token
// of the storage's own, and the elements of an answer that they come from (S3 API
// reference: ListObjectsV2, ListObjectVersions, ListMultipartUploads).
var PageTokens = []struct{ Param, Element string }{
	{"continuation-token", "NextContinuationToken"},
	{"version-id-marker", "NextVersionIdMarker"},
	{"upload-id-marker", "NextUploadIdMarker"},
}

// notePage remembers the token of a page, if name is a parameter with one.
func (t *Target) notePage(name, value []byte) {
	for _, p := range PageTokens {
		if string(name) == p.Param && len(value) > 0 {
			t.Page = Unescape(value)
		}
	}
}
