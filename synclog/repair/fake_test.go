package repair

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/s3"
)

// fake is an S3 storage in memory, with the storages' quirks to choose from.
type fake struct {
	t      testing.TB
	server *httptest.Server
	name   string

	mu      sync.Mutex
	buckets map[string]*fakeBucket
	uploads map[string]*fakeUpload
	ids     int
	offset  time.Duration // of its clock
	quirks  quirks
	hook    func(w http.ResponseWriter, r *http.Request) (done bool) // not under mu
	log     []string                                                 // "PUT /b/k?acl"
}

type quirks struct {
	refuseConditions bool // 501 to If-Match and If-None-Match of a PUT
	ignoreConditions bool
	refuseDeleteIf   bool
	noPartNumber     bool
	noTagCount       bool
	noSubresources   bool
	opaqueETags      bool // 32 digits that are no MD5
	dropHeader       string
	refuseClass      bool
	minPart          int64
	v1Listing        bool
	manners
}

type fakeBucket struct {
	objects map[string]*fakeObject
	docs    map[string]string
	history
}

type fakeObject struct {
	body     []byte
	header   http.Header
	etag     string
	modified time.Time
	parts    []int64
	docs     map[string]string // tagging, acl, …
}

type fakeUpload struct {
	bucket, key string
	header      http.Header
	parts       map[int][]byte
}

func newFake(t testing.TB, buckets ...string) *fake {
	t.Helper()
	f := &fake{t: t, buckets: map[string]*fakeBucket{}, uploads: map[string]*fakeUpload{}}
	for _, b := range buckets {
		f.makeBucket(b)
	}
	f.server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.server.Close)
	f.name = strings.TrimPrefix(f.server.URL, "http://")
	return f
}

func (f *fake) makeBucket(name string) {
	f.buckets[name] = &fakeBucket{objects: map[string]*fakeObject{}, docs: map[string]string{}}
}

func (f *fake) backend() Backend { return Backend{Name: f.name, URL: f.server.URL} }

func md5Hex(body []byte) string {
	sum := md5.Sum(body)
	return hex.EncodeToString(sum[:])
}

// put stores an object, modified so long ago; headers come in pairs.
func (f *fake) put(bucket, key, body string, age time.Duration, headers ...string) *fakeObject {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	o := f.storeLocked(bucket, key, []byte(body), h)
	o.modified = time.Now().Add(f.offset - age)
	return o
}

// putParts stores an object of several parts.
func (f *fake) putParts(bucket, key string, parts ...string) *fakeObject {
	o := f.put(bucket, key, strings.Join(parts, ""), time.Hour)
	f.mu.Lock()
	defer f.mu.Unlock()
	var all [][]byte
	for _, p := range parts {
		all = append(all, []byte(p))
	}
	o.joined(all)
	return o
}

func (o *fakeObject) joined(parts [][]byte) {
	sum := md5.New()
	o.body, o.parts = nil, nil
	for _, p := range parts {
		one := md5.Sum(p)
		sum.Write(one[:])
		o.body = append(o.body, p...)
		o.parts = append(o.parts, int64(len(p)))
	}
	o.etag = fmt.Sprintf("%x-%d", sum.Sum(nil), len(parts))
}

func (f *fake) storeLocked(bucket, key string, body []byte, h http.Header) *fakeObject {
	o := &fakeObject{body: body, header: http.Header{}, etag: md5Hex(body), modified: time.Now().Add(f.offset), docs: map[string]string{}}
	if f.quirks.opaqueETags {
		o.etag = md5Hex(append([]byte(f.name), body...))
	}
	for name, v := range h {
		name = http.CanonicalHeaderKey(name)
		switch {
		case name == f.quirks.dropHeader:
		case name == "X-Amz-Tagging":
			o.docs["tagging"] = tagDoc(v[0])
		case name == "X-Amz-Acl":
			o.docs["acl"] = f.cannedDoc(v[0])
		case strings.HasPrefix(name, "X-Amz-Object-Lock-") && f.buckets[bucket].docs["object-lock"] != "":
			o.lock(name, v[0])
		case slices.Contains(systemHeaders, name), strings.HasPrefix(name, metaPrefix), strings.HasPrefix(name, "X-Amz-Checksum-"):
			o.header[name] = v
		}
	}
	f.distort(key, o)
	key = f.folded(key)
	f.buckets[bucket].objects[key] = o
	f.buckets[bucket].push(key, o)
	return o
}

