package service

import (
	"slices"
	"time"

	"github.com/akubra/akubra/internal/config"
)

// live are the keys that Reload takes while the proxy runs. Every other one needs a restart.
var live = []string{"ShutdownDelay", "ShutdownTimeout"}

// Reload takes what certificates' files have now, and of a configuration, which has passed its
// checks, the keys that can change while the proxy runs (live). It says which ones need a
// restart (R22). Nobody who is connected notices. next may be nil: the configuration stays then.
func (p *Proxy) Reload(next *config.Config) {
	p.certificates.reload()
	if next == nil {
		return
	}
	old := p.current.Swap(next)
	needRestart := slices.DeleteFunc(config.Changes(p.Config, next), isLive)
	line := p.logs.Main.Info()
	if len(needRestart) > 0 {
		line = p.logs.Main.Warn().Strs("needrestart", needRestart)
	}
	taken := slices.DeleteFunc(config.Changes(old, next), func(key string) bool { return !isLive(key) })
	line.Strs("taken", taken).Msg("configuration reloaded")
}

func isLive(key string) bool { return slices.Contains(live, key) }

// StopTime is how long Stop may take with what is configured.
func (p *Proxy) StopTime() time.Duration {
	c := p.current.Load()
	return c.ShutdownDelay + c.ShutdownTimeout
}
