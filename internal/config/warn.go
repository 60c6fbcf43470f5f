package config

import (
	"cmp"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/akubra/akubra/internal/words"
)

// expirySoon is how long before a certificate expires a warning is given.
const expirySoon = 14 * 24 * time.Hour

// Warnings lists what is allowed but dangerous or without effect, one line each. c must have passed
// its check; certificates are checked as of now.
func (c *Config) Warnings(now time.Time) (lines []string) {
	warn := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	tlsBackends := slices.ContainsFunc(c.Backends, isTLS)
	b := c.TLS.Backends
	switch {
	case b.InsecureSkipVerify && tlsBackends:
		warn("TLS.Backends.InsecureSkipVerify: any certificate is accepted, so anyone in between can read and change everything")
	case b.InsecureSkipVerify || b.CAFile != "" || b.ClientCertFile != "":
		if !tlsBackends {
			warn("TLS.Backends: has no effect, since none of Backends begins with https://")
		}
	}
	for i, own := range c.BackendTLS {
		if own.InsecureSkipVerify {
			warn("%s.InsecureSkipVerify: any certificate is accepted, so anyone in between can read and change everything", element("BackendTLS", i))
		}
	}
	if !loopbackOnly(c.AdminListen) && c.AdminToken == "" {
		warn("AdminListen: %q can be reached from other machines, and asks for no password: whoever reaches it can read the state and "+
			"take backends into maintenance. 127.0.0.1 limits it to this machine, and AdminToken to whoever knows the token", c.AdminListen)
	}
	if !loopbackOnly(c.MetricsListen) && c.MetricsToken == "" {
		warn("MetricsListen: %q can be reached from other machines, and asks for no token: whoever reaches it can read the backends' names "+
			"and errors. Set MetricsToken", c.MetricsListen)
	}
	switch without := "`akubra repair` and `akubra verify --journal` cannot work beside the proxy"; {
	case c.AdminListen != "":
	case c.MetricsListen == "":
		warn("AdminListen: off, so there are no metrics, and %s", without)
	default:
		warn("AdminListen: off, so %s", without)
	}
	if len(c.Backends) == 1 {
		warn("Backends: there is only one, so nothing is replicated")
	}
	if c.regionsDiffer() {
		warn("BackendCredentials: the regions differ. Clients sign for one: a backend of another region refuses them, if it checks regions")
	}
	if why := c.TooFewFor(c.MaintainedMask()); why != "" {
		warn("%s", why)
	}
	if c.FailureLimit == 0 && len(c.Backends) > 1 {
		warn("FailureLimit: 0 is off, so a dead backend is tried again with each request")
	}
	if c.OnJournalError == OnJournalErrorContinue {
		warn("OnJournalError: with %q a write may be lost on a backend without any trace in the journal", c.OnJournalError)
	}
	switch {
	case c.OnConflict == OnConflictNewest:
		warn("OnConflict: with %q a backend whose clock is ahead wins, and what was written past the proxy replaces what clients were told is stored", string(c.OnConflict))
	case c.OnConflict != OnConflictPark:
		warn("OnConflict: with %q that backend wins each conflict, even if it has lost everything: what it lacks is deleted from the others", string(c.OnConflict))
	}
	c.warnOfPrimary(warn)
	c.Logging.warnOfOneFile(warn)
	c.warnOfFiles(now, warn)
	return lines
}

// TooFewFor says why no write can be acknowledged while these backends are in maintenance; "" if one can (R3).
func (c *Config) TooFewFor(maintained uint64) string {
	n, need := len(c.Backends), len(c.Backends)/2+1
	if left := n - bits.OnesCount64(maintained); c.WriteAck == words.AckQuorum && left < need {
		return fmt.Sprintf("WriteAck: with %q %d of the %d backends have to take a write, and with those in maintenance only %d can: clients get 503",
			c.WriteAck, need, n, left)
	}
	return ""
}

