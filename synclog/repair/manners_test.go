package repair

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// manners are ways of storages to keep something else than they are given.
type manners struct {
	noTags      bool // takes tags, and forgets them
	directories bool // shows a directory as an object, and keeps no content under its name
	folds       bool // takes a//b for a/b
	trims       bool // takes a/ for a
	guesses     bool // a Content-Type where none was sent
	full        bool // 507 to what is written
	readOnly    bool // 403 to what is written
	fails       bool // 500 to what is written: versitygw on a read-only file system
}

const lockDoc = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"

// distort is what becomes of an object.
func (f *fake) distort(key string, o *fakeObject) {
	if f.quirks.directories && strings.HasSuffix(key, "/") {
		o.body = nil
	}
	f.forget(o)
	if f.quirks.dropHeader != "" {
		delete(o.header, f.quirks.dropHeader)
	}
	if f.quirks.guesses && o.header.Get("Content-Type") == "" {
		o.header.Set("Content-Type", "text/plain; charset=utf-8")
	}
}

func (f *fake) forget(o *fakeObject) {
	if f.quirks.noTags {
		delete(o.docs, "tagging")
	}
}

func (f *fake) folded(key string) string {
	for f.quirks.folds && strings.Contains(key, "//") {
		key = strings.ReplaceAll(key, "//", "/")
	}
	if f.quirks.trims {
		key = strings.TrimRight(key, "/")
	}
	return key
}

// mannersLocked answers in a storage's own way, or says which key it takes it for.
func (f *fake) mannersLocked(w http.ResponseWriter, r *http.Request, b *fakeBucket, key *string, query url.Values) (done bool) {
	write := r.Method != "GET" && r.Method != "HEAD"
	switch {
	case write && f.quirks.full:
		refuse(w, 507, "XMinioStorageFull")
		return true
	case write && f.quirks.readOnly:
		refuse(w, 403, "AccessDenied")
		return true
	case write && f.quirks.fails:
		refuse(w, 500, "InternalError")
		return true
	case r.Method == "DELETE" && query.Has("versionId"):
		b.drop(*key, query.Get("versionId"))
		w.WriteHeader(204)
		return true
	}
	*key = f.folded(*key)
	if f.quirks.directories && !write && strings.HasSuffix(*key, "/") {
		for other := range b.objects {
			if strings.HasPrefix(other, *key) && other != *key {
				w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e-0"`)
				w.Header().Set("Content-Length", "0")
				w.WriteHeader(200)
				return true
			}
		}
	}
	return false
}

// lock keeps a header of a lock as a document.
func (o *fakeObject) lock(name, value string) {
	switch name {
	case lineHold:
		o.docs["legal-hold"] = "<LegalHold><Status>" + value + "</Status></LegalHold>"
	case lineMode:
		o.docs["retention"] = "<Retention><Mode>" + value + "</Mode>" + cutTo(o.docs["retention"], "<RetainUntilDate>") + "</Retention>"
	case lineDate:
		o.docs["retention"] = "<Retention>" + cutTo(o.docs["retention"], "<Mode>") + "<RetainUntilDate>" + value + "</RetainUntilDate></Retention>"
	}
}

// cutTo is an element of a document.
func cutTo(doc, element string) string {
	_, rest, ok := strings.Cut(doc, element)
	if !ok {
		return ""
	}
	end := strings.Replace(element, "<", "</", 1)
	text, _, _ := strings.Cut(rest, end)
	return element + text + end
}

// shown are the headers of an object, its lock among them.
func (f *fake) shown(o *fakeObject) http.Header {
	h := o.header.Clone()
	if doc := o.docs["legal-hold"]; doc != "" {
		hold, _ := normalHold([]byte(doc))
		if hold == "" {
			hold = "OFF"
		}
		h.Set(lineHold, hold)
	}
	if doc := o.docs["retention"]; doc != "" {
		h.Set(lineMode, strings.TrimSuffix(strings.TrimPrefix(cutTo(doc, "<Mode>"), "<Mode>"), "</Mode>"))
		h.Set(lineDate, strings.TrimSuffix(strings.TrimPrefix(cutTo(doc, "<RetainUntilDate>"), "<RetainUntilDate>"), "</RetainUntilDate>"))
	}
	return h
}

// history is what a bucket keeps of what was there.
type history struct {
	anonymous bool // the null version is listed without an id
	versioned bool
	stacks    map[string][]fakeVersion // the newest first
	given     int
}

type fakeVersion struct {
	id string
	o  *fakeObject // nil: a delete marker
}

func (b *fakeBucket) push(key string, o *fakeObject) {
	if !b.versioned {
		return
	}
	if b.stacks == nil {
		b.stacks = map[string][]fakeVersion{}
	}
	b.given++
	b.stacks[key] = slices.Insert(b.stacks[key], 0, fakeVersion{fmt.Sprintf("%p-%d", b, b.given), o})
}

// tell tells the id of a key's current version.
func (b *fakeBucket) tell(w http.ResponseWriter, key string) {
	if b.versioned {
		w.Header().Set(headerVersion, b.stacks[key][0].id)
	}
}

func (b *fakeBucket) version(key, id string) *fakeObject {
	for _, v := range b.stacks[key] {
		if v.id == id {
			return v.o
		}
	}
	if id == "null" {
		return b.objects[key]
	}
	return nil
}

func (b *fakeBucket) drop(key, id string) {
	if !b.versioned {
		if id == "null" {
			delete(b.objects, key)
		}
		return
	}
	b.stacks[key] = slices.DeleteFunc(b.stacks[key], func(v fakeVersion) bool { return v.id == id })
	delete(b.objects, key)
	if s := b.stacks[key]; len(s) == 0 {
		delete(b.stacks, key)
	} else if s[0].o != nil {
		b.objects[key] = s[0].o
	}
}

func (b *fakeBucket) listVersions(w http.ResponseWriter, prefix string) {
	fmt.Fprint(w, "<ListVersionsResult><EncodingType>url</EncodingType>")
	one := func(key, id string, o *fakeObject) {
		if b.anonymous && id == "null" {
			id = ""
		}
		if o == nil {
			fmt.Fprintf(w, "<DeleteMarker><Key>%s</Key><VersionId>%s</VersionId></DeleteMarker>", url.QueryEscape(key), id)
			return
		}
		fmt.Fprintf(w, "<Version><Key>%s</Key><VersionId>%s</VersionId><ETag>&quot;%s&quot;</ETag><Size>%d</Size></Version>",
			url.QueryEscape(key), id, o.etag, len(o.body))
	}
	for key, stack := range b.stacks {
		for _, v := range stack {
			if strings.HasPrefix(key, prefix) {
				one(key, v.id, v.o)
			}
		}
	}
	for key, o := range b.objects {
		if strings.HasPrefix(key, prefix) && !b.versioned {
			one(key, "null", o)
		}
	}
	fmt.Fprint(w, "</ListVersionsResult>")
}

// versionIDs are the ids of a key's versions, the newest first.
func (f *fake) versionIDs(bucket, key string) (ids []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range f.buckets[bucket].stacks[key] {
		ids = append(ids, v.id)
	}
	return ids
}

// etags are what is in a stack, the newest first; "" is a delete marker.
func (f *fake) etags(bucket, key string) (etags []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range f.buckets[bucket].stacks[key] {
		etag := ""
		if v.o != nil {
			etag = v.o.etag
		}
		etags = append(etags, etag)
	}
	return etags
}

// expired is a date that has passed, still is one that has not.
func expired() string { return time.Now().Add(-time.Hour).UTC().Format(time.RFC3339) }
func still() string   { return time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339) }
