package config

import "strings"

// leastToken is how long a token must be that nobody shall guess.
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
	bad := strings.ContainsFunc(string(c.MetricsToken), func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == ',' })
	if c.MetricsToken != "" && (len(c.MetricsToken) < leastToken || bad) {
		m.add("MetricsToken", c.MetricsToken, "at least %d characters of ASCII without spaces, quotes and commas", leastToken)
	}
}
