package engine

import (
	"bytes"
	"net/url"
	"strings"
)

// kind says which of S3's own ways a request goes.
type kind uint8

const (
	kindPlain    kind = iota
	kindInitiate      // POST key?uploads: CreateMultipartUpload (R26)
	kindPart          // PUT key?partNumber=…&uploadId=…: UploadPart, UploadPartCopy (R26)
	kindUpload        // GET or DELETE key?uploadId=…: ListParts, AbortMultipartUpload (R26)
	kindComplete      // POST key?uploadId=…: CompleteMultipartUpload (R25, R26)
	kindDelete        // POST bucket?delete: DeleteObjects (R24)
	kindCopy          // PUT key with x-amz-copy-source: CopyObject (R25)
	kindForm          // POST of a form on a bucket: an upload, whose key is in the form (R34)
)

// target is what the raw request target means to S3. Its slices point into the
// raw target and Host where nothing is to be decoded; nothing in it is ever sent.
type target struct {
	bucket   []byte // decoded (R27)
	key      []byte // percent-encoded, as it stands in the target
	query    []byte
	uploadID string // decoded; "" if there is none
	uploads  bool   // ?uploads
	delete   bool   // ?delete
	selects  bool   // ?select
	restore  bool   // ?restore
	version  bool   // ?versionId, but for the version "null"
	page     string // where a page of a listing begins, decoded; see pageTokens
	// sub reports whether the request is about a subresource (?acl, ?tagging, …), not
	// the object's or bucket's own content; of a write, see isSubWrite.
	sub  bool
	subs subUse // what the parameters that name a subresource are for
}

// parseTarget splits a raw request target. Domains are the proxy's own host
// names, lower case: a Host below one of them carries the bucket (R27).
func parseTarget(raw, host []byte, domains []string) target {
	var t target
	path := raw
	if i := bytes.IndexByte(path, '?'); i >= 0 {
		path, t.query = path[:i], path[i+1:]
	}
	if authority := authorityOf(path); authority != nil {
		path = path[bytes.Index(path, []byte("://"))+len("://")+len(authority):]
	}
	path = bytes.TrimPrefix(path, []byte("/"))
	if t.bucket = bucketOfHost(host, domains); t.bucket != nil {
		t.key = path
	} else if i := bytes.IndexByte(path, '/'); i >= 0 {
		t.bucket, t.key = path[:i], path[i+1:]
	} else {
		t.bucket = path
	}
	if bytes.IndexByte(t.bucket, '%') >= 0 {
		t.bucket = []byte(unescape(t.bucket, url.PathUnescape))
	}
	if len(t.query) > 0 {
		t.parseQuery()
	}
	return t
}

// authorityOf returns the authority of a target in its absolute form, which names the
// host once more (RFC 9112 §3.2.2); nil for any other.
func authorityOf(target []byte) []byte {
	if len(target) == 0 || target[0] == '/' {
		return nil
	}
	_, rest, ok := bytes.Cut(target, []byte("://"))
	if !ok {
		return nil
	}
	if i := bytes.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return rest
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
		if len(host) == len(domain) && equalFold(host, domain) {
			return nil
		}
		n := len(host) - len(domain) - 1
		if n > 0 && host[n] == '.' && equalFold(host[n+1:], domain) && (bucket == nil || n < len(bucket)) {
			bucket = host[:n]
		}
	}
	return bucket
}

// subUse says of which writes a query parameter makes writes to a subresource. S3 and
// the backends ignore it elsewhere: PUT key?versions stores an object, DELETE key?acl
// deletes one, and each has to be known for what it is (R35).
type subUse uint8

const (
	putKey subUse = 1 << iota
	postKey
	deleteKey
	putBucket // or POST
	deleteBucket
)

