package engine

import (
	"testing"

	"github.com/akubra/akubra/backends/stub"
)

func TestR27Addressing(t *testing.T) {
	t.Parallel()
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
			got := parseTarget([]byte(tt.target), []byte(tt.host), domains)
			if string(got.bucket) != tt.bucket || string(got.key) != tt.key || string(got.query) != tt.query {
				t.Errorf("%s on %s is bucket %q, key %q, query %q; want %q, %q, %q",
					tt.target, tt.host, got.bucket, got.key, got.query, tt.bucket, tt.key, tt.query)
			}
		})
	}
}

func TestR27DomainsInAnyOrder(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
	for raw, want := range map[string]string{
		"/b/a%20b":     "a b",
		"/b/a+b":       "a+b", // a plus is a plus in a path
		"/b/%C3%BC":    "ü",
		"/b/a%2Fb":     "a/b",
		"/b/a%2fb%zz":  "a%2fb%zz", // not sound: as it stands
		"/b/":          "",
		"/b/%":         "%",
		"/b/k?acl=%20": "k",
	} {
		parsed := parseTarget([]byte(raw), nil, nil)
		if got := parsed.keyName(); got != want {
			t.Errorf("key of %s is %q, want %q", raw, got, want)
		}
	}
}

func TestR27OneObjectHasOneHash(t *testing.T) {
	t.Parallel()
	domains := []string{"s3.test"}
	hash := func(target, host string) uint64 {
		parsed := parseTarget([]byte(target), []byte(host), domains)
		return parsed.hash()
	}
	same := [][2]string{
		{"/b/a%20b", "s3.test"}, {"/b/%61%20%62", "s3.test"}, {"/a%20b", "b.s3.test"}, {"/a%20b", "b.S3.test:80"},
		{"http://s3.test/b/a%20b", "s3.test"}, {"/b/a%20b?x-id=PutObject", "s3.test"}, {"/%62/a%20b", "s3.test"},
	}
	want := hash("/b/a b", "s3.test")
	for _, s := range same {
		if got := hash(s[0], s[1]); got != want {
			t.Errorf("%s on %s has another hash", s[0], s[1])
		}
	}
	for _, other := range []string{"/b/a+b", "/b/a%2520b", "/ba/b", "/b/a%20B", "/b//a%20b", "/B/a%20b", "/%2562/a%20b"} {
		if hash(other, "s3.test") == want {
			t.Errorf("%s has the hash of another object", other)
		}
	}
	if hash("/b%2541/k", "s3.test") != hashKey("b%41", "k") || hash("/b%41/k", "s3.test") != hashKey("bA", "k") {
		t.Error("what the journal knows a key by has another hash")
	}
	// Where the bucket ends counts, and a broken escape is no escape.
	if hash("/b/c/d", "s3.test") == hash("/c/d", "other") || hash("/b/%4", "s3.test") == hash("/b/%04", "s3.test") {
		t.Error("different objects have one hash")
	}
}

