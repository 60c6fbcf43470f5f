package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"github.com/valyala/fasthttp"
)

// SetMetricsToken has /metrics ask for a token; "" asks for none.
func (a *Admin) SetMetricsToken(token string) {
	if token == "" {
		a.token.Store(nil)
		return
	}
	sum := sha256.Sum256([]byte(token))
	a.token.Store(&sum)
}

// mayReadMetrics reports whether the request has the token. How long that takes tells nothing of the token,
// not even its length (R37).
func (a *Admin) mayReadMetrics(ctx *fasthttp.RequestCtx) bool {
	want := a.token.Load()
	if want == nil {
		return true
	}
	scheme, token, _ := strings.Cut(string(ctx.Request.Header.Peek("Authorization")), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return subtle.ConstantTimeCompare(sum[:], want[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}
