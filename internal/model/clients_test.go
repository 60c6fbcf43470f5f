package model

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/akubra/akubra/internal/testkit/s3mem"
)

// client does a step that is a client's.
func (w *world) client(f []string) {
	verb, target := f[0], f[1]
	bucket, key, _ := strings.Cut(target, "/")
	o := options(f[2:])
	r := &write{method: http.MethodPut, bucket: bucket, key: key, keys: []one{{key: key}}, only: -1, header: http.Header{}}
	set := map[string][]string{}
	switch verb {
	case "put", "multi":
		w.put(r, o, target+" is "+f[2], set)
		if verb == "multi" {
			w.multi(r, set, target)
			return
		}
	case "copy":
		w.copy(r, o, f[2], set)
	case "delete":
		r.method = http.MethodDelete
		set = allOf(nothing)
	case "deletes":
		w.deletes(strings.Split(target, ","), "")
		return
	case "delete-version", "deletes-version", "tag-version":
		w.version(r, verb, f)
		return
	case "clear":
		w.clear(target)
		return
	case "delete-null":
		r.method, r.query = http.MethodDelete, "versionId=null"
		w.truth.versions(target)
		if w.currentID(bucket, key) == "null" { // without versions it is a delete like any other
			set = allOf(nothing)
		}
	case "tag":
		r.query, r.body = "tagging", []byte(s3mem.TagDocument("t="+f[2]))
		set["tags"] = []string{f[2]}
	case "untag":
		r.method, r.query = http.MethodDelete, "tagging"
		set["tags"] = []string{nothing}
	case "acl":
		r.query = "acl"
		r.header.Set("X-Amz-Acl", f[2])
		set["acl"] = []string{strings.TrimPrefix(f[2], "private")}
	case "retain":
		until := time.Now().Add(hours(f[2])).UTC().Format(time.RFC3339)
		r.query, r.body = "retention", []byte("<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>"+until+"</RetainUntilDate></Retention>")
		set["retention"] = []string{until}
	case "hold":
		r.query, r.body = "legal-hold", []byte("<LegalHold><Status>"+f[2]+"</Status></LegalHold>")
		set["hold"] = []string{strings.TrimPrefix(f[2], "OFF")}
	case "make", "remove":
		r.keys[0].key = ""
		set["content"] = []string{"a bucket"}
		if verb == "remove" {
			if !w.mayRemove(bucket) {
				return
			}
			r.method, set["content"] = http.MethodDelete, []string{nothing}
		} else if o["lock"] != "" {
			r.header.Set("X-Amz-Bucket-Object-Lock-Enabled", "true")
			set["content"] = []string{"a bucket with locks"}
		}
		target = bucket + "/"
	default:
		panic("no such step: " + strings.Join(f, " "))
	}
	if w.do(r, target, set) && verb == "remove" {
		w.truth.removed(bucket)
	}
}

// currentID is the id of a key's current version on a backend that is well.
func (w *world) currentID(bucket, key string) string {
	for _, s := range w.stores {
		if v := s.Current(bucket, key); v != nil && s.IsWell() {
			return v.ID
		}
	}
	return ""
}

func hours(n string) time.Duration {
	h, _ := strconv.Atoi(n)
	return time.Duration(h) * time.Hour
}

// options are "name=value", and "name" alone.
func options(f []string) map[string]string {
	o := map[string]string{}
	for _, s := range f {
		n, v, ok := strings.Cut(s, "=")
		if !ok {
			v = "yes"
		}
		o[n] = v
	}
	return o
}

func allOf(value string) map[string][]string {
	set := map[string][]string{}
	for _, a := range aspects {
		set[a] = []string{value}
	}
	return set
}

// do sends a write, and tells the truth of it.
func (w *world) do(r *write, target string, set map[string][]string) (acked bool) {
	deeds := w.truth.begin(target, set)
	w.truth.reads(r, deeds)
	o := w.proxy.Load().do(r, func() {
		w.truth.reads(r, deeds)
		w.truth.ended(target, deeds)
	})
	w.truth.reads(r, deeds)
	w.truth.answered(target, deeds, o.acked[0], o.maybe)
	if w.proxy.Load().ctx.Err() != nil {
		w.truth.ended(target, deeds)
	}
	return o.acked[0]
}

