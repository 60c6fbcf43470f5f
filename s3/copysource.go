package s3

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/akubra/akubra/http1"
)

// CopySource is what x-amz-copy-source names (S3 API reference, CopyObject): a bucket
// and a key, percent-encoded, with or without a slash before them.
type CopySource struct {
	Names     []ObjectName // what backends may take it for; none if it names no object
	VersionID string       // of a version, whose id is one backend's own; else ""
	Length    int64        // of the range that is copied, or -1
	OwnTags   bool         // the copy gets tags of its own
}

// ObjectName is an object's, decoded.
type ObjectName struct{ Bucket, Key string }

// ReadCopySource reads the field, and the one with the range. Backends differ in where an oddly written
// key ends, whether they clean its path, and whether a + is a space: each reading is one of Names.
func ReadCopySource(source, byteRange []byte) CopySource {
	s := CopySource{Length: rangeLength(byteRange)}
	name, query, _ := strings.Cut(string(source), "?")
	for param := range strings.SplitSeq(query, "&") {
		if id, found := strings.CutPrefix(param, "versionId="); found && s.VersionID == "" && IsVersion(id) {
			s.VersionID = Unescape([]byte(id))
		}
	}
	readings := []string{name}
	if i := strings.LastIndex(string(source), "?versionId="); i > len(name) {
		readings = append(readings, string(source[:i])) // a ? of the key's own
	} else if i < 0 && query != "" {
		readings = append(readings, string(source))
	}
	for _, r := range readings {
		s.add(Unescape([]byte(r)))
		if strings.Contains(r, "+") {
			s.add(unescapeQuery([]byte(r)))
		}
		if before, _, found := strings.Cut(r, "#"); found {
			s.add(Unescape([]byte(before)))
		}
	}
	return s
}

// add takes a decoded source for a bucket and a key, and for those of its cleaned path.
func (s *CopySource) add(decoded string) {
	decoded = strings.TrimPrefix(decoded, "/") // it may have been encoded, too
	s.addName(decoded)
	if cleaned := strings.TrimPrefix(path.Clean("/"+decoded), "/"); cleaned != decoded {
		if strings.HasSuffix(decoded, "/") {
			s.addName(cleaned + "/")
		}
		s.addName(cleaned)
	}
}

func (s *CopySource) addName(name string) {
	var n ObjectName
	n.Bucket, n.Key, _ = strings.Cut(name, "/")
	if n.Key != "" && !slices.Contains(s.Names, n) {
		s.Names = append(s.Names, n)
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
