package service

import (
	"crypto/tls"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/akubra/akubra/internal/config"
)

// certificateInterval is how often a certificate's files are looked at, reloadPatience how
// long a reload waits for that: a file system that hangs keeps nobody from further signals.
const (
	certificateInterval = 5 * time.Second
	reloadPatience      = 2 * time.Second
)

// certificate is a certificate with its key, as its files have it (R22). Each handshake gets
// the one that is current; connections keep theirs. What cannot be used leaves the old one.
//
// get and getClient may be called from any goroutine. start starts a goroutine, which alone
// reads the files; close ends it.
type certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
	log               *zerolog.Logger
	interval          time.Duration

	asked    chan chan struct{} // each is closed once the files were looked at
	end      chan struct{}
	running  sync.WaitGroup
	failures int // in a row; of the goroutine
}

func newCertificate(certFile, keyFile string, log *zerolog.Logger) (*certificate, error) {
	c := &certificate{
		certFile: certFile, keyFile: keyFile, log: log, interval: certificateInterval,
		asked: make(chan chan struct{}), end: make(chan struct{}),
	}
	pair, err := config.LoadKeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	c.current.Store(&pair)
	return c, nil
}

// get is a tls.Config's GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// getClient is a tls.Config's GetClientCertificate: where the server would not take the
// certificate, it gets none, as with Certificates.
func (c *certificate) getClient(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair := c.current.Load()
	if asked.SupportsCertificate(pair) != nil {
		return new(tls.Certificate), nil
	}
	return pair, nil
}

func (c *certificate) start() { c.running.Go(c.watch) }

func (c *certificate) watch() {
	tick := time.NewTicker(c.interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.look(false)
		case done := <-c.asked:
			c.look(true)
			close(done)
		case <-c.end:
			return
		}
	}
}

// look takes what the files have. It tells of a mistake once: at once where somebody asked,
// else at the second time, for certificate and key are replaced one after the other.
func (c *certificate) look(asked bool) {
	pair, err := config.LoadKeyPair(c.certFile, c.keyFile)
	if err != nil {
		if c.failures++; asked || c.failures == 2 {
			c.log.Error().Err(err).Str("certificate", c.certFile).Msg("cannot reload the certificate: the old one stays")
		}
		return
	}
	c.failures = 0
	if slices.EqualFunc(pair.Certificate, c.current.Load().Certificate, slices.Equal[[]byte]) {
		return
	}
	c.current.Store(&pair)
	line := c.log.Info().Str("certificate", c.certFile)
	if pair.Leaf != nil {
		line = line.Time("until", pair.Leaf.NotAfter)
	}
	line.Msg("certificate reloaded")
}

// reload looks at the files now.
func (c *certificate) reload() {
	patience := time.NewTimer(reloadPatience)
	defer patience.Stop()
	done := make(chan struct{})
	select {
	case c.asked <- done:
	case <-patience.C:
		return
	}
	select {
	case <-done:
	case <-patience.C:
	}
}

func (c *certificate) close() {
	close(c.end)
	c.running.Wait()
}

// certificates are those that are kept up to date.
type certificates []*certificate

// add has the pair of two files kept up to date; nil where there are no files.
func (all *certificates) add(certFile, keyFile string, log *zerolog.Logger) (*certificate, error) {
	if certFile == "" {
		return nil, nil
	}
	c, err := newCertificate(certFile, keyFile, log)
	if err == nil {
		*all = append(*all, c)
	}
	return c, err
}

func (all certificates) start() {
	for _, c := range all {
		c.start()
	}
}

func (all certificates) reload() {
	for _, c := range all {
		c.reload()
	}
}

func (all certificates) close() {
	for _, c := range all {
		c.close()
	}
}
