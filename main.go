// Command akubra copies every S3 request to all of its backends at once, and gives
// the client the first positive answer. What the backends differ in it records in
// the synclog.
//
// This package is the wiring: run reads the command line, loads and checks the
// configuration, constructs what it describes (proxy.go), starts it, waits, and
// stops it in reverse. Everything that does the work is in the packages below. The
// commands beside it read the journal and make backends equal again (cmd_*.go).
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kingpin/v2"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/service"
)

// version is linked in: -ldflags "-X main.version=v1.2.3".
var version = "dev"

// How the process ends.
const (
	exitOK     = 0
	exitFailed = 1 // cannot listen, say, or was told twice to stop; something is left to repair, or differs
	exitWrong  = 2 // what it was told is wrong: arguments or configuration (R21)
)

func main() {
	// A log's reader that goes away must not take the proxy with it.
	signal.Ignore(syscall.SIGPIPE)
	addProcessor()
	if version == "dev" {
		version = builtVersion()
	}
	c := &cli{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(c.run(os.Args[1:]))
}

// addProcessor has the scheduler use one thread more than the machine, or the
// process's share of it, has processors, unless GOMAXPROCS says how many. While the
// system has set aside a thread for another process's, what it was about to do, as to
// ask for the connections that are ready, stands still: the additional one does it
// where a processor is idle (bench/NOTES.md). A share that changes later is not
// followed.
func addProcessor() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
}

// builtVersion is what `go build` and `go install` know: the tag, or the time and
// the revision of the commit.
func builtVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return version
	}
	return info.Main.Version
}

// cli is the process as run sees it.
type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	signals        <-chan os.Signal     // nil: the process's own
	started        func(*service.Proxy) // for tests; may be nil
}

// run does what args say and returns the process's exit code.
func (c *cli) run(args []string) int {
	exit := -1 // set where kingpin has answered already, as to --help
	app := kingpin.New("akubra", "Copies every S3 request to all backends at once; the first positive answer is the client's.").
		Version(version).UsageWriter(c.stdout).ErrorWriter(c.stderr).
		Terminate(func(code int) { exit = max(exit, code) })
	app.HelpFlag.Short('h')
	conf := app.Flag("conf", "The configuration, a YAML file. config.yaml.example has every key.").Short('c').PlaceHolder("FILE").String()
	serve := app.Command("serve", "Serve. This is what a bare `akubra -c FILE` does.").Default()
	check := app.Command("check", "Check the configuration and tell every mistake; exit code 2 if there is one.")
	demo, demoOptions := demoCommand(app)
	synclog := newSynclogCommands(app)
	repair, repairFlags := repairCommand(app)
	verify, verifyFlags := verifyCommand(app)

	command, err := app.Parse(args)
	switch {
	case exit >= 0:
		return exit
	case err != nil:
		return c.wrong(fmt.Errorf("%w (akubra --help tells more)", err))
	case command == demo.FullCommand():
		if *conf != "" {
			return c.wrong(errors.New("demo has a configuration of its own and takes no -c"))
		}
		return c.demo(demoOptions)
	case *conf == "":
		return c.wrong(errors.New("no configuration given: akubra -c FILE (config.yaml.example is one to start from, akubra demo needs none)"))
	}
	config, err := config.Load(*conf)
	if err != nil {
		return c.wrong(err)
	}
	switch {
	case command == check.FullCommand():
		fmt.Fprintf(c.stdout, "%s: configuration is valid\n", *conf)
		return exitOK
	case command == serve.FullCommand():
		return c.serve(config)
	case synclog.is(command):
		return synclog.run(c, config, command)
	case command == repair.FullCommand():
		return c.repair(config, repairFlags)
	case command == verify.FullCommand():
		return c.verify(config, verifyFlags)
	}
	panic("main: no such command: " + command)
}

// wrong says what is wrong, a line each mistake where it is the configuration (R21).
func (c *cli) wrong(err error) int {
	if _, ok := errors.AsType[config.Errors](err); !ok {
		err = fmt.Errorf("akubra: %w", err)
	}
	fmt.Fprintln(c.stderr, err)
	return exitWrong
}

// serve runs the proxy until it is told to stop.
func (c *cli) serve(conf *config.Config) int {
	l, err := logs.Open(conf.Logging)
	if err != nil {
		fmt.Fprintln(c.stderr, err)
		return exitFailed
	}
	defer func() { _ = l.Close() }() // however it ends, what was logged is written
	signals, unsubscribe := c.subscribe()
	defer unsubscribe()
	p, err := service.New(conf, l, version)
	if err == nil {
		err = p.Start()
	}
	if _, wrong := errors.AsType[config.Errors](err); wrong {
		_ = l.Close()
		return c.wrong(err)
	}
	if err != nil {
		fmt.Fprintf(c.stderr, "akubra: %v\n", err)
		if !conf.Logging.Mainlog.Stderr { // there it would stand twice
			l.Main.Error().Err(err).Msg("cannot start")
		}
		_ = l.Close()
		return exitFailed
	}
	if c.started != nil {
		c.started(p)
	}
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				return stop(p, l, signals)
			}
			l.ReopenSoon()
		case err := <-p.Failed:
			l.Main.Error().Err(err).Msg("cannot go on")
			_ = stop(p, l, signals)
			return exitFailed
		}
	}
}

// subscribe gives the signals that are handled. The others, and all until now, do
// what they do to any process.
func (c *cli) subscribe() (signals <-chan os.Signal, unsubscribe func()) {
	if c.signals != nil {
		return c.signals, func() {}
	}
	ch := make(chan os.Signal, 4)
	signal.Notify(ch, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	return ch, func() { signal.Stop(ch) }
}

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
				Msg("stopping at once, on the second signal: what is in flight is cut off, and the next start records the writes among it")
			return exitFailed
		}
	}
}
