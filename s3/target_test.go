package s3

import (
	"strings"
	"testing"
)

func TestR27Addressing(t *testing.T) {
	domains := []string{"example.com", "s3.example.com"}
	tests := []struct {
		name, target, host string
		bucket, key, query string
	}{
		{"path style", "/b/k", "s3.test", "b", "k", ""},
		{"path style on a domain", "/b/k", "s3.example.com", "b", "k", ""},
		{"path style on the shorter domain", "/b/k", "example.com", "b", "k", ""},
		{"path style on a domain with a port", "/b/k", "s3.example.com:8080", "b", "k", ""},
		{"virtual host", "/k", "b.s3.example.com", "b", "k", ""},
		{"virtual host with a port", "/k", "b.s3.example.com:8080", "b", "k", ""},
		{"virtual host below the shorter domain", "/k", "b.example.com", "b", "k", ""},
		{"virtual host in capitals", "/k", "b.S3.Example.COM", "b", "k", ""},
		{"bucket with dots", "/k", "my.b.s3.example.com", "my.b", "k", ""},
		{"a name that only ends alike", "/b/k", "notexample.com", "b", "k", ""},
		{"an empty bucket in the host", "/b/k", ".example.com", "b", "k", ""},
		{"IPv4 host", "/b/k", "127.0.0.1:80", "b", "k", ""},
		{"IPv6 host", "/b/k", "[::1]:80", "b", "k", ""},
		{"IPv6 host without a port", "/b/k", "[::1]", "b", "k", ""},
		{"no host", "/b/k", "", "b", "k", ""},

		{"root", "/", "s3.test", "", "", ""},
		{"bucket", "/b", "s3.test", "b", "", ""},
		{"bucket with a slash", "/b/", "s3.test", "b", "", ""},
		{"bucket with a query", "/b?list-type=2&prefix=a/b", "s3.test", "b", "", "list-type=2&prefix=a/b"},
		{"virtual bucket", "/", "b.s3.example.com", "b", "", ""},
		{"virtual bucket with a query", "/?acl", "b.s3.example.com", "b", "", "acl"},
		{"key that starts with a slash", "/b//k", "s3.test", "b", "/k", ""},
		{"virtual key that starts with a slash", "//k", "b.s3.example.com", "b", "/k", ""},
		{"key with dots", "/b/a/../k", "s3.test", "b", "a/../k", ""},
		{"key with escapes", "/b/a%2Fb%20c+d", "s3.test", "b", "a%2Fb%20c+d", ""},
		{"key that ends with a slash", "/b/dir/", "s3.test", "b", "dir/", ""},
		{"two question marks", "/b/k?a=b?c", "s3.test", "b", "k", "a=b?c"},
		{"raw bytes", "/b/\xc3\xbc\xff", "s3.test", "b", "\xc3\xbc\xff", ""},

		{"bucket with escapes", "/b%75cket/k%20", "s3.test", "bucket", "k%20", ""},
		{"bucket with an escaped percent sign", "/b%2541/k", "s3.test", "b%41", "k", ""},
		{"bucket with a broken escape", "/b%7/k", "s3.test", "b%7", "k", ""},
		{"virtual bucket with escapes", "/k", "b%75cket.example.com", "bucket", "k", ""},
		{"bucket with escapes alone", "/b%75cket?acl", "s3.test", "bucket", "", "acl"},

		{"absolute form", "http://s3.test/b/k?acl", "s3.test", "b", "k", "acl"},
		{"absolute form, virtual host", "http://b.s3.example.com/k", "b.s3.example.com", "b", "k", ""},
		{"absolute form without a path", "http://s3.test", "s3.test", "", "", ""},
		{"absolute form with a query alone", "http://b.example.com?prefix=x/y", "b.example.com", "b", "", "prefix=x/y"},
		{"asterisk form", "*", "s3.test", "*", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ParseTarget([]byte(tt.target), []byte(tt.host), domains)
			if string(got.Bucket) != tt.bucket || string(got.Key) != tt.key || string(got.Query) != tt.query {
				t.Errorf("%s on %s is bucket %q, key %q, query %q; want %q, %q, %q",
					tt.target, tt.host, got.Bucket, got.Key, got.Query, tt.bucket, tt.key, tt.query)
			}
		})
	}
}

func TestR27DomainsInAnyOrder(t *testing.T) {
	for _, domains := range [][]string{{"example.com", "s3.example.com"}, {"s3.example.com", "example.com"}} {
		for host, bucket := range map[string]string{
			"b.s3.example.com": "b", "b.example.com": "b", "s3.example.com": "", "example.com": "",
		} {
			if got := string(bucketOfHost([]byte(host), domains)); got != bucket {
				t.Errorf("host %s with the domains %v carries the bucket %q, want %q", host, domains, got, bucket)
			}
		}
	}
}

