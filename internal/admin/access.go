package admin

import (
	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/internal/text"
)

// SetToken changes the required token: each request except for /health, /ready, /metrics and the
// page's own files must carry it, as "Authorization: Bearer TOKEN". "" requires none. If the token
// changes, the page's streams end, because their readers may not know the new one (R37).
func (a *Admin) SetToken(token string) {
	if a.token.set(token) {
		a.live.dismiss()
	}
}

// SetMetricsToken does the same for /metrics.
func (a *Admin) SetMetricsToken(token string) { _ = a.metricsToken.set(token) }

// askToken answers a request that does not carry the token.
func (a *Admin) askToken(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set("WWW-Authenticate", "Bearer")
	adminError(ctx, fasthttp.StatusUnauthorized, "cannot answer without the token: send AdminToken of the configuration as Authorization: Bearer TOKEN")
}

// audit writes one line about a change that somebody has requested, on the page or by a command:
// what was to be changed on what, by whom, and with what result.
func (a *Admin) audit(ctx *fasthttp.RequestCtx, action, what, result string) {
	a.o.Log("audit", "action", action, "what", text.HideSecrets(what), "by", remoteHost(ctx.RemoteAddr()), "result", result)
}
