package cli

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/service"
	"github.com/akubra/akubra/internal/systemd"
)

// serve runs the proxy until it is stopped.
func (c *cli) serve(conf *config.Config, path string) int {
	if mistakes := service.Preflight(conf, path, os.Environ()); mistakes != nil {
		return c.wrong(mistakes)
	}
	l, err := logs.Open(conf.Logging)
	if err != nil {
		fmt.Fprintln(c.stderr, err)
		return exitFailed
	}
	defer func() { _ = l.Close() }() // however it ends, what was logged gets written
	signals, unsubscribe := c.subscribe()
	defer unsubscribe()
	sockets, err := systemd.Inherit()
	var p *service.Proxy
	if err == nil {
		p, err = service.New(conf, l, c.version)
	}
	if err == nil {
		p.File = path
		p.Inherit(sockets.Clients, sockets.Admin)
		err = p.Start()
	}
	if _, wrong := errors.AsType[config.Errors](err); wrong {
		_ = l.Close()
		return c.wrong(err)
	}
	if err != nil {
		fmt.Fprintf(c.stderr, "akubra: %v\n", err)
		if !conf.Logging.Mainlog.Stderr { // otherwise it would appear there twice
			l.Main.Error().Err(err).Msg("cannot start")
		}
		_ = l.Close()
		return exitFailed
	}
	for _, line := range warnings(conf, path) {
		l.Main.Warn().Str("configuration", path).Msg(line)
	}
	told := func(err error) { // it serves all the same
		if err != nil {
			l.Main.Warn().Err(err).Msg("systemd does not learn how the proxy does")
		}
	}
	unwatch, err := systemd.Watch(p.Look)
	told(err)
	defer unwatch()
	told(systemd.Ready())
	if c.started != nil {
		c.started(p)
	}
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				told(systemd.Stopping(p.StopTime() + stopReserve))
				return stop(p, l, signals)
			}
			told(systemd.Reloading())
			l.ReopenSoon()
			reload(p)
			told(systemd.Ready())
		case err := <-p.Failed:
			l.Main.Error().Err(err).Msg("cannot go on")
			_ = stop(p, l, signals)
			return exitFailed
		}
	}
}

// stopReserve is the time that a stop takes in addition to what is configured.
const stopReserve = 30 * time.Second

// stop ends p and its logs in good order (R22), or at once if there is a second signal.
func stop(p *service.Proxy, l *logs.Logs, signals <-chan os.Signal) int {
	stopped := make(chan struct{})
	go func() {
		p.Stop()
		close(stopped)
	}()
	for {
		select {
		case <-stopped:
			_ = l.Close()
			return exitOK
		case s := <-signals:
			if s == syscall.SIGHUP {
				l.ReopenSoon()
				continue
			}
			l.Main.Error().Stringer("signal", s).Int("inflight", p.InFlight()).
				Msg("stopping at once, on the second signal: requests in flight are cut off, and the next start records the writes among them")
			return exitFailed
		}
	}
}