func tagDoc(encoded string) string {
	values, _ := url.ParseQuery(encoded)
	doc := "<Tagging><TagSet>"
	for _, k := range slices.Sorted(maps.Keys(values)) {
		var v strings.Builder
		_ = xml.EscapeText(&v, []byte(values.Get(k)))
		doc += "<Tag><Key>" + k + "</Key><Value>" + v.String() + "</Value></Tag>"
	}
	return doc + "</TagSet></Tagging>"
}

func (f *fake) cannedDoc(canned string) string {
	owner := "owner-of-" + f.name
	grants := `<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>` + owner +
		`</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant>`
	if canned == "public-read" {
		grants += `<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group"><URI>` + allUsers +
			`</URI></Grantee><Permission>READ</Permission></Grant>`
	}
	return "<AccessControlPolicy><Owner><ID>" + owner + "</ID></Owner><AccessControlList>" + grants + "</AccessControlList></AccessControlPolicy>"
}

// get gives a copy of what is stored.
func (f *fake) get(bucket, key string) (fakeObject, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.buckets[bucket]
	if b == nil || b.objects[key] == nil {
		return fakeObject{}, false
	}
	o := *b.objects[key]
	o.docs = maps.Clone(o.docs)
	return o, true
}

func (f *fake) remove(bucket, key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.buckets[bucket].objects, key)
}

func (f *fake) setHook(h func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = h
}

