package cli

import (
	"fmt"
	"os"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/service"
)

// check says whether a start with this configuration would do (R21), without one.
func (c *cli) check(conf *config.Config, path string) int {
	if mistakes := service.Preflight(conf, os.Environ()); mistakes != nil {
		return c.wrong(mistakes)
	}
	busy, problems := service.Occupied(conf)
	for _, err := range problems {
		fmt.Fprintf(c.stderr, "akubra: %v\n", err)
	}
	for _, line := range warnings(conf, path) {
		fmt.Fprintf(c.stderr, "akubra: warning: %s\n", line)
	}
	if problems != nil {
		return exitFailed
	}
	fmt.Fprintf(c.stdout, "%s: configuration is valid\n", path)
	if busy {
		fmt.Fprintln(c.stdout, "The proxy of this configuration is running: it has to be stopped before another one can start.")
	}
	return exitOK
}

// warnings are those about a configuration, and about the file that it is in.
func warnings(conf *config.Config, path string) []string {
	lines := service.Warnings(conf)
	if info, err := os.Stat(path); err == nil && conf.HasSecrets() && info.Mode().Perm()&0o004 != 0 {
		lines = append(lines, fmt.Sprintf("all users may read the keys in %q (%v): chmod o-r", path, info.Mode()))
	}
	return lines
}
