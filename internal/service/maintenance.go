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

// setMaintained is the limiter's SetMaintained, but survives a restart, unless it says why not.
func (p *Proxy) setMaintained(backend int, on bool) (changed bool, unsaved error) {
	if !p.limiter.SetMaintained(backend, on) {
		return false, nil
	}
	err := p.maintenance.Set(backend, on)
	if err != nil {
		p.logs.Main.Error().Err(err).Str("backend", p.names()[backend]).Bool("maintained", on).
			Msg("maintenance was changed, but a restart will forget it")
	}
	return true, err
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
