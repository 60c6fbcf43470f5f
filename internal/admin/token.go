package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"sync/atomic"

	"github.com/valyala/fasthttp"
)

// token is what a request must carry, as "Authorization: Bearer TOKEN". The zero token requires
// nothing.
type token struct {
	hash atomic.Pointer[[sha256.Size]byte]
}

// set changes the token, and reports whether that is a change; "" requires nothing.
func (t *token) set(content string) (changed bool) {
	var next *[sha256.Size]byte
	if content != "" {
		sum := sha256.Sum256([]byte(content))
		next = &sum
	}
	was := t.hash.Swap(next)
	return (was == nil) != (next == nil) || was != nil && *was != *next
}

// isSet reports whether a token is required.
func (t *token) isSet() bool { return t.hash.Load() != nil }

// isIn reports whether the request carries the token, or needs none. The time this takes reveals
// nothing about the token, not even its length (R37).
func (t *token) isIn(ctx *fasthttp.RequestCtx) bool {
	want := t.hash.Load()
	if want == nil {
		return true
	}
	scheme, given, _ := strings.Cut(string(ctx.Request.Header.Peek("Authorization")), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(given)))
	return subtle.ConstantTimeCompare(sum[:], want[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}