// subresources are the query parameters that make a request be about something
// else than content (S3 API reference, "canonicalized resource" of V2).
var subresources = map[string]subUse{
	"acl": putKey | putBucket, "retention": putKey, "legal-hold": putKey,
	"tagging": putKey | deleteKey | putBucket | deleteBucket,
	"restore": postKey, "select": postKey,

	"abac": putBucket, "accelerate": putBucket, "logging": putBucket, "notification": putBucket,
	"object-lock": putBucket, "requestPayment": putBucket, "versioning": putBucket,
	"analytics": putBucket | deleteBucket, "cors": putBucket | deleteBucket, "encryption": putBucket | deleteBucket,
	"intelligent-tiering": putBucket | deleteBucket, "inventory": putBucket | deleteBucket,
	"lifecycle": putBucket | deleteBucket, "metadataConfiguration": putBucket | deleteBucket,
	"metadataInventoryTable": putBucket, "metadataJournalTable": putBucket, "metadataTable": putBucket | deleteBucket,
	"metrics": putBucket | deleteBucket, "ownershipControls": putBucket | deleteBucket,
	"policy": putBucket | deleteBucket, "publicAccessBlock": putBucket | deleteBucket,
	"replication": putBucket | deleteBucket, "website": putBucket | deleteBucket,

	"attributes": 0, "location": 0, "policyStatus": 0, "torrent": 0, "uploads": 0, "versions": 0, "delete": 0,
}

// isSubWrite reports whether a write with this method is one to a subresource.
func (t *target) isSubWrite(method string) bool {
	var use subUse
	switch key := len(t.key) > 0; {
	case method == "DELETE" && key:
		use = deleteKey
	case method == "DELETE":
		use = deleteBucket
	case !key:
		use = putBucket
	case method == "POST":
		use = postKey
	default:
		use = putKey
	}
	return t.subs&use != 0
}

func (t *target) parseQuery() {
	for rest := t.query; len(rest) > 0; {
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
			name = []byte(unescape(name, url.QueryUnescape))
		}
		if use, ok := subresources[string(name)]; ok {
			t.sub = true
			t.subs |= use
		}
		switch string(name) {
		case "uploadId":
			t.uploadID = unescape(value, url.PathUnescape)
		case "uploads":
			t.uploads = true
		case "delete":
			t.delete = true
		case "select":
			t.selects = true
		case "restore":
			t.restore = true
		case "versionId":
			t.version = isVersion(value)
		default:
			t.notePage(name, value)
		}
	}
}

// isVersion reports whether id is a version's own. The version "null" is the one
// that an object has without versioning, on every storage.
func isVersion[T string | []byte](id T) bool { return len(id) > 0 && string(id) != "null" }

// unescape decodes percent-encoding where it is sound, and else leaves it.
func unescape(b []byte, decode func(string) (string, error)) string {
	s := string(b)
	if strings.ContainsAny(s, "%+") {
		if d, err := decode(s); err == nil {
			return d
		}
	}
	return s
}

// keyName is the key as S3 knows it, for records.
func (t *target) keyName() string { return unescape(t.key, url.PathUnescape) }

// kindOf says which way a request with this target goes.
func (t *target) kindOf(method string, copySource bool) kind {
	switch {
	case method == "POST" && t.delete && len(t.key) == 0:
		return kindDelete
	case len(t.key) == 0:
		return kindPlain
	case t.uploadID != "":
		switch method {
		case "PUT":
			return kindPart
		case "POST":
			return kindComplete
		default:
			return kindUpload
		}
	case method == "POST" && t.uploads:
		return kindInitiate
	case method == "PUT" && copySource && !t.sub:
		return kindCopy
	}
	return kindPlain
}

// writes reports whether a request with this target, whose kind is k, changes what
// backends have. SelectObjectContent is a POST, but reads.
func (t *target) writes(method string, k kind) bool {
	switch method {
	case "PUT", "DELETE":
		return true
	case "POST":
		return k != kindPlain || !t.selects || t.restore || len(t.key) == 0
	}
	return false
}

// hash identifies bucket and key, whichever way they are written: R19's table
// goes by it. FNV-1a over the decoded bytes.
func (t *target) hash() uint64 {
	return hashUnescaped(hashBucket(t.bucket), t.key)
}

// hashKey is the hash of a bucket and a key that are decoded already.
func hashKey[T string | []byte](bucket T, key string) uint64 {
	return hashOf(hashBucket(bucket), key)
}

// hashBucket is the beginning of the hash of a bucket's keys.
func hashBucket[T string | []byte](bucket T) uint64 {
	return hashOf(hashOf(14695981039346656037, bucket), "/")
}

func hashOf[T string | []byte](h uint64, s T) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

func hashUnescaped(h uint64, s []byte) uint64 {
	for i := 0; i < len(s); i++ {
		b := s[i]
		if b == '%' && i+2 < len(s) {
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi < 16 && lo < 16 {
				b, i = hi<<4|lo, i+2
			}
		}
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}
