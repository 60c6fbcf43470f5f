package admin

import (
	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/internal/text"
)

// SetToken changes what the listener asks for: with a token, each request but for /health, /ready,
// /metrics and the page's own files has to bring it, as "Authorization: Bearer TOKEN". "" asks for nothing.
// With another token than before the page's streams end: who has one may not know it (R37).
func (a *Admin) SetToken(token string) {
	if a.token.set(token) {
		a.live.dismiss()
	}
}

// SetMetricsToken does the same for /metrics.
func (a *Admin) SetMetricsToken(token string) { _ = a.metricsToken.set(token) }

// askToken answers a request that does not bring the token.
func (a *Admin) askToken(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set("WWW-Authenticate", "Bearer")
	adminError(ctx, fasthttp.StatusUnauthorized, "cannot answer without the token: send AdminToken of the configuration as Authorization: Bearer TOKEN")
}

// audit writes the one line about a change that somebody has asked for, on the page or by a command:
// what, of what, who, and what became of it.
func (a *Admin) audit(ctx *fasthttp.RequestCtx, action, what, result string) {
	a.o.Log("audit", "action", action, "what", text.HideSecrets(what), "by", remoteHost(ctx.RemoteAddr()), "result", result)
}
