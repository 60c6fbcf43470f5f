package s3

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	emptySHA256     = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	unsignedPayload = "UNSIGNED-PAYLOAD"
)

// signer makes AWS signatures, version 4. Any goroutine may use it.
type signer struct {
	access, secret, token, region string

	key atomic.Pointer[signingKey] // of the day
}

type signingKey struct {
	day string
	key []byte
}

// sign adds x-amz-date, x-amz-content-sha256 and Authorization. path and query are
// canonical. Everything of S3's own is signed, and what an intermediary could turn
// the meaning of a request by.
func (s *signer) sign(req *http.Request, path, query, payload string, now time.Time) {
	now = now.UTC()
	stamp := now.Format("20060102T150405Z")
	day := stamp[:8]
	req.Header["X-Amz-Date"] = []string{stamp}
	req.Header["X-Amz-Content-Sha256"] = []string{payload}
	if s.token != "" {
		req.Header["X-Amz-Security-Token"] = []string{s.token}
	}
	names := make([]string, 1, 16)
	names[0] = "host"
	values := map[string][]string{"host": {req.Host}}
	for name, v := range req.Header {
		lower := strings.ToLower(name)
		if len(v) > 0 && signed(lower) {
			names = append(names, lower)
			values[lower] = v
		}
	}
	slices.Sort(names)
	list := strings.Join(names, ";")

	canonical := make([]byte, 0, 1024)
	canonical = append(canonical, req.Method+"\n"+path+"\n"+query+"\n"...)
	for _, name := range names {
		canonical = append(canonical, name...)
		canonical = append(canonical, ':')
		for i, v := range values[name] {
			if i > 0 {
				canonical = append(canonical, ',')
			}
			canonical = append(canonical, trimAll(v)...)
		}
		canonical = append(canonical, '\n')
	}
	canonical = append(canonical, "\n"+list+"\n"+payload...)
	sum := sha256.Sum256(canonical)

	scope := day + "/" + s.region + "/s3/aws4_request"
	text := "AWS4-HMAC-SHA256\n" + stamp + "\n" + scope + "\n" + hex.EncodeToString(sum[:])
	signature := hex.EncodeToString(mac(s.keyOf(day), text))
	req.Header["Authorization"] = []string{
		"AWS4-HMAC-SHA256 Credential=" + s.access + "/" + scope + ", SignedHeaders=" + list + ", Signature=" + signature,
	}
}

func signed(lower string) bool {
	switch lower {
	case "content-md5", "content-type", "if-match", "if-none-match", "range":
		return true
	}
	return strings.HasPrefix(lower, "x-amz-")
}

// trimAll leaves one space where there are several.
func trimAll(v string) string {
	v = strings.TrimSpace(v)
	if !strings.Contains(v, "  ") {
		return v
	}
	var b strings.Builder
	for i := range len(v) {
		if v[i] != ' ' || v[i-1] != ' ' {
			b.WriteByte(v[i])
		}
	}
	return b.String()
}

func (s *signer) keyOf(day string) []byte {
	if k := s.key.Load(); k != nil && k.day == day {
		return k.key
	}
	k := mac([]byte("AWS4"+s.secret), day)
	for _, part := range []string{s.region, "s3", "aws4_request"} {
		k = mac(k, part)
	}
	s.key.Store(&signingKey{day: day, key: k})
	return k
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
