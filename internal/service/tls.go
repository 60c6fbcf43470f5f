package service

import (
	"bytes"
	"crypto/tls"
	"slices"
	"strings"
	"time"

	"github.com/akubra/akubra/internal/config"
)

// tlsInterval is how often the files of TLS are checked.
const tlsInterval = 5 * time.Second

// tlsPart is the TLS configuration of the listener, or of backends that share their settings, as
// the files were when they could last be used (R22). conf never changes: it is replaced.
type tlsPart struct {
	key      string // where its settings stand
	backends []int  // nil: it is the listener's
	load     func() (*tls.Config, error)
	caFile   string // "" is the system's authorities
	conf     *tls.Config
	failures int // in a row, to load it again
}

// loadTLS loads the TLS settings of a configuration: the listener's, and those of each https
// backend.
func loadTLS(c *config.Config) (parts []*tlsPart, err error) {
	if c.TLS.CertFile != "" {
		parts = append(parts, &tlsPart{key: "TLS", load: c.TLS.Listener})
	}
	byKey := map[string]*tlsPart{}
	for i, u := range c.BackendURLs() {
		if u.Scheme != "https" {
			continue
		}
		key, settings := c.TLSOf(i)
		part := byKey[key]
		if part == nil {
			part = &tlsPart{key: key, load: settings.Client, caFile: settings.CAFile}
			byKey[key], parts = part, append(parts, part)
		}
		part.backends = append(part.backends, i)
	}
	for _, part := range parts {
		if part.conf, err = part.load(); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// keepTLS makes those parts of next that have not changed keep their configuration, and returns
// the others: clients that have negotiated with one that stays need not do so again.
func keepTLS(old, next []*tlsPart) (changed []*tlsPart) {
	for _, part := range next {
		i := slices.IndexFunc(old, func(o *tlsPart) bool { return slices.Equal(o.backends, part.backends) })
		if i >= 0 && sameTLS(old[i].conf, part.conf) {
			part.conf = old[i].conf
			continue
		}
		changed = append(changed, part)
	}
	return changed
}

func sameTLS(a, b *tls.Config) bool {
	return a.MinVersion == b.MinVersion && a.InsecureSkipVerify == b.InsecureSkipVerify && a.RootCAs.Equal(b.RootCAs) &&
		slices.EqualFunc(a.Certificates, b.Certificates, func(a, b tls.Certificate) bool {
			return slices.EqualFunc(a.Certificate, b.Certificate, bytes.Equal)
		})
}

// useTLS puts parts into use: handshakes use them from now on.
func (p *Proxy) useTLS(parts []*tlsPart) {
	for _, part := range parts {
		if part.backends == nil {
			p.listenerTLS.Store(part.conf)
		}
		for _, i := range part.backends {
			p.backends[i].SetTLS(part.conf)
		}
	}
	p.noteCertificates()
}

// authorities is when the first of the backends' own authorities expires.
func (t *tlsPart) authorities() (until time.Time, ok bool) {
	if t.caFile == "" {
		return until, false
	}
	certificates, err := config.Certificates(t.caFile)
	for _, c := range certificates {
		if until.IsZero() || c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	return until, err == nil && !until.IsZero()
}

// clientTLS is the listener's configuration: each handshake gets the current one. It is nil
// without TLS.
func (p *Proxy) clientTLS() *tls.Config {
	current := p.listenerTLS.Load()
	if current == nil {
		return nil
	}
	c := current.Clone()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return p.listenerTLS.Load(), nil }
	return c
}

// lookAtTLS loads what the files of TLS contain now. If that cannot be used, the old configuration
// stays, and the failure is reported once, at the second attempt, because certificate and key are
// replaced one after the other.
func (p *Proxy) lookAtTLS() {
	if !p.reloading.TryLock() {
		return // a reload looks at them
	}
	defer p.reloading.Unlock()
	var changed []*tlsPart
	for _, part := range p.tls {
		conf, err := part.load()
		if err != nil {
			if part.failures++; part.failures == 2 {
				p.logs.Main.Error().Err(err).Str("key", part.key).Msg("cannot reload TLS certificates: the old ones stay")
			}
			continue
		}
		part.failures = 0
		if !sameTLS(conf, part.conf) {
			changed = append(changed, part)
			part.conf = conf
		}
	}
	if len(changed) == 0 {
		return
	}
	next, err := p.prepareSigned(p.current.Load(), true)
	if err != nil {
		p.logs.Main.Error().Err(err).Msg("repair goes on with the old TLS certificates")
	}
	p.committing.Lock()
	defer p.committing.Unlock()
	if p.stopped {
		next.cancel()
		return
	}
	p.useTLS(changed)
	p.tellTLS(changed)
	next.commit(p)
}

// tellTLS reports that parts are in use from now on.
func (p *Proxy) tellTLS(parts []*tlsPart) {
	for _, part := range parts {
		line := p.logs.Main.Info().Str("key", part.key)
		if part.backends != nil {
			var names []string
			for _, i := range part.backends {
				names = append(names, p.backends[i].Name())
			}
			line = line.Str("backends", strings.Join(names, ", "))
		}
		for _, pair := range part.conf.Certificates {
			if pair.Leaf != nil {
				line = line.Time("until", pair.Leaf.NotAfter)
			}
		}
		line.Msg("TLS certificates reloaded")
	}
}
