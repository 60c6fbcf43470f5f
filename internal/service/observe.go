package service

import (
	"fmt"
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/admin"
	"github.com/akubra/akubra/internal/metrics"
)

// observe has a scrape read what the parts count and know.
func (p *Proxy) observe() {
	p.metrics.Observe(metrics.Sources{
		Status: p.status, Records: p.synclog.Counts, InFlight: p.engine.InFlight, Health: p.health.Status, Clients: p.engine.Clients,
		Journal: p.journal.Journal, Repair: p.repairStatus, Logs: p.logStates, Lanes: p.engine.Lanes, Process: p.processState,
	})
}

// processState is what a scrape reads of the rest of the process.
func (p *Proxy) processState() metrics.Process {
	s := metrics.Process{Connections: p.limiter.Limit(), RoundTrips: make([]time.Duration, len(p.backends)), Certificates: p.certificatesInUse()}
	for i, b := range p.backends {
		s.RoundTrips[i] = b.RoundTrip()
	}
	s.DataFree, s.DataSize = space(p.Config.DataDir)
	s.Verified = p.verified.get(p.Config)
	return s
}

// space is what is free on the file system of dir, and its size; 0 if that is not known.
func space(dir string) (free, size uint64) {
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) == nil && fs.Bsize > 0 {
		free, size = fs.Bavail*uint64(fs.Bsize), fs.Blocks*uint64(fs.Bsize)
	}
	return free, size
}

// certificatesInUse are the proxy's own, and those that backends have shown.
func (p *Proxy) certificatesInUse() (all []metrics.Certificate) {
	if own := p.certificates.Load(); own != nil {
		all = slices.Clone(*own)
	}
	for _, b := range p.backends {
		if until := b.CertificateUntil(); !until.IsZero() {
			all = append(all, metrics.Certificate{Use: "backend", Key: b.Name(), Until: until})
		}
	}
	return all
}

// noteCertificates keeps when the certificates in use expire.
func (p *Proxy) noteCertificates() {
	var all []metrics.Certificate
	for _, part := range p.tls {
		use := "client"
		if part.backends == nil {
			use = "listener"
		}
		for _, pair := range part.conf.Certificates {
			if pair.Leaf != nil {
				all = append(all, metrics.Certificate{Use: use, Key: part.key, Until: pair.Leaf.NotAfter.UTC()})
			}
		}
		if until, ok := part.authorities(); ok {
			all = append(all, metrics.Certificate{Use: "ca", Key: part.key, Until: until.UTC()})
		}
	}
	p.certificates.Store(&all)
}

// metricsConnections bounds the connections of MetricsListen, which are those of a few scrapers.
const metricsConnections = 16

// makeMetricsPage makes what is served on MetricsListen. What is on AdminListen is there already.
func (p *Proxy) makeMetricsPage() {
	c := p.Config
	p.metricsPage = admin.New(admin.Options{
		OnlyMetrics: true,
		Version:     p.version,
		URLs:        p.urls(),
		Hosts:       admin.Hosts(c.MetricsListen, c.AdminHosts),
		Status:      p.status,
		Health:      p.health.Status,
		Metrics:     p.metrics,
		Connections: min(p.files.admin, metricsConnections),
		Log:         engineLog{p.logs}.Warn,
	})
	p.setMetricsToken(string(c.MetricsToken))
}

// listenForMetrics listens on MetricsListen, if there is one. After an error nothing listens.
func (p *Proxy) listenForMetrics() (err error) {
	if p.Config.MetricsListen == "" {
		return nil
	}
	if p.metricsListener, err = net.Listen("tcp", p.Config.MetricsListen); err == nil {
		return nil
	}
	_ = p.listener.Close()
	if p.adminListener != nil {
		_ = p.adminListener.Close()
	}
	return fmt.Errorf("cannot listen (MetricsListen: %q): %w", p.Config.MetricsListen, err)
}

// MetricsAddr is MetricsListen's address, or "" without one.
func (p *Proxy) MetricsAddr() string {
	if p.metricsListener == nil {
		return ""
	}
	return p.metricsListener.Addr().String()
}

func (p *Proxy) setMetricsToken(token string) {
	p.admin.SetMetricsToken(token)
	p.metricsPage.SetMetricsToken(token)
}
