// Package sigv4 signs requests to S3 with AWS Signature Version 4, using AWS's own signer. That
// signer works only on requests of net/http, whose URL would escape a key again: here a path is
// signed exactly as it is sent.
package sigv4

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// What stands in for the hash of a payload: of an empty one, or of one that is not signed.
const (
	Empty    = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	Unsigned = "UNSIGNED-PAYLOAD"
)

// Hash is the hash of a payload.
func Hash(payload []byte) string {
	sum := sha256.Sum256(payload)
	return hex.EncodeToString(sum[:])
}

// Signer signs with one key for one region. Any goroutine may use it.
type Signer struct {
	keys   aws.Credentials
	region string
	v4     *v4.Signer // remembers the key of the day
}

// New makes a Signer; token is "" unless the keys are temporary.
func New(access, secret, token, region string) *Signer {
	return &Signer{
		keys:   aws.Credentials{AccessKeyID: access, SecretAccessKey: secret, SessionToken: token},
		region: region,
		v4:     v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }),
	}
}

// Sign adds to header what makes a request signed: X-Amz-Date, X-Amz-Content-Sha256,
// X-Amz-Security-Token if there is a token, and Authorization. Of the fields in header it signs
// S3's own, and those by which an intermediary could change the request's meaning. path and query
// must be as they are sent; payload is the hash of the body in hex, or Unsigned.
func (s *Signer) Sign(header http.Header, method, host, path, query, payload string, now time.Time) {
	signed := make(http.Header, len(header)+4)
	for name, values := range header {
		if len(values) > 0 && isSigned(strings.ToLower(name)) {
			signed[name] = values
		}
	}
	signed["X-Amz-Content-Sha256"] = []string{payload}
	r := &http.Request{
		Method: method, Host: host, Header: signed,
		URL: &url.URL{Opaque: "//" + host + path, RawQuery: query},
	}
	// Its error can be ignored: it is always nil, and a request without a signature is refused.
	_ = s.v4.SignHTTP(context.Background(), s.keys, r, payload, "s3", s.region, now)
	maps.Copy(header, signed)
}

func isSigned(name string) bool {
	switch name {
	case "content-md5", "content-type", "if-match", "if-none-match", "range":
		return true
	}
	return strings.HasPrefix(name, "x-amz-")
}
