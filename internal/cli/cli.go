package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/service"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1  // for example: cannot listen, or told twice to stop; something is left to repair, or differs
	exitUsage  = 64 // wrong usage of verify, whose 2 means that it could not compare
	exitWrong  = 2  // wrong arguments or configuration (R21)
)

// Run executes the command in args as the whole of this process and returns its exit code. example
// is config.yaml.example, manual docs/akubra.1.
func Run(args []string, version, example, manual string) int {
	c := &cli{version: version, example: example, manual: manual, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	return c.run(args)
}

// cli is the process, as the commands see it.
type cli struct {
	version        string
	example        string
	manual         string
	stdin          io.Reader
	stdout, stderr io.Writer
	signals        <-chan os.Signal     // nil: the process's own
	started        func(*service.Proxy) // for tests; may be nil
}

// wrong reports what is wrong; a wrong configuration has one line per mistake (R21).
func (c *cli) wrong(err error) int {
	if _, ok := errors.AsType[config.Errors](err); !ok {
		return c.report(err, exitWrong)
	}
	fmt.Fprintln(c.stderr, err)
	return exitWrong
}

// report says why the command cannot go on, and what to do about it if that is known.
func (c *cli) report(err error, exit int) int {
	if _, is := errors.AsType[outputError](err); is {
		return exitOK // run judges it
	}
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w (run it as root, or as the proxy's user)", err)
	}
	fmt.Fprintf(c.stderr, "akubra: %v\n", err)
	return exit
}

// subscribe returns the signals that are handled. Other signals, and all before this call, have
// their default effect.
func (c *cli) subscribe() (signals <-chan os.Signal, unsubscribe func()) {
	if c.signals != nil {
		return c.signals, func() {}
	}
	ch := make(chan os.Signal, 4)
	signal.Notify(ch, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	return ch, func() { signal.Stop(ch) }
}

// failed reports why the command cannot go on.
func (c *cli) failed(err error) int { return c.report(err, exitFailed) }

// untilSignal returns a context that a signal cancels, and a function that cancels it otherwise.
func (c *cli) untilSignal() (ctx context.Context, stop func()) {
	signals, unsubscribe := c.subscribe()
	ctx, cancel := context.WithCancel(context.Background())
	var waiting sync.WaitGroup
	waiting.Go(func() {
		for {
			select {
			case s := <-signals:
				if s != syscall.SIGHUP {
					cancel()
				}
			case <-ctx.Done():
				return
			}
		}
	})
	return ctx, func() {
		cancel()
		waiting.Wait()
		unsubscribe()
	}
}
