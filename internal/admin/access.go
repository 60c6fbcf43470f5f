package admin

import (
	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/internal/text"
)

// SetToken changes what the listener asks for: with a token, each request but for /health, /ready,
// /metrics and the page's own files has to bring it, as "Authorization: Bearer TOKEN". "" asks for nothing.
func (a *Admin) SetToken(token string) { a.token.set(token) }

// SetMetricsToken does the same for /metrics.
func (a *Admin) SetMetricsToken(token string) { a.metricsToken.set(token) }

// audit writes the one line about a change that somebody has asked for, on the page or by a command:
// what, of what, who, and what became of it.
func (a *Admin) audit(ctx *fasthttp.RequestCtx, action, what, result string) {
	a.o.Log("audit", "action", action, "what", text.HideSecrets(what), "by", remoteHost(ctx.RemoteAddr()), "result", result)
}