// requests counts those whose line has the text in it.
func (f *fake) requests(text string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, line := range f.log {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.log = append(f.log, r.Method+" "+r.RequestURI)
	hook := f.hook
	w.Header().Set("Date", time.Now().Add(f.offset).UTC().Format(http.TimeFormat))
	f.mu.Unlock()
	if hook != nil && hook(w, r) {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // it did not arrive whole
	}
	if sum := r.Header.Get("Content-Md5"); sum != "" {
		if want := md5.Sum(body); sum != base64.StdEncoding.EncodeToString(want[:]) {
			refuse(w, 400, "BadDigest")
			return
		}
	}
	path, rawQuery, _ := strings.Cut(r.RequestURI, "?")
	query, _ := url.ParseQuery(rawQuery)
	bucket, rawKey, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	key, err := url.PathUnescape(rawKey)
	if err != nil {
		refuse(w, 400, "InvalidURI")
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case bucket == "":
		fmt.Fprint(w, "<ListAllMyBucketsResult/>")
	case key == "":
		f.bucketLocked(w, r, bucket, query, body)
	case f.buckets[bucket] == nil:
		refuse(w, 404, "NoSuchBucket")
	case query.Has("uploads") || query.Has("uploadId"):
		f.uploadLocked(w, r, bucket, key, query, body)
	default:
		f.objectLocked(w, r, f.buckets[bucket], bucket, key, query, body)
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
}

func (f *fake) bucketLocked(w http.ResponseWriter, r *http.Request, name string, query url.Values, body []byte) {
	b := f.buckets[name]
	if b == nil && !(r.Method == "PUT" && len(query) == 0) {
		refuse(w, 404, "NoSuchBucket")
		return
	}
	if query.Has("versions") {
		b.listVersions(w, query.Get("prefix"))
		return
	}
	for sub := range s3.Subresources {
		if query.Has(sub) {
			f.docLocked(w, r, b.docs, sub, body)
			return
		}
	}
	switch r.Method {
	case "PUT":
		if b != nil {
			refuse(w, 409, "BucketAlreadyOwnedByYou")
			return
		}
		f.makeBucket(name)
		if r.Header.Get("X-Amz-Bucket-Object-Lock-Enabled") == "true" {
			f.buckets[name].docs["object-lock"] = lockDoc
			f.buckets[name].versioned = true
		}
	case "DELETE":
		if len(b.objects)+len(b.stacks) > 0 {
			refuse(w, 409, "BucketNotEmpty")
			return
		}
		delete(f.buckets, name)
		w.WriteHeader(204)
	case "GET":
		f.listLocked(w, b, query)
	}
}

func (f *fake) listLocked(w http.ResponseWriter, b *fakeBucket, query url.Values) {
	after := query.Get("start-after")
	if token := query.Get("continuation-token"); token != "" {
		after = strings.TrimPrefix(token, "t:")
	}
	if f.quirks.v1Listing {
		after = query.Get("marker")
	}
	most, _ := strconv.Atoi(query.Get("max-keys"))
	var doc strings.Builder
	doc.WriteString("<ListBucketResult><EncodingType>url</EncodingType>")
	n, last, more := 0, "", false
	for _, key := range slices.Sorted(maps.Keys(b.objects)) {
		if key <= after || !strings.HasPrefix(key, query.Get("prefix")) {
			continue
		}
		if n == most {
			more = true
			break
		}
		o := b.objects[key]
		fmt.Fprintf(&doc, `<Contents><Key>%s</Key><ETag>&quot;%s&quot;</ETag><Size>%d</Size><LastModified>%s</LastModified></Contents>`,
			url.QueryEscape(key), o.etag, len(o.body), o.modified.UTC().Format("2006-01-02T15:04:05.000Z"))
		n, last = n+1, key
	}
	fmt.Fprintf(&doc, "<IsTruncated>%t</IsTruncated>", more)
	if more && !f.quirks.v1Listing {
		doc.WriteString("<NextContinuationToken>")
		_ = xml.EscapeText(&doc, []byte("t:"+last))
		doc.WriteString("</NextContinuationToken>")
	}
	fmt.Fprint(w, doc.String()+"</ListBucketResult>")
}

func (f *fake) docLocked(w http.ResponseWriter, r *http.Request, docs map[string]string, sub string, body []byte) {
	if f.quirks.noSubresources {
		refuse(w, 501, "NotImplemented")
		return
	}
	switch doc, ok := docs[sub]; {
	case r.Method == "PUT":
		docs[sub] = string(body)
	case r.Method == "DELETE":
		delete(docs, sub)
		w.WriteHeader(204)
	case ok:
		fmt.Fprint(w, doc)
	case sub == "acl":
		fmt.Fprint(w, f.cannedDoc("private"))
	case sub == "object-lock", sub == "retention", sub == "legal-hold":
		refuse(w, 400, "NoSuchObjectLockConfiguration")
	case sub == "tagging" || sub == "policy" || sub == "cors" || sub == "lifecycle":
		refuse(w, 404, "NoSuchConfiguration")
	default:
		fmt.Fprint(w, "<Configuration/>")
	}
}

func (f *fake) objectLocked(w http.ResponseWriter, r *http.Request, b *fakeBucket, bucket, key string, query url.Values, body []byte) {
	if f.mannersLocked(w, r, b, &key, query) {
		return
	}
	o := b.objects[key]
	if id := query.Get("versionId"); id != "" {
		if o = b.version(key, id); o == nil {
			refuse(w, 404, "NoSuchVersion")
			return
		}
	}
	for sub := range s3.Subresources {
		if query.Has(sub) {
			if o == nil {
				refuse(w, 404, "NoSuchKey")
			} else {
				f.docLocked(w, r, o.docs, sub, body)
				f.forget(o)
			}
			return
		}
	}
	switch r.Method {
	case "PUT":
		if f.forbidden(w, r, o, f.quirks.refuseConditions) {
			return
		}
		if f.quirks.refuseClass && r.Header.Get("X-Amz-Storage-Class") != "" {
			refuse(w, 400, "InvalidStorageClass")
			return
		}
		o = f.storeLocked(bucket, key, body, r.Header)
		w.Header().Set("ETag", `"`+o.etag+`"`)
		b.tell(w, key)
	case "DELETE":
		if o != nil && f.forbidden(w, r, o, f.quirks.refuseDeleteIf) {
			return
		}
		delete(b.objects, key)
		b.push(key, nil)
		w.WriteHeader(204)
	case "GET", "HEAD":
		if o == nil {
			refuse(w, 404, "NoSuchKey")
			return
		}
		b.tell(w, key)
		f.readLocked(w, r, o, query.Get("partNumber"))
	}
}

// forbidden answers where a condition does not hold.
func (f *fake) forbidden(w http.ResponseWriter, r *http.Request, o *fakeObject, refused bool) bool {
	match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	switch {
	case match == "" && none == "" || f.quirks.ignoreConditions:
		return false
	case refused:
		refuse(w, 501, "NotImplemented")
	case match != "" && o == nil:
		refuse(w, 404, "NoSuchKey")
	case match != "" && match != `"`+o.etag+`"`, none != "" && o != nil:
		refuse(w, 412, "PreconditionFailed")
	default:
		return false
	}
	return true
}

func (f *fake) readLocked(w http.ResponseWriter, r *http.Request, o *fakeObject, number string) {
	if match := r.Header.Get("If-Match"); match != "" && match != `"`+o.etag+`"` {
		refuse(w, 412, "PreconditionFailed")
		return
	}
	h := w.Header()
	for name, v := range f.shown(o) {
		if !strings.HasPrefix(name, "X-Amz-Checksum-") || r.Header.Get("X-Amz-Checksum-Mode") != "" {
			h[name] = v
		}
	}
	h.Set("ETag", `"`+o.etag+`"`)
	h.Set("Last-Modified", o.modified.UTC().Format(http.TimeFormat))
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "binary/octet-stream")
	}
	if n := strings.Count(o.docs["tagging"], "<Tag>"); n > 0 && !f.quirks.noTagCount {
		h.Set("X-Amz-Tagging-Count", strconv.Itoa(n))
	}
	body, status := o.body, 200
	if n, err := strconv.Atoi(number); err == nil && !f.quirks.noPartNumber && len(o.parts) > 0 {
		from := int64(0)
		for _, size := range o.parts[:n-1] {
			from += size
		}
		body, status = body[from:from+o.parts[n-1]], 206
		h.Set("X-Amz-Mp-Parts-Count", strconv.Itoa(len(o.parts)))
	}
	var from, to int
	if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); n == 2 {
		body, status = body[from:min(to+1, len(body))], 206
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method == "GET" {
		w.Write(body)
	}
}

