package config

import "strings"

// leastToken is the least length of a token: nothing slows down guessing.
const leastToken = 16

// checkMetrics checks the keys about metrics.
func (m *mistakes) checkMetrics(c *Config) {
	if c.MetricsListen != "" {
		m.checkAddress("MetricsListen", c.MetricsListen)
		for _, other := range [][2]string{{"Listen", c.Listen}, {"AdminListen", c.AdminListen}} {
			if other[1] != "" && sameAddress(other[1], c.MetricsListen) {
				m.add("MetricsListen", c.MetricsListen, "an address of its own: %s has %q", other[0], other[1])
			}
		}
	}
	// As RFC 6750 allows it after "Bearer".
	m.checkToken("MetricsToken", c.MetricsToken, `",`, "ASCII without spaces, quotes and commas")
}

// checkToken checks a token, which may be empty. It may contain any visible ASCII except what is
// forbidden; allowed describes that.
func (m *mistakes) checkToken(key string, token secret, forbidden, allowed string) {
	bad := strings.ContainsFunc(string(token), func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(forbidden, r) })
	if token != "" && (len(token) < leastToken || bad) {
		m.add(key, token, "at least %d characters of %s", leastToken, allowed)
	}
}
