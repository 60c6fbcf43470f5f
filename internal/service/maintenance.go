package service

import (
	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/maintenance"
)

// loadMaintenance returns the set of backends that start in maintenance (R14).
func (p *Proxy) loadMaintenance() (mask uint64) {
	configured := p.Config.MaintainedMask()
	var err error
	if p.maintenance, mask, err = maintenance.Load(p.Config.DataDir, p.names(), configured); err != nil {
		p.logs.Main.Error().Err(err).Msg("maintenance is as configured")
	}
	for i, name := range p.names() {
		if now := mask&(1<<i) != 0; now != (configured&(1<<i) != 0) {
			p.logs.Main.Warn().Str("backend", name).Bool("maintained", now).
				Msg("maintenance is as it was set while the proxy ran, not as configured")
		}
	}
	return mask
}

// setMaintained is the limiter's SetMaintained, but survives a restart. The warnings are for whoever asked for it.
func (p *Proxy) setMaintained(backend int, on bool) (changed bool, warnings []string) {
	if !p.limiter.SetMaintained(backend, on) {
		return false, nil
	}
	if err := p.maintenance.Set(backend, on); err != nil {
		warnings = append(warnings, "a restart will forget this: "+err.Error())
		p.logs.Main.Error().Err(err).Str("backend", p.names()[backend]).Bool("maintained", on).
			Msg("maintenance was changed, but a restart will forget it")
	}
	if on {
		var maintained uint64
		for i, s := range p.status() {
			if s.Maintained {
				maintained |= 1 << i
			}
		}
		if why := p.current.Load().TooFewFor(maintained); why != "" {
			warnings = append(warnings, why)
		}
	}
	return true, warnings
}

// changedMaintenance is the set of backends whose MaintainedBackend has changed. It is a mistake if
// nobody would be left, with what was taken into maintenance while the proxy ran (R14).
func (p *Proxy) changedMaintenance(current, next *config.Config) (changed uint64, err error) {
	changed = current.MaintainedMask() ^ next.MaintainedMask()
	left := false
	for i, s := range p.status() {
		in := s.Maintained
		if changed&(1<<i) != 0 {
			in = next.MaintainedMask()&(1<<i) != 0
		}
		left = left || !in
	}
	if !left {
		return 0, config.Errors{"MaintainedBackend: what is there is not allowed, must leave a backend that was not taken into maintenance while the proxy ran"}
	}
	return changed, nil
}

// setConfigured makes the configured maintenance that of the backends whose configuration has
// changed, whatever was set while the proxy ran.
func (p *Proxy) setConfigured(configured, changed uint64) {
	if err := p.maintenance.Configure(configured); err != nil {
		p.logs.Main.Error().Err(err).Msg("maintenance was changed, but a restart may forget it")
	}
	for i, name := range p.names() {
		on := configured&(1<<i) != 0
		if changed&(1<<i) != 0 && p.limiter.SetMaintained(i, on) {
			p.logs.Main.Warn().Str("backend", name).Bool("maintained", on).Msg("maintenance is as configured")
		}
	}
}