func (w *world) put(r *write, o map[string]string, body string, set map[string][]string) {
	r.body = []byte(body)
	for a, values := range allOf(nothing) {
		set[a] = values
	}
	set["content"] = []string{content(body, o["cache"])}
	if o["cache"] != "" {
		r.header.Set("Cache-Control", o["cache"])
	}
	if o["tags"] != "" {
		r.header.Set("X-Amz-Tagging", "t="+o["tags"])
		set["tags"] = []string{o["tags"]}
	}
	if o["acl"] != "" {
		r.header.Set("X-Amz-Acl", o["acl"])
		set["acl"] = []string{o["acl"]}
	}
	if o["hold"] != "" {
		r.header.Set("X-Amz-Object-Lock-Legal-Hold", "ON")
		set["hold"] = []string{"ON"}
	}
	if o["retain"] != "" {
		until := time.Now().Add(hours(o["retain"])).UTC().Format(time.RFC3339)
		r.header.Set("X-Amz-Object-Lock-Mode", "GOVERNANCE")
		r.header.Set("X-Amz-Object-Lock-Retain-Until-Date", until)
		set["retention"] = []string{until}
	}
}

// multi uploads in two parts, on one backend alone (R26): the first that is well.
func (w *world) multi(r *write, set map[string][]string, target string) {
	for i, s := range w.stores {
		half := len(r.body) / 2
		id, err := w.ask(s, http.MethodPost, "/"+r.bucket+"/"+r.key+"?uploads", r.header, "")
		if err != nil {
			continue
		}
		up := s3mem.Inside(id, "UploadId")
		for n, part := range []string{string(r.body[:half]), string(r.body[half:])} {
			if _, err = w.ask(s, http.MethodPut, fmt.Sprintf("/%s/%s?partNumber=%d&uploadId=%s", r.bucket, r.key, n+1, up), nil, part); err != nil {
				return
			}
		}
		r.method, r.query, r.only, r.header, r.body = http.MethodPost, "uploadId="+up, i, nil, nil
		w.do(r, target, set)
		return
	}
}

