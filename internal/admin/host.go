package admin

import (
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// Hosts are the names that the admin listener answers to (R37): AdminHosts, the host of
// AdminListen, and the machine's own names.
func Hosts(listen string, more []string) []string {
	hosts := slices.Clone(more)
	if host, _, err := net.SplitHostPort(listen); err == nil {
		hosts = append(hosts, host)
	}
	if name, err := os.Hostname(); err == nil {
		short, _, _ := strings.Cut(name, ".")
		hosts = append(hosts, name, short)
	}
	return slices.DeleteFunc(hosts, func(host string) bool { return host == "" })
}

// SetHosts changes the names that the listener answers to (Options.Hosts).
func (a *Admin) SetHosts(hosts []string) { a.hosts.Store(&hosts) }

// ownHost reports whether a Host is this listener's own. A page in the operator's browser can reach
// any address under a name of its own site that was made to resolve to it (DNS rebinding), and
// could read the response; but then Host is that name. Nobody can make an IP address or localhost
// resolve elsewhere.
func (a *Admin) ownHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	} else {
		name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	name = strings.TrimSuffix(name, ".")
	return strings.EqualFold(name, "localhost") ||
		slices.ContainsFunc(*a.hosts.Load(), func(own string) bool { return strings.EqualFold(name, strings.TrimSuffix(own, ".")) })
}

// ownRequest refuses requests to a Host that is not this listener's own, and requests from other
// sites' pages. Browsers let any page send requests to any address, even on localhost, and most of
// them say which site's page it is.
func (a *Admin) ownRequest(ctx *fasthttp.RequestCtx) (status int, why string) {
	h := &ctx.Request.Header
	// An absolute target contains a host, too.
	if host := string(h.Host()); !a.ownHost(host) || !a.ownHost(string(ctx.Host())) {
		return fasthttp.StatusMisdirectedRequest, "cannot answer to this Host: use an IP address, localhost or the machine's own name, " +
			"or add the name to AdminHosts in the configuration"
	}
	for _, site := range h.PeekAll("Sec-Fetch-Site") {
		if s := string(site); s != "same-origin" && s != "none" {
			return fasthttp.StatusForbidden, otherSite
		}
	}
	for _, origin := range h.PeekAll("Origin") {
		if u, err := url.Parse(string(origin)); err != nil || u.Host == "" || !strings.EqualFold(u.Host, string(h.Host())) {
			return fasthttp.StatusForbidden, otherSite
		}
	}
	return 0, ""
}

const otherSite = "cannot accept this from another site's page: open it directly"
