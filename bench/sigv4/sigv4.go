// Package sigv4 signs S3 requests with AWS's Signature Version 4, in the one form
// that the benchmark sends: all headers that matter signed, the payload's hash
// known beforehand. The SDKs' signers would bring dozens of modules for these
// hundred lines, and work on net/http's requests, which the load does not use.
package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// EmptyPayload is the hash of no payload.
const EmptyPayload = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

const (
	algorithm = "AWS4-HMAC-SHA256"
	dayForm   = "20060102"
	timeForm  = "20060102T150405Z"
)

// Signer signs for one access key and region. It may be used by one goroutine at
// a time, since it keeps the key of the day.
type Signer struct {
	AccessKey, SecretKey, Region string

	day string // of key
	key []byte
}

// Header is one header to be signed.
type Header struct{ Name, Value string }

// Request is what a signature covers. Path and Query are as they are sent:
// percent-encoded; a Query of several parameters is sorted.
type Request struct {
	Method, Path, Query, Host string
	PayloadHash               string // in hex
	Headers                   []Header
}

// PayloadHash is the hash of a payload, for a Request.
func PayloadHash(payload []byte) string {
	sum := sha256.Sum256(payload)
	return hex.EncodeToString(sum[:])
}

// Sign returns all headers to send but Host: the request's own, X-Amz-Date,
// X-Amz-Content-Sha256 and Authorization.
func (s *Signer) Sign(r *Request, at time.Time) []Header {
	at = at.UTC()
	headers := append(slices.Clone(r.Headers),
		Header{"X-Amz-Content-Sha256", r.PayloadHash}, Header{"X-Amz-Date", at.Format(timeForm)})
	signed := []Header{{"host", r.Host}}
	for _, h := range headers {
		signed = append(signed, Header{strings.ToLower(h.Name), strings.TrimSpace(h.Value)})
	}
	slices.SortFunc(signed, func(a, b Header) int { return strings.Compare(a.Name, b.Name) })
	var lines, names strings.Builder
	for i, h := range signed {
		if i > 0 {
			names.WriteByte(';')
		}
		names.WriteString(h.Name)
		lines.WriteString(h.Name + ":" + h.Value + "\n")
	}
	canonical := strings.Join([]string{r.Method, r.Path, r.Query, lines.String(), names.String(), r.PayloadHash}, "\n")
	scope := at.Format(dayForm) + "/" + s.Region + "/s3/aws4_request"
	text := strings.Join([]string{algorithm, at.Format(timeForm), scope, PayloadHash([]byte(canonical))}, "\n")
	signature := hex.EncodeToString(sum(s.keyOf(at.Format(dayForm)), text))
	return append(headers, Header{"Authorization", algorithm + " Credential=" + s.AccessKey + "/" + scope +
		",SignedHeaders=" + names.String() + ",Signature=" + signature})
}

// keyOf is the signing key of a day.
func (s *Signer) keyOf(day string) []byte {
	if s.day != day {
		key := sum([]byte("AWS4"+s.SecretKey), day)
		for _, part := range []string{s.Region, "s3", "aws4_request"} {
			key = sum(key, part)
		}
		s.day, s.key = day, key
	}
	return s.key
}

func sum(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