// ask sends a request to one backend, past what the journal knows.
func (w *world) ask(s *s3mem.Storage, method, target string, header http.Header, body string) (string, error) {
	ctx, cancel := context.WithTimeout(w.proxy.Load().ctx, legTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.Name+target, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	if header != nil {
		req.Header = header.Clone()
	}
	res, err := s.RoundTrip(req)
	if err != nil {
		return "", err
	}
	answer := new(strings.Builder)
	_ = res.Write(answer)
	if res.StatusCode/100 != 2 {
		err = fmt.Errorf("%s", res.Status)
	}
	return answer.String(), err
}

// copy reads what was acknowledged of its source, and writes it.
func (w *world) copy(r *write, o map[string]string, from string, set map[string][]string) {
	r.from = from
	r.header.Set("X-Amz-Copy-Source", "/"+(&url.URL{Path: from}).EscapedPath())
	r.cache = o["cache"]
	for a, values := range allOf(nothing) {
		set[a] = values
	}
	set["content"], set["tags"] = nil, nil // truth.reads
	if o["cache"] != "" {
		r.header.Set("X-Amz-Metadata-Directive", "REPLACE")
		r.header.Set("Cache-Control", o["cache"])
	}
}

// deletes is DeleteObjects, of one version where that is given.
func (w *world) deletes(targets []string, version string) (acked bool) {
	bucket, _, _ := strings.Cut(targets[0], "/")
	r := &write{method: http.MethodPost, bucket: bucket, query: "delete", only: -1}
	var doc strings.Builder
	doc.WriteString("<Delete>")
	set := make([]map[string]*deed, len(targets))
	for i, target := range targets {
		_, key, _ := strings.Cut(target, "/")
		r.keys = append(r.keys, one{key: key, version: version})
		doc.WriteString("<Object><Key>" + key + "</Key>")
		if version != "" {
			doc.WriteString("<VersionId>" + version + "</VersionId>")
		} else {
			set[i] = w.truth.begin(target, allOf(nothing))
		}
		doc.WriteString("</Object>")
	}
	doc.WriteString("</Delete>")
	r.body = []byte(doc.String())
	o := w.proxy.Load().do(r, func() {
		for i := range targets {
			w.truth.ended(targets[i], set[i])
		}
	})
	for i, target := range targets {
		w.truth.answered(target, set[i], o.acked[i], o.maybe)
		if w.proxy.Load().ctx.Err() != nil {
			w.truth.ended(targets[i], set[i])
		}
	}
	return o.acked[0]
}

// version writes to the n-th version of a key, by the id that a backend that is well has
// for it.
func (w *world) version(r *write, verb string, f []string) {
	n, _ := strconv.Atoi(f[2])
	var v *s3mem.Version
	behind := true
	for i, s := range w.stores { // who is behind is asked where nobody else is left (R30)
		owes := w.proxy.Load().owes(i, f[1])
		if b := s.Bucket(r.bucket); b != nil && s.IsWell() && n < len(b.Keys[r.key]) && (v == nil || behind && !owes) {
			v, behind = b.Keys[r.key][n], owes
		}
	}
	if v == nil {
		return
	}
	w.truth.versions(f[1])
	set := map[string][]string{}
	if n == 0 && verb != "tag-version" {
		set = allOf(whatever)
	}
	purges := !v.Marker
	var acked bool
	switch verb {
	case "tag-version":
		if v.Marker {
			return
		}
		purges = false
		r.query, r.body = "tagging&versionId="+v.ID, []byte(s3mem.TagDocument("t="+f[3]))
		if n == 0 {
			set["tags"] = []string{f[3]}
		}
		w.do(r, f[1], set)
	case "deletes-version":
		deeds := w.truth.begin(f[1], set)
		acked = w.deletes(f[1:2], v.ID)
		w.truth.answered(f[1], deeds, acked, true)
		w.truth.ended(f[1], deeds)
	default:
		r.method, r.query = http.MethodDelete, "versionId="+v.ID
		acked = w.do(r, f[1], set)
	}
	if acked && purges {
		w.truth.purge(f[1], contentOf(v))
	}
}

// mayRemove reports whether the backend that decides a bucket's removal would remove it (R29): it owes
// nothing in the bucket, and has nothing in it.
func (w *world) mayRemove(bucket string) bool {
	p := w.proxy.Load()
	counts := make([]int, len(w.stores))
	p.journal.OwedIn([]byte(bucket), counts)
	for i, s := range w.stores {
		if s.IsWell() && counts[i] == 0 && p.removing(bucket)&(1<<i) == 0 {
			b := s.Bucket(bucket)
			return b != nil && len(b.Keys) == 0
		}
	}
	return false
}

// clear deletes all versions of all keys in a bucket, as far as a backend shows them that owes the fewest.
func (w *world) clear(bucket string) {
	counts := make([]int, len(w.stores))
	w.proxy.Load().journal.OwedIn([]byte(bucket), counts)
	var best *s3mem.Storage
	least := 0
	for i, s := range w.stores {
		if s.IsWell() && s.Bucket(bucket) != nil && (best == nil || counts[i] < least) {
			best, least = s, counts[i]
		}
	}
	if best == nil {
		return
	}
	b := best.Bucket(bucket)
	for _, key := range slices.Sorted(maps.Keys(b.Keys)) {
		for _, v := range slices.Clone(b.Keys[key]) {
			if !b.Versioned && v.ID == "null" {
				w.client([]string{"delete", bucket + "/" + key})
				continue
			}
			w.purge(bucket, key, v)
		}
	}
}

// purge deletes a version for good.
func (w *world) purge(bucket, key string, v *s3mem.Version) {
	target := bucket + "/" + key
	w.truth.versions(target)
	r := &write{method: http.MethodDelete, bucket: bucket, key: key, keys: []one{{key: key}}, only: -1, header: http.Header{}, query: "versionId=" + v.ID}
	if w.do(r, target, allOf(whatever)) && !v.Marker {
		w.truth.purge(target, contentOf(v))
	}
}