func TestR27KeyName(t *testing.T) {
	for raw, want := range map[string]string{
		"/b/a%20b":     "a b",
		"/b/a+b":       "a+b", // a plus in a path is a plus
		"/b/%C3%BC":    "ü",
		"/b/a%2Fb":     "a/b",
		"/b/a%2fb%zz":  "a%2fb%zz", // not valid: left unchanged
		"/b/":          "",
		"/b/%":         "%",
		"/b/k?acl=%20": "k",
	} {
		parsed := ParseTarget([]byte(raw), nil, nil)
		if got := parsed.KeyName(); got != want {
			t.Errorf("key of %s is %q, want %q", raw, got, want)
		}
	}
}

func TestR26KindOf(t *testing.T) {
	tests := []struct {
		method, target string
		copySource     bool
		want           Kind
	}{
		{"PUT", "/b/k", false, KindPlain},
		{"PUT", "/b/k", true, KindCopy},
		{"PUT", "/b/k?acl", true, KindPlain},
		{"PUT", "/b/k?x-id=CopyObject", true, KindCopy},
		{"PUT", "/b/k?partNumber=1&uploadId=u", false, KindPart},
		{"PUT", "/b/k?uploadId=u&partNumber=1", true, KindPart},
		{"POST", "/b/k?uploads", false, KindInitiate},
		{"POST", "/b/k?uploads=", false, KindInitiate},
		{"POST", "/b/k?%75ploads", false, KindInitiate}, // backends decode it too
		{"POST", "/b/k?x-id=CreateMultipartUpload&uploads", false, KindInitiate},
		{"POST", "/b/k?uploadId=u", false, KindComplete},
		{"GET", "/b/k?uploadId=u", false, KindUpload},
		{"HEAD", "/b/k?uploadId=u", false, KindUpload},
		{"DELETE", "/b/k?uploadId=u", false, KindUpload},
		{"GET", "/b?uploads", false, KindPlain}, // a listing of the bucket's uploads
		{"GET", "/b/k?uploads", false, KindPlain},
		{"POST", "/b?delete", false, KindDelete},
		{"POST", "/b/?delete", false, KindDelete},
		{"POST", "/b?delete=", false, KindDelete},
		{"POST", "/b/k?delete", false, KindPlain},
		{"GET", "/b?delete", false, KindPlain},
		{"POST", "/b/k?deleted", false, KindPlain},
		{"POST", "/b", false, KindPlain},
		{"DELETE", "/b/k", false, KindPlain},
		{"PUT", "/b/k?uploadid=u", false, KindPlain}, // names are case-sensitive
		{"PUT", "/b/k?uploadId=", false, KindPlain},
		{"PUT", "/b/uploadId=u", false, KindPlain},
		{"GET", "/?uploadId=u", false, KindPlain},
	}
	for _, tt := range tests {
		parsed := ParseTarget([]byte(tt.target), []byte("s3.test"), nil)
		if got := parsed.KindOf(tt.method, tt.copySource); got != tt.want {
			t.Errorf("%s %s (copy %v) is of kind %d, want %d", tt.method, tt.target, tt.copySource, got, tt.want)
		}
	}
	for raw, want := range map[string]string{
		"/b/k?uploadId=a%2Bb%3D": "a+b=",
		"/b/k?uploadId=a+b":      "a+b",
		"/b/k?a&uploadId=x&b=c":  "x",
		"/b/k?uploadId=%zz":      "%zz",
	} {
		if parsed := ParseTarget([]byte(raw), nil, nil); parsed.UploadID != want {
			t.Errorf("upload of %s is %q, want %q", raw, parsed.UploadID, want)
		}
	}
}

// A write addresses a subresource only if S3 has such a subresource write (R35).
func TestR35WritesToSubresources(t *testing.T) {
	for _, tt := range []struct {
		method, target string
		want           bool
	}{
		{"PUT", "/b/k", false},
		{"PUT", "/b/k?acl", true},
		{"PUT", "/b/k?tagging=&versionId=1", true},
		{"PUT", "/b/k?x-id=a&retention", true},
		{"PUT", "/b/k?legal-hold", true},
		{"DELETE", "/b/k?tagging", true},
		{"POST", "/b/k?restore", true},
		// These store or delete the object itself.
		{"PUT", "/b/k?delete", false},
		{"PUT", "/b/k?versions", false},
		{"PUT", "/b/k?policy", false},
		{"PUT", "/b/k?location", false},
		{"PUT", "/b/k?uploads", false},
		{"PUT", "/b/k?restore", false},
		{"DELETE", "/b/k?acl", false},
		{"DELETE", "/b/k?delete", false},
		{"DELETE", "/b/k?retention", false},
		{"DELETE", "/b/k?versionId=1", false},
		// To a bucket.
		{"PUT", "/b?policy", true},
		{"DELETE", "/b?cors", true},
		{"PUT", "/b?encryption", true},
		{"POST", "/b?metadataConfiguration", true},
		{"PUT", "/b", false},
		{"PUT", "/b?x-id=CreateBucket", false},
		{"DELETE", "/b?delete", false},
		{"DELETE", "/b?acl", false},
		{"POST", "/b?delete", false},
	} {
		parsed := ParseTarget([]byte(tt.target), nil, nil)
		if got := parsed.IsSubWrite(tt.method); got != tt.want {
			t.Errorf("%s %s: %v", tt.method, tt.target, got)
		}
	}
}

