package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"

	"github.com/akubra/akubra/internal/demo"
	"github.com/akubra/akubra/internal/service"
)

// demo runs the proxy in front of two backends in this process, until q or a signal.
func (c *cli) demo(o *demo.Options) int {
	signals, unsubscribe := c.subscribe()
	defer unsubscribe()
	backends, err := demo.StartBackends(o)
	defer func() {
		for _, s := range backends {
			s.Stop()
		}
	}()
	if err != nil {
		fmt.Fprintf(c.stderr, "akubra: %v\n", err)
		return exitFailed
	}
	config, err := demo.Config(o, backends)
	if err != nil {
		return c.wrong(err)
	}
	screen := &demo.Screen{W: c.stdout}
	l := demo.Logs(screen)
	p, err := service.New(config, l, c.version)
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		fmt.Fprintf(c.stderr, "akubra: %v\n", err)
		if errors.Is(err, syscall.EADDRINUSE) {
			fmt.Fprintln(c.stderr, "Something else is listening there. Choose another address with --listen HOST:PORT or --admin HOST:PORT.")
		}
		return exitFailed
	}
	screen.Print(demo.Welcome(c.version, p.Addr(), p.AdminAddr(), backends, o.Dir))
	if c.started != nil {
		c.started(p)
	}
	lines := readLines(c.stdin)
	for {
		select {
		case <-signals:
			return stop(p, l, signals)
		case err := <-p.Failed:
			fmt.Fprintf(c.stderr, "akubra: %v\n", err)
			_ = stop(p, l, signals)
			return exitFailed
		case line, ok := <-lines:
			switch {
			case !ok:
				lines = nil // nobody types; only signals are left
			case line == "1", line == "2":
				screen.Print(backends[line[0]-'1'].Toggle())
			case line == "q":
				return stop(p, l, signals)
			case line != "":
				screen.Print(demo.Keys)
			}
		}
	}
}

// readLines reads what is typed, to its end. Its goroutine ends with the process, because a read
// from a terminal cannot be canceled.
func readLines(r io.Reader) <-chan string {
	// In the background of a shell, a read then fails instead of stopping the process.
	signal.Ignore(syscall.SIGTTIN)
	lines := make(chan string)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(r); in.Scan(); {
			lines <- strings.TrimSpace(in.Text())
		}
	}()
	return lines
}
