package engine

import (
	"bytes"
	"net/url"
	"strconv"
	"strings"
)

// A copy is a read of its source, which each backend has to have as it was acknowledged:
// what is owed there would be missing, or older (R30).

// copySource is what x-amz-copy-source names (S3 API reference, CopyObject): a bucket
// and a key, percent-encoded, with or without a slash before them.
type copySource struct {
	bucket, key string
	plus        string // key, with each + taken for a space, which not all storages do
	version     bool   // of a version, whose id is one backend's own
	length      int64  // of the range that is copied, or -1
}

func readCopySource(source, byteRange []byte) copySource {
	s := copySource{length: rangeLength(byteRange)}
	raw := bytes.TrimPrefix(source, []byte("/"))
	if i := bytes.LastIndex(raw, []byte("?versionId=")); i >= 0 {
		s.version = isVersion(raw[i+len("?versionId="):])
		raw = raw[:i]
	}
	// The slash between them may be encoded, too.
	s.bucket, s.key, _ = strings.Cut(unescape(raw, url.PathUnescape), "/")
	if bytes.IndexByte(raw, '+') >= 0 {
		_, s.plus, _ = strings.Cut(unescape(raw, url.QueryUnescape), "/")
	}
	return s
}

// rangeLength is the length of "bytes=first-last", the one form that S3 takes here, or -1.
func rangeLength(r []byte) int64 {
	spec, ok := strings.CutPrefix(string(trimSpace(r)), "bytes=")
	first, last, found := strings.Cut(spec, "-")
	from, err := strconv.ParseUint(first, 10, 62)
	to, err2 := strconv.ParseUint(last, 10, 62)
	if !ok || !found || err != nil || err2 != nil || to < from {
		return -1
	}
	return int64(to-from) + 1
}

// ReasonSource is why a backend is skipped that owes the source of a copy.
const ReasonSource = "owes the copy's source"

// sourceOwed is the set of backends that owe a copy's source, none for any other request.
//
// What is of a version's id is not looked for: repair gives no backend another one's
// version.
func (r *request) sourceOwed() uint64 {
	s := &r.source
	if s.key == "" || s.version || r.e.o.Journal == nil {
		return 0
	}
	set := r.e.o.Journal.Owes([]byte(s.bucket), []byte(s.key))
	if s.plus != "" {
		set |= r.e.o.Journal.Owes([]byte(s.bucket), []byte(s.plus))
	}
	return set & r.e.all
}

// withSource takes backends out of want that owe a copy's source: an older one is not to
// be copied, and the copy is owed there, too. Where nobody is left the client has to wait
// for repair of the source. What all owe, none of them is known to have better.
func (r *request) withSource(want uint64) (uint64, *s3Error) {
	owing := r.sourceOwed()
	if owing&want == 0 || owing == r.e.all {
		return want, nil
	}
	if want &^= owing; want == 0 {
		r.wantSource()
		return 0, errSourceOwed
	}
	if r.kind == kindCopy {
		r.lacking = owing
	}
	return want, nil
}

// sourceIsOwed tells whether the picked answer says that the source of a copy is not
// there, by a backend that owes it.
func (r *request) sourceIsOwed(picked *leg) bool {
	if r.source.key == "" || picked.answer.status != 404 || r.sourceOwed()&(1<<picked.backend) == 0 {
		return false
	}
	r.wantSource()
	return true
}

// wantSource tells repair that a client waits for the source.
func (r *request) wantSource() {
	if f := r.e.o.Wanted; f != nil {
		f(r.source.bucket, r.source.key)
		if r.source.plus != "" {
			f(r.source.bucket, r.source.plus)
		}
	}
}