func TestR15WhatIsAWrite(t *testing.T) {
	tests := []struct {
		method, target string
		want           bool
	}{
		{"PUT", "/b/k", true},
		{"DELETE", "/b/k", true},
		{"GET", "/b/k", false},
		{"HEAD", "/b/k", false},
		{"OPTIONS", "/b/k", false},
		{"POST", "/b", true},
		{"POST", "/b?delete", true},
		{"POST", "/b/k?restore", true},
		{"POST", "/b/k?uploads", true},
		{"POST", "/b/k?select&select-type=2", false},
		{"POST", "/b/k?select-type=2&select=", false},
		{"POST", "/b/k?%73elect&select-type=2", false},
		{"POST", "/b/k?select-type=2", true},
		{"POST", "/b/k?Select", true},
		// Even if a backend takes it for something else.
		{"PUT", "/b/k?select&select-type=2", true},
		{"DELETE", "/b/k?select&select-type=2", true},
		{"POST", "/b?select&select-type=2", true},
		{"POST", "/b?delete&select&select-type=2", true},
		{"POST", "/b/k?select&select-type=2&uploadId=u", true},
		{"POST", "/b/k?select&select-type=2&uploads", true},
		{"POST", "/b/k?select&select-type=2&restore", true},
	}
	for _, tt := range tests {
		parsed := ParseTarget([]byte(tt.target), []byte("s3.test"), nil)
		if got := parsed.Writes(tt.method, parsed.KindOf(tt.method, false)); got != tt.want {
			t.Errorf("%s %s is a write: %v", tt.method, tt.target, got)
		}
	}
}

func TestXMLText(t *testing.T) {
	tests := []struct{ doc, want string }{
		{`<A><UploadId>x</UploadId></A>`, "x"},
		{`<A><UploadId> x&amp;y </UploadId></A>`, "x&y"},
		{`<A><UploadId>&#34;x&#x22;</UploadId></A>`, `"x"`},
		{`<A><UploadId></UploadId></A>`, ""},
		{`<A><UploadId>x`, ""},
		{`<A><UploadIdx>x</UploadIdx></A>`, ""},
		{``, ""},
	}
	for _, tt := range tests {
		if got := UnescapeText(Text([]byte(tt.doc), "UploadId")); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.doc, got, tt.want)
		}
	}
}

// FuzzParseTarget: nothing panics, nothing is lost, and both styles name the same object (R27).
func FuzzParseTarget(f *testing.F) {
	for _, target := range []string{
		"/", "//b/k", "/b//k", "/b/a/../k", "/b/%2f%2F", "/b/%zz", "/b/a+b", "/%62/k;v=1?x;y", "/b/\x80\xff", "/b/k?=&&a=b?c", "http://s3.test:80/b/k?acl",
	} {
		f.Add(target, "s3.test", "PUT", false)
		f.Add(target, "b.s3.example.com:80", "POST", true)
	}
	for _, target := range []string{"/b/k?uploads", "/b/k?uploadId=x%2By&partNumber=1", "/b?delete", "/b/k?acl&uploadId", "*"} {
		f.Add(target, "[::1]:80", "POST", true)
	}
	domains := []string{"example.com", "s3.example.com"}
	f.Fuzz(func(t *testing.T, raw, host, method string, copySource bool) {
		got := ParseTarget([]byte(raw), []byte(host), domains)
		kind := got.KindOf(method, copySource)
		if len(got.Key) == 0 && kind != KindPlain && kind != KindDelete || kind == KindDelete && len(got.Key) > 0 {
			t.Fatalf("kind of %q is %d with the key %q", raw, kind, got.Key)
		}
		_ = got.KeyName()
		if !strings.HasPrefix(raw, "/") {
			return
		}
		if path, query, _ := strings.Cut(raw, "?"); bucketOfHost([]byte(host), domains) == nil {
			asked, _, _ := strings.Cut(path[1:], "/")
			if asked != string(got.Bucket) && Unescape([]byte(asked)) != string(got.Bucket) {
				t.Fatalf("%q has the bucket %q", raw, got.Bucket)
			}
			again := "/" + asked
			if strings.Contains(path[1:], "/") {
				again += "/" + string(got.Key)
			}
			if again != path || string(got.Query) != query {
				t.Fatalf("%q is put together again as %q and %q", raw, again, got.Query)
			}
		} else if "/"+string(got.Key) != path || string(got.Query) != query {
			t.Fatalf("%q on %q has the key %q and the query %q", raw, host, got.Key, got.Query)
		}
		// The same object in the other style.
		bucket := string(got.Bucket)
		if bucket == "" || strings.ContainsAny(bucket, ":/?%[]") {
			return
		}
		path := ParseTarget([]byte("/"+bucket+"/"+string(got.Key)), []byte("s3.example.com"), domains)
		virtual := ParseTarget([]byte("/"+string(got.Key)), []byte(bucket+".s3.example.com"), domains)
		for _, other := range []Target{path, virtual} {
			if string(other.Bucket) != bucket || other.KeyName() != got.KeyName() {
				t.Fatalf("%q on %q is another object in another style: %q %q", raw, host, other.Bucket, other.Key)
			}
		}
	})
}