// warnOfPrimary finds rules that are never used (R28).
func (c *Config) warnOfPrimary(warn func(format string, args ...any)) {
	rules := c.PrimaryRules()
	for i, r := range rules {
		if strings.Contains(r.Pattern, "/") {
			warn("%s: %q matches no bucket, since a bucket's name has no slash", element("Primary", i), c.Primary[i])
			continue
		}
		if j := slices.IndexFunc(rules[:i], func(earlier PrimaryRule) bool { return earlier.covers(r.Pattern) }); j >= 0 {
			warn("%s: %q has no effect, since the first rule that matches counts: %q stands before it", element("Primary", i), c.Primary[i], c.Primary[j])
		}
	}
}

// covers reports whether the rule surely matches all that pattern matches.
func (r PrimaryRule) covers(pattern string) bool {
	if r.Pattern == "" || r.Pattern == "*" || r.Pattern == pattern {
		return true
	}
	matches, _ := path.Match(r.Pattern, pattern)
	return matches && !strings.ContainsAny(pattern, `*?[\`)
}

// regionsDiffer reports whether repair is to sign for more than one region.
func (c *Config) regionsDiffer() bool {
	regions := map[string]bool{}
	for _, backend := range c.Backends {
		region := c.Credentials.Region
		for _, own := range c.BackendCredentials {
			if sameBackend(own.Backend, backend) {
				region = cmp.Or(own.Region, region)
			}
		}
		regions[cmp.Or(region, defaultRegion)] = true
	}
	return len(regions) > 1
}

func loopbackOnly(listen string) bool {
	if listen == "" {
		return true
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return true // reported already
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() || strings.EqualFold(host, "localhost")
}

// warnOfFiles checks certificates, and who may read secrets.
func (c *Config) warnOfFiles(now time.Time, warn func(format string, args ...any)) {
	certificate := func(key, file string) {
		all, err := Certificates(file)
		if err != nil {
			return // reported already
		}
		for _, cert := range all {
			name := cmp.Or(cert.Subject.String(), strings.Join(cert.DNSNames, ", "), fmt.Sprint(cert.IPAddresses))
			switch {
			case now.After(cert.NotAfter):
				warn("%s: the certificate %q in %q has expired on %s", key, name, file, cert.NotAfter.UTC().Format(time.RFC3339))
			case now.Before(cert.NotBefore):
				warn("%s: the certificate %q in %q is not valid before %s", key, name, file, cert.NotBefore.UTC().Format(time.RFC3339))
			case cert.NotAfter.Sub(now) < expirySoon:
				warn("%s: the certificate %q in %q expires on %s", key, name, file, cert.NotAfter.UTC().Format(time.RFC3339))
			}
		}
	}
	certificates := [][2]string{{"TLS.CertFile", c.TLS.CertFile}}
	secrets := [][2]string{{"TLS.KeyFile", c.TLS.KeyFile}, {"Credentials.File", c.Credentials.File}}
	clients := func(path string, s TLSBackendConfig) {
		certificates = append(certificates, [2]string{path + ".CAFile", s.CAFile}, [2]string{path + ".ClientCertFile", s.ClientCertFile})
		secrets = append(secrets, [2]string{path + ".ClientKeyFile", s.ClientKeyFile})
	}
	clients("TLS.Backends", c.TLS.Backends)
	for i := range c.BackendTLS {
		clients(element("BackendTLS", i), c.BackendTLS[i].settings())
	}
	for _, f := range certificates {
		if f[1] != "" {
			certificate(f[0], f[1])
		}
	}
	for i := range c.BackendCredentials {
		secrets = append(secrets, [2]string{element("BackendCredentials", i) + ".File", c.BackendCredentials[i].File})
	}
	for _, f := range secrets {
		if info, err := os.Stat(f[1]); f[1] != "" && err == nil && info.Mode().Perm()&0o004 != 0 {
			warn("%s: all users may read %q (%v): chmod o-r", f[0], f[1], info.Mode())
		}
	}
}

// HasSecrets reports whether the configuration itself contains secret keys, so that nobody else
// should be able to read it.
func (c *Config) HasSecrets() bool {
	return c.Credentials.SecretKey != "" ||
		slices.ContainsFunc(c.BackendCredentials, func(b BackendCredentialsConfig) bool { return b.SecretKey != "" })
}
