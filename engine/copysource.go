package engine

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/akubra/akubra/http1"
	"github.com/akubra/akubra/s3"
)

// A copy is a read of its source, which each backend has to have as it was acknowledged:
// what is owed there would be missing, or older (R30).

// copySource is what x-amz-copy-source names (S3 API reference, CopyObject): a bucket
// and a key, percent-encoded, with or without a slash before them.
type copySource struct {
	names   []sourceName // what backends may take it for; none if it names no object
	version bool         // of a version, whose id is one backend's own
	length  int64        // of the range that is copied, or -1
	ownTags bool         // the copy gets tags of its own
}

type sourceName struct{ bucket, key string }

// readCopySource reads the field. Storages differ in where the key ends that is written in
// an odd way, whether they clean its path, and whether a + is a space: each reading is one
// of names.
func readCopySource(source, byteRange []byte) copySource {
	s := copySource{length: rangeLength(byteRange)}
	name, query, _ := strings.Cut(string(source), "?")
	for param := range strings.SplitSeq(query, "&") {
		if id, found := strings.CutPrefix(param, "versionId="); found {
			s.version = s.version || s3.IsVersion([]byte(id))
		}
	}
	readings := []string{name}
	if i := strings.LastIndex(string(source), "?versionId="); i > len(name) {
		readings = append(readings, string(source[:i])) // a ? of the key's own
	} else if i < 0 && query != "" {
		readings = append(readings, string(source))
	}
	for _, r := range readings {
		s.add(s3.Unescape([]byte(r)))
		if strings.Contains(r, "+") {
			s.add(s3.UnescapeQuery([]byte(r)))
		}
		if before, _, found := strings.Cut(r, "#"); found {
			s.add(s3.Unescape([]byte(before)))
		}
	}
	return s
}

// add takes a decoded source for a bucket and a key, and for those of its cleaned path.
func (s *copySource) add(decoded string) {
	decoded = strings.TrimPrefix(decoded, "/") // it may have been encoded, too
	s.addName(decoded)
	if cleaned := strings.TrimPrefix(path.Clean("/"+decoded), "/"); cleaned != decoded {
		if strings.HasSuffix(decoded, "/") {
			s.addName(cleaned + "/")
		}
		s.addName(cleaned)
	}
}

func (s *copySource) addName(name string) {
	var n sourceName
	n.bucket, n.key, _ = strings.Cut(name, "/")
	if n.key != "" && !slices.Contains(s.names, n) {
		s.names = append(s.names, n)
	}
}

// rangeLength is the length of "bytes=first-last", the one form that S3 takes here, or -1.
func rangeLength(r []byte) int64 {
	spec, ok := strings.CutPrefix(string(http1.TrimSpace(r)), "bytes=")
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
func (r *request) sourceOwed() (set uint64) {
	if r.head.source.version || r.e.o.Journal == nil {
		return 0
	}
	for _, n := range r.head.source.names {
		set |= r.e.o.Journal.Owed([]byte(n.bucket), []byte(n.key))
	}
	return set & r.e.all
}

// isSourceUnderWay reports whether a client's write to the copy's source is.
func (r *request) isSourceUnderWay() bool {
	return slices.ContainsFunc(r.head.source.names, func(n sourceName) bool {
		return r.e.writes.underWay(hashKey(n.bucket, n.key))
	})
}

// betterKnown is the set of backends that owe what others do not: what all owe, none of them is
// known to have better.
func (r *request) betterKnown(owing uint64) uint64 {
	if owing == r.e.all {
		return 0
	}
	return owing
}

// sourceMissing is the set of backends that owe the source, or tags of it which the copy takes along, and that it
// is not coming to.
func (r *request) sourceMissing() (set uint64) {
	j := r.e.o.Journal
	if r.head.source.version || j == nil {
		return 0
	}
	expected := uint64(0)
	for i, n := range r.head.source.names {
		coming := r.comingTo(i) // before the journal is asked, which knows of what has left by now
		owing := r.betterKnown(j.Owed([]byte(n.bucket), []byte(n.key)) & r.e.all)
		if tags := r.e.o.OwedTags; tags != nil && r.head.is(s3.KindCopy) && !r.head.source.ownTags {
			owing |= r.betterKnown(tags([]byte(n.bucket), []byte(n.key)) & r.e.all)
		}
		set |= owing &^ coming
		expected |= owing & coming
	}
	r.source.coming = expected &^ set
	return set
}

// withSource takes backends out of want that owe a copy's source: an older one is not to
// be copied, and the copy is owed there, too. Who is at a write to it copies behind that (order_copies.go).
// Where nobody is left the client has to wait for repair of the source; for a write to it that is under way
// the copy waits itself, and so does that of a part, which is one backend's alone.
func (r *request) withSource(want uint64) (uint64, *s3Error) {
	r.enterSource()
	owing := r.sourceMissing()
	for p := r.e.brieflyPatient(); owing&want != 0 && (r.head.isPartCopy() || want&^owing == 0); owing = r.sourceMissing() {
		if !r.isSourceUnderWay() || !p.wait(r.e) {
			break
		}
	}
	if owing&want == 0 {
		return want, nil
	}
	if want &^= owing; want == 0 {
		r.wantSource()
		return 0, errSourceOwed
	}
	if r.head.is(s3.KindCopy) {
		r.race.leaveOut(owing)
	}
	return want, nil
}

// sourceIsOwed reports whether the picked answer says that the source of a copy is not
// there, by a backend that owes it.
func (r *request) sourceIsOwed(picked *leg) bool {
	if picked.answer.Status != 404 || r.sourceOwed()&(1<<picked.backend) == 0 {
		return false
	}
	r.wantSource()
	return true
}

// wantSource tells repair that a client waits for the source.
func (r *request) wantSource() {
	if f := r.e.o.Wanted; f != nil {
		for _, n := range r.head.source.names {
			f(n.bucket, n.key)
		}
	}
}
