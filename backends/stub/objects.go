package stub

import (
	"encoding/xml"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/akubra/akubra/s3"
)

// Object is what is stored at a path. Body is nil if bodies are not kept; SHA256 is empty if it
// cannot be known without them.
type Object struct {
	Body         []byte
	Size         int64
	SHA256, ETag string
}

func (o *Object) kept() bool { return int64(len(o.Body)) == o.Size }

// store is the object store of one Server. Its keys are raw paths without the query: a bucket is an
// object like any other, and two spellings of one key are two objects. Subresources (?acl) other
// than those of uploads are not told apart from the object.
type store struct {
	opts options

	mu      sync.Mutex
	objects map[string]Object
	uploads map[string]*upload
	prefix  string // of upload ids; different in every store
	nextID  int
}

var stores struct {
	sync.Mutex
	n int
}

func newStore(opts options) *store {
	stores.Lock()
	defer stores.Unlock()
	stores.n++
	return &store{
		opts:    opts,
		objects: make(map[string]Object),
		uploads: make(map[string]*upload),
		prefix:  fmt.Sprintf("stub%d-", stores.n),
	}
}

// Object returns what is stored at a raw path such as "/bucket/a%20key".
func (s *Server) Object(path string) (Object, bool) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	o, ok := s.store.objects[path]
	return o, ok
}

// Objects returns everything stored, by raw path.
func (s *Server) Objects() map[string]Object {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	return maps.Clone(s.store.objects)
}

// Put stores an object as if it had been sent.
func (s *Server) Put(path string, body []byte) {
	k := newSink(s.opts.hash)
	k.begin(int64(len(body)), whole)
	k.take(body)
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.objects[path] = k.content()
}

// do carries out a request whose body arrived completely and returns the normal response.
func (s *store) do(r *Request, body *sink) answer {
	path, rawQuery, _ := strings.Cut(r.Target, "?")
	query, _ := url.ParseQuery(rawQuery) // a query that cannot be read means nothing here
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case query.Has("uploads"):
		return s.uploadsLocked(r.Method, path)
	case query.Has("uploadId"):
		return s.uploadLocked(r, path, query, body)
	case r.Method == "POST" && query.Has("delete"):
		return s.deleteManyLocked(path, body)
	}
	switch r.Method {
	case "PUT":
		return s.putLocked(r, path, body)
	case "GET", "HEAD":
		return s.getLocked(r, path)
	case "DELETE":
		delete(s.objects, path)
		return answer{status: 204, length: -1}
	case "POST":
		return answer{status: 200, length: -1}
	}
	return errorAnswer(405)
}

func (s *store) putLocked(r *Request, path string, body *sink) answer {
	if !r.Headers.Has("x-amz-copy-source") {
		o := body.content()
		s.objects[path] = o
		return answer{status: 200, headers: H("ETag", o.ETag), length: -1}
	}
	o, ok := s.sourceLocked(r)
	if !ok {
		return errorAnswer(404)
	}
	s.objects[path] = o
	return xmlAnswer(copied{XMLName: xml.Name{Local: "CopyObjectResult"}, ETag: o.ETag})
}

// sourceLocked finds the source of a copy.
func (s *store) sourceLocked(r *Request) (Object, bool) {
	source, _, _ := strings.Cut(r.Headers.Get("x-amz-copy-source"), "?")
	o, ok := s.objects["/"+strings.TrimPrefix(source, "/")]
	return o, ok
}

func (s *store) getLocked(r *Request, path string) answer {
	o, ok := s.objects[path]
	switch {
	case !ok && path == "/":
		return answer{status: 200, length: -1}
	case !ok:
		return errorAnswer(404)
	case r.Method == "GET" && !o.kept():
		return errorAnswer(500)
	}
	a := answer{
		status:  200,
		headers: H("ETag", o.ETag, "Accept-Ranges", "bytes", "Content-Type", "binary/octet-stream"),
		body:    o.Body,
		length:  o.Size,
	}
	from, to, ok := parseRange(r.Headers.Get("Range"), o.Size)
	switch {
	case !ok:
		return a // whatever it is, it may be ignored
	case from >= o.Size || from > to:
		return errorAnswer(416)
	}
	a.status, a.length = 206, to-from+1
	a.headers = append(a.headers, H("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, o.Size))...)
	if o.kept() {
		a.body = o.Body[from : to+1]
	}
	return a
}

// parseRange reads a single range; to is inclusive.
func parseRange(value string, size int64) (from, to int64, ok bool) {
	spec, isBytes := strings.CutPrefix(value, "bytes=")
	first, last, isRange := strings.Cut(spec, "-")
	if !isBytes || !isRange {
		return 0, 0, false
	}
	from, noFirst := strconv.ParseInt(first, 10, 64)
	to, noLast := strconv.ParseInt(last, 10, 64)
	switch {
	case noFirst == nil && noLast == nil && to >= from:
		return from, min(to, size-1), true
	case noFirst == nil && last == "":
		return from, size - 1, true
	case first == "" && noLast == nil:
		if to == 0 {
			return size, 0, true
		}
		return max(0, size-to), size - 1, true
	}
	return 0, 0, false
}

type deleteRequest struct {
	Quiet   bool
	Objects []struct{ Key string } `xml:"Object"`
}

type deleteResult struct {
	XMLName xml.Name `xml:"DeleteResult"`
	Deleted []deleted
}

type deleted struct{ Key string }

func (s *store) deleteManyLocked(bucket string, body *sink) answer {
	var req deleteRequest
	if err := xml.Unmarshal(body.kept, &req); err != nil {
		return errorAnswer(400)
	}
	var result deleteResult
	for _, o := range req.Objects {
		// The key is stored as its path was spelled: plain, or escaped as AWS does.
		dir := strings.TrimSuffix(bucket, "/") + "/"
		delete(s.objects, dir+o.Key)
		delete(s.objects, dir+s3.Escape(o.Key))
		if !req.Quiet {
			result.Deleted = append(result.Deleted, deleted(o))
		}
	}
	return xmlAnswer(result)
}

// copied is the response to a copy; the element's name says of what.
type copied struct {
	XMLName xml.Name
	ETag    string
}

func xmlAnswer(v any) answer {
	body, err := xml.Marshal(v)
	if err != nil {
		panic(err) // can only be our own types
	}
	return answer{
		status:  200,
		headers: H("Content-Type", "application/xml"),
		body:    append([]byte(xml.Header), body...),
		length:  -1,
	}
}
