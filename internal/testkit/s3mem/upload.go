package s3mem

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
)

func (s *Storage) uploadLocked(w http.ResponseWriter, r *request, b *Bucket) {
	if r.query.Has("uploads") {
		id := s.id()
		s.uploads[id] = &upload{bucket: r.bucket, key: r.key, header: r.Header.Clone(), parts: map[int][]byte{}}
		_, _ = io.WriteString(w, "<InitiateMultipartUploadResult>"+element("UploadId", id)+"</InitiateMultipartUploadResult>")
		return
	}
	id := r.query.Get("uploadId")
	u := s.uploads[id]
	if u == nil || u.bucket != r.bucket || u.key != r.key {
		refuse(w, http.StatusNotFound, "NoSuchUpload")
		return
	}
	switch r.Method {
	case http.MethodPut:
		n, _ := strconv.Atoi(r.query.Get("partNumber"))
		u.parts[n] = r.body
		w.Header().Set("ETag", `"`+hashed(r.body)+`"`)
	case http.MethodDelete:
		delete(s.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPost:
		s.completeLocked(w, r, b, id, u)
	default:
		refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowed")
	}
}

// completeLocked joins the parts that the list names, or all if there is no list.
func (s *Storage) completeLocked(w http.ResponseWriter, r *request, b *Bucket, id string, u *upload) {
	if !s.holds(w, r, b.current(r.key)) {
		return
	}
	var list struct{ Part []struct{ PartNumber int } }
	numbers := slices.Sorted(maps.Keys(u.parts))
	if xml.Unmarshal(r.body, &list) == nil && len(list.Part) > 0 {
		numbers = numbers[:0]
		for _, p := range list.Part {
			numbers = append(numbers, p.PartNumber)
		}
	}
	sums, body, sizes := md5.New(), []byte(nil), []int64(nil)
	for _, n := range numbers {
		part, ok := u.parts[n]
		if !ok {
			refuse(w, http.StatusBadRequest, "InvalidPart")
			return
		}
		sum := md5.Sum(part)
		sums.Write(sum[:])
		body, sizes = append(body, part...), append(sizes, int64(len(part)))
	}
	v := s.newVersion(u.header, body)
	v.ETag, v.Parts = fmt.Sprintf("%s-%d", hex.EncodeToString(sums.Sum(nil)), len(numbers)), sizes
	s.storeLocked(b, r.key, v)
	delete(s.uploads, id)
	if b.Versioned {
		w.Header().Set("X-Amz-Version-Id", v.ID)
	}
	_, _ = fmt.Fprintf(w, "<CompleteMultipartUploadResult><ETag>&quot;%s&quot;</ETag></CompleteMultipartUploadResult>", v.ETag)
}
