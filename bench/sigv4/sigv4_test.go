package sigv4

import (
	"strings"
	"testing"
	"time"
)

// TestAWSExamples holds the signatures that AWS publishes in "Signature
// Calculations for the Authorization Header: Transferring Payload in a Single
// Chunk" of the S3 API reference.
func TestAWSExamples(t *testing.T) {
	day := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	const host = "examplebucket.s3.amazonaws.com"
	for name, c := range map[string]struct {
		request Request
		signed  string
		want    string
	}{
		"GET object": {
			Request{"GET", "/test.txt", "", host, EmptyPayload, []Header{{"Range", "bytes=0-9"}}},
			"host;range;x-amz-content-sha256;x-amz-date",
			"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
		},
		"PUT object": {
			Request{"PUT", "/test%24file.text", "", host, PayloadHash([]byte("Welcome to Amazon S3.")), []Header{
				{"Date", "Fri, 24 May 2013 00:00:00 GMT"}, {"X-Amz-Storage-Class", "REDUCED_REDUNDANCY"}}},
			"date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
			"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
		},
		"GET lifecycle": {
			Request{"GET", "/", "lifecycle=", host, EmptyPayload, nil},
			"host;x-amz-content-sha256;x-amz-date",
			"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
		},
		"list objects": {
			Request{"GET", "/", "max-keys=2&prefix=J", host, EmptyPayload, nil},
			"host;x-amz-content-sha256;x-amz-date",
			"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := Signer{AccessKey: "AKIAIOSFODNN7EXAMPLE", SecretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", Region: "us-east-1"}
			for range 2 { // the second time with the key of the day kept
				headers := s.Sign(&c.request, day)
				got := headers[len(headers)-1]
				want := "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=" +
					c.signed + ",Signature=" + c.want
				if got.Name != "Authorization" || got.Value != want {
					t.Fatalf("got\n%s\nwant\n%s", got.Value, want)
				}
			}
		})
	}
}

func TestKeyOfAnotherDay(t *testing.T) {
	s := Signer{AccessKey: "a", SecretKey: "b", Region: "c"}
	r := &Request{Method: "GET", Path: "/", Host: "h", PayloadHash: EmptyPayload}
	sign := func(day int) string {
		headers := s.Sign(r, time.Date(2024, 1, day, 12, 0, 0, 0, time.UTC))
		return headers[len(headers)-1].Value
	}
	first := sign(1)
	if second := sign(2); first == second || !strings.Contains(second, "/20240102/") {
		t.Fatalf("the second day is signed %q", second)
	}
	if sign(1) != first {
		t.Fatal("the first day is signed otherwise when it comes again")
	}
}