func TestR26KindOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		method, target string
		copySource     bool
		want           kind
	}{
		{"PUT", "/b/k", false, kindPlain},
		{"PUT", "/b/k", true, kindCopy},
		{"PUT", "/b/k?acl", true, kindPlain},
		{"PUT", "/b/k?x-id=CopyObject", true, kindCopy},
		{"PUT", "/b/k?partNumber=1&uploadId=u", false, kindPart},
		{"PUT", "/b/k?uploadId=u&partNumber=1", true, kindPart},
		{"POST", "/b/k?uploads", false, kindInitiate},
		{"POST", "/b/k?uploads=", false, kindInitiate},
		{"POST", "/b/k?%75ploads", false, kindInitiate}, // backends decode it, too
		{"POST", "/b/k?x-id=CreateMultipartUpload&uploads", false, kindInitiate},
		{"POST", "/b/k?uploadId=u", false, kindComplete},
		{"GET", "/b/k?uploadId=u", false, kindUpload},
		{"HEAD", "/b/k?uploadId=u", false, kindUpload},
		{"DELETE", "/b/k?uploadId=u", false, kindUpload},
		{"GET", "/b?uploads", false, kindPlain}, // a listing of the bucket's uploads
		{"GET", "/b/k?uploads", false, kindPlain},
		{"POST", "/b?delete", false, kindDelete},
		{"POST", "/b/?delete", false, kindDelete},
		{"POST", "/b?delete=", false, kindDelete},
		{"POST", "/b/k?delete", false, kindPlain},
		{"GET", "/b?delete", false, kindPlain},
		{"POST", "/b/k?deleted", false, kindPlain},
		{"POST", "/b", false, kindPlain},
		{"DELETE", "/b/k", false, kindPlain},
		{"PUT", "/b/k?uploadid=u", false, kindPlain}, // names have a case
		{"PUT", "/b/k?uploadId=", false, kindPlain},
		{"PUT", "/b/uploadId=u", false, kindPlain},
		{"GET", "/?uploadId=u", false, kindPlain},
	}
	for _, tt := range tests {
		parsed := parseTarget([]byte(tt.target), []byte("s3.test"), nil)
		if got := parsed.kindOf(tt.method, tt.copySource); got != tt.want {
			t.Errorf("%s %s (copy %v) is of kind %d, want %d", tt.method, tt.target, tt.copySource, got, tt.want)
		}
	}
	for raw, want := range map[string]string{
		"/b/k?uploadId=a%2Bb%3D": "a+b=",
		"/b/k?uploadId=a+b":      "a+b",
		"/b/k?a&uploadId=x&b=c":  "x",
		"/b/k?uploadId=%zz":      "%zz",
	} {
		if parsed := parseTarget([]byte(raw), nil, nil); parsed.uploadID != want {
			t.Errorf("upload of %s is %q, want %q", raw, parsed.uploadID, want)
		}
	}
}

// A write is one to a subresource where S3 has such a one, and nowhere else (R35).
func TestR35WritesToSubresources(t *testing.T) {
	t.Parallel()
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
		// Of a bucket.
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
		parsed := parseTarget([]byte(tt.target), nil, nil)
		if got := parsed.isSubWrite(tt.method); got != tt.want {
			t.Errorf("%s %s: %v", tt.method, tt.target, got)
		}
	}
}

func TestR15WhatIsAWrite(t *testing.T) {
	t.Parallel()
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
		// Whatever else a backend may take it for.
		{"PUT", "/b/k?select&select-type=2", true},
		{"DELETE", "/b/k?select&select-type=2", true},
		{"POST", "/b?select&select-type=2", true},
		{"POST", "/b?delete&select&select-type=2", true},
		{"POST", "/b/k?select&select-type=2&uploadId=u", true},
		{"POST", "/b/k?select&select-type=2&uploads", true},
		{"POST", "/b/k?select&select-type=2&restore", true},
	}
	for _, tt := range tests {
		parsed := parseTarget([]byte(tt.target), []byte("s3.test"), nil)
		if got := parsed.writes(tt.method, parsed.kindOf(tt.method, false)); got != tt.want {
			t.Errorf("%s %s is a write: %v", tt.method, tt.target, got)
		}
	}
}

// What a write is to is worked out for the first request of an engine as for each later
// one: a request's memory tells nothing of the one before it.
func TestR35FirstWriteIsToTheObject(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/b/k?versions", "/b/k?policy"} {
		t.Run(target, func(t *testing.T) {
			r := newRig(t, 2)
			r.stores[1].BehaveNext(stub.Fails(500))
			wantStatus(t, r.put(target, "v"), 200)
			r.settled()
			if e := r.journal.newest("b", "k"); e.Owed != 0b10 || e.Aux&AuxSubResource != 0 {
				t.Errorf("the journal has %+v", e.Promise)
			}
		})
	}
	t.Run("DELETE /b/k?acl", func(t *testing.T) {
		r := newRig(t, 2)
		r.stores[1].BehaveNext(stub.Fails(500))
		wantStatus(t, r.dial().Do(requestFor("DELETE", "/b/k?acl")), 204)
		r.settled()
		if e := r.journal.newest("b", "k"); e.Owed != 0b10 || e.Aux&AuxSubResource != 0 {
			t.Errorf("the journal has %+v", e.Promise)
		}
	})
}