func (f *fake) uploadLocked(w http.ResponseWriter, r *http.Request, bucket, key string, query url.Values, body []byte) {
	if query.Has("uploads") {
		f.ids++
		id := fmt.Sprintf("u%d", f.ids)
		f.uploads[id] = &fakeUpload{bucket: bucket, key: key, header: r.Header.Clone(), parts: map[int][]byte{}}
		fmt.Fprintf(w, "<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>", id)
		return
	}
	id := query.Get("uploadId")
	u := f.uploads[id]
	if u == nil {
		refuse(w, 404, "NoSuchUpload")
		return
	}
	switch r.Method {
	case "PUT":
		n, _ := strconv.Atoi(query.Get("partNumber"))
		u.parts[n] = body
		w.Header().Set("ETag", `"`+md5Hex(body)+`"`)
	case "DELETE":
		delete(f.uploads, id)
		w.WriteHeader(204)
	case "POST":
		if f.forbidden(w, r, f.buckets[bucket].objects[key], f.quirks.refuseConditions) {
			return
		}
		var parts [][]byte
		numbers := slices.Sorted(maps.Keys(u.parts))
		for i, n := range numbers {
			if i < len(numbers)-1 && int64(len(u.parts[n])) < f.quirks.minPart {
				fmt.Fprint(w, "  <Error><Code>EntityTooSmall</Code></Error>") // R25
				return
			}
			parts = append(parts, u.parts[n])
		}
		o := f.storeLocked(bucket, key, nil, u.header)
		o.joined(parts)
		delete(f.uploads, id)
		f.buckets[bucket].tell(w, key)
		fmt.Fprintf(w, "<CompleteMultipartUploadResult><ETag>&quot;%s&quot;</ETag></CompleteMultipartUploadResult>", o.etag)
	}
}
