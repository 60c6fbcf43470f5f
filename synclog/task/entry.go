package task

import (
	"bytes"
	"errors"
	"net/url"
)

// Entry is a Write in its hot shape: what the engine hands to the journal with each write
// that backends may differ in, and what the journal keeps of it. Backends are bits of
// masks, by their place in the configuration, and bytes may be borrowed.
type Entry struct {
	// Seq is the write's place in the order of writes, see Write; 0: the journal gives one.
	// Settled is set by the journal, when the write has ended, unless it is told later (Beside).
	Seq, Settled uint64
	// Answered is set by the journal, too, unless it is told later: when the write was promised with
	// legs out, in the order of Seq. A write with a higher Seq began after the client could be told of this one.
	Answered uint64
	// Owed are the backends that may not have the write, or not as the others have it; Took
	// those that said that they have it. One may be in both, where their order or their
	// ETags leave doubt.
	Owed, Took uint64
	Size       int64
	// Method is empty for Found.
	Method string
	// Raw bytes, any. Target is the raw request target; Key is decoded, and empty where the
	// write is about a bucket; ETag is without quotes, and empty where it is not known;
	// Reason is why something is owed, and empty while it is only legs that are out.
	Target, Host, Bucket, Key, ETag, ID, Reason []byte
	// ETags are those that differ from ETag. Of a write to a version they are the ids that it has
	// on other backends than the one whose id the target names, as far as they are known.
	ETags  []BackendETag
	Aspect Aspect
	// Made and MadeNull are what a write of the content has made where versions are kept: the
	// ids that backends gave it, and the backends that gave none, so that it is their "null"
	// version. Of a backend in neither that is not known.
	Made     []BackendETag
	MadeNull uint64
	// Open: legs are out, and a settlement will come.
	Open bool
	// The others are as in Write.
	Overlapped, OverlapKnown, Unacknowledged, Unrepeatable bool
	Carried                                                Carried
}

// NullVersion is the id of a version that was written without versions.
const NullVersion = "null"

// BackendETag is the ETag, or the version's id, with which one backend answered.
type BackendETag struct {
	Backend int
	ETag    []byte
}

// Completes reports whether the write is the completion of an upload, which is one backend's own (R26).
func (e *Entry) Completes() bool { return e.Method == "POST" && hasParam(e.Target, "uploadId") }

// CloneETags gives a list memory of its own.
func CloneETags(list []BackendETag) (own []BackendETag) {
	for _, x := range list {
		own = append(own, BackendETag{Backend: x.Backend, ETag: bytes.Clone(x.ETag)})
	}
	return own
}

// AspectOf is the aspect that a write changes. sub: its target names a subresource that such a write
// changes. All subresources of a bucket are Settings, because each target has a record of its own there.
func AspectOf(method string, target, key []byte, sub bool) Aspect {
	switch {
	case method == "":
		return Found
	case len(key) > 0 && (sub || method == "DELETE") && hasParam(target, "versionId"):
		return Version
	case !sub:
		return Content
	case len(key) == 0:
		return Setting
	case method == "DELETE":
		return Tags // S3 lets nothing else of an object be deleted
	}
	for _, p := range parts {
		if hasParam(target, p.name) {
			return p.aspect
		}
	}
	return Setting
}

var parts = []struct {
	name   string
	aspect Aspect
}{{"tagging", Tags}, {"acl", ACL}, {"retention", Retention}, {"legal-hold", LegalHold}}

// hasParam reports whether a target's query has a parameter of this name; a version's id
// has to have a value.
func hasParam(target []byte, name string) bool {
	_, query, _ := bytes.Cut(target, []byte("?"))
	for len(query) > 0 {
		var param []byte
		param, query, _ = bytes.Cut(query, []byte("&"))
		n, value, _ := bytes.Cut(param, []byte("="))
		if bytes.IndexByte(n, '%') >= 0 {
			if plain, err := url.QueryUnescape(string(n)); err == nil {
				n = []byte(plain)
			}
		}
		if string(n) == name && (len(value) > 0 || name != "versionId") {
			return true
		}
	}
	return false
}

// What the journal says of a write that it has no room for.
var (
	// ErrTooManyWrites: so many are under way that no further one can be noted (R23).
	ErrTooManyWrites = errors.New("too many writes are under way")
	// ErrKeyTooLong: there is room for any key that a storage takes, as far as that can be:
	// S3 ends at 1,024 bytes, and some storages far behind.
	ErrKeyTooLong = errors.New("the key is too long")
)
