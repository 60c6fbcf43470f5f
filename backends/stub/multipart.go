package stub

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/akubra/akubra/s3"
)

// upload is a multipart upload in progress.
type upload struct {
	path  string
	parts map[int]Object
}

// Uploads returns the ids of the uploads that were neither completed nor aborted, in order.
func (s *Server) Uploads() []string {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	return slices.Sorted(maps.Keys(s.store.uploads))
}

type initiated struct {
	XMLName     xml.Name `xml:"InitiateMultipartUploadResult"`
	Bucket, Key string
	UploadID    string `xml:"UploadId"`
}

type uploadList struct {
	XMLName xml.Name `xml:"ListMultipartUploadsResult"`
	Upload  []uploadName
}

type uploadName struct {
	Key      string
	UploadID string `xml:"UploadId"`
}

// uploadsLocked answers ?uploads: it starts an upload or lists them.
func (s *store) uploadsLocked(method, path string) answer {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch method {
	case "POST":
		s.nextID++
		id := fmt.Sprintf("%s%06d", s.prefix, s.nextID)
		s.uploads[id] = &upload{path: path, parts: make(map[int]Object)}
		return xmlAnswer(initiated{Bucket: bucket, Key: key, UploadID: id})
	case "GET":
		var list uploadList
		for _, id := range slices.Sorted(maps.Keys(s.uploads)) {
			if key, ok := strings.CutPrefix(s.uploads[id].path, "/"+bucket+"/"); ok {
				list.Upload = append(list.Upload, uploadName{Key: key, UploadID: id})
			}
		}
		return xmlAnswer(list)
	}
	return errorAnswer(405)
}

// uploadLocked answers ?uploadId: a part, the list of parts, an abort or a completion.
func (s *store) uploadLocked(r *Request, path string, query url.Values, body *sink) answer {
	id := query.Get("uploadId")
	u := s.uploads[id]
	if u == nil || u.path != path {
		a := errorAnswer(404)
		a.body = errorDocument("NoSuchUpload")
		return a
	}
	switch r.Method {
	case "PUT":
		return s.putPartLocked(r, u, query.Get("partNumber"), body)
	case "GET":
		return u.list(id)
	case "DELETE":
		delete(s.uploads, id)
		return answer{status: 204, length: -1}
	case "POST":
		return s.completeLocked(u, id, body)
	}
	return errorAnswer(405)
}

func (s *store) putPartLocked(r *Request, u *upload, number string, body *sink) answer {
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > 10000 {
		return errorAnswer(400)
	}
	if !r.Headers.Has("x-amz-copy-source") {
		u.parts[n] = body.content()
		return answer{status: 200, headers: H("ETag", u.parts[n].ETag), length: -1}
	}
	o, ok := s.sourceLocked(r)
	if !ok {
		return errorAnswer(404)
	}
	u.parts[n] = o
	return xmlAnswer(copied{XMLName: xml.Name{Local: "CopyPartResult"}, ETag: o.ETag})
}

type partList struct {
	XMLName  xml.Name `xml:"ListPartsResult"`
	UploadID string   `xml:"UploadId"`
	Part     []part
}

type part struct {
	PartNumber int
	ETag       string
	Size       int64 `xml:",omitempty"`
}

func (u *upload) list(id string) answer {
	list := partList{UploadID: id}
	for _, n := range slices.Sorted(maps.Keys(u.parts)) {
		list.Part = append(list.Part, part{PartNumber: n, ETag: u.parts[n].ETag, Size: u.parts[n].Size})
	}
	return xmlAnswer(list)
}

type completed struct {
	XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
	ETag    string
}

// completeLocked joins the parts that the request lists.
func (s *store) completeLocked(u *upload, id string, body *sink) answer {
	var req struct{ Part []part }
	if err := xml.Unmarshal(body.kept, &req); err != nil || len(req.Part) == 0 {
		return errorAnswer(400)
	}
	var pieces [][]byte
	var size int64
	sum := md5.New()
	for _, want := range req.Part {
		p, ok := u.parts[want.PartNumber]
		if !ok || s3.Unquote(want.ETag) != s3.Unquote(p.ETag) {
			a := errorAnswer(400)
			a.body = errorDocument("InvalidPart")
			return a
		}
		digest, _ := hex.DecodeString(s3.Unquote(p.ETag)) // best effort for copies of multipart objects
		sum.Write(digest)
		size += p.Size
		if p.kept() {
			pieces = append(pieces, p.Body)
		}
	}
	o := Object{Size: size}
	if len(pieces) == len(req.Part) {
		k := newSink(s.opts.hash)
		k.begin(-1, whole)
		k.take(bytes.Join(pieces, nil))
		o = k.content()
	}
	o.ETag = fmt.Sprintf(`"%x-%d"`, sum.Sum(nil), len(req.Part))
	s.objects[u.path] = o
	delete(s.uploads, id)
	return xmlAnswer(completed{ETag: o.ETag})
}
