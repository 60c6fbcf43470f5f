package cli

import (
	"errors"
	"os"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/service"
)

// reload has the proxy take what is new in its configuration's file, or nothing of it where
// there is a mistake (R22).
func reload(p *service.Proxy, l *logs.Logs, path string) {
	next, err := config.Load(path)
	if err == nil {
		if mistakes := service.Preflight(next, os.Environ()); mistakes != nil {
			next, err = nil, mistakes
		}
	}
	if err != nil {
		lines, ok := errors.AsType[config.Errors](err)
		if !ok {
			lines = config.Errors{err.Error()}
		}
		l.Main.Error().Strs("mistakes", lines).Msg("cannot reload the configuration: all stays as it was")
	}
	p.Reload(next)
}
