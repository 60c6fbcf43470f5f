package cli

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/online"
	"github.com/akubra/akubra/internal/service"
	"github.com/akubra/akubra/internal/text"
)

// checkFlags are the flags of `akubra check`.
type checkFlags struct {
	online, readOnly bool
	bucket           string
}

// check reports whether a start with this configuration would succeed (R21), without starting.
func (c *cli) check(conf *config.Config, path string, f *checkFlags) int {
	if !f.online && (f.bucket != "" || f.readOnly) {
		return c.wrong(errors.New("check takes --bucket and --read-only only with --online"))
	}
	if mistakes := service.Preflight(conf, path, os.Environ()); mistakes != nil {
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
		fmt.Fprintln(c.stdout, "The proxy with this DataDir is running: akubra reload has it use what the file has now, and another one cannot start beside it.")
	}
	if f.online {
		return c.checkOnline(conf, f)
	}
	return exitOK
}

// checkOnline shows the state of the backends and what is wrong with them.
func (c *cli) checkOnline(conf *config.Config, f *checkFlags) int {
	ctx, stop := c.untilSignal()
	defer stop()
	reports, err := service.CheckOnline(ctx, conf, os.Environ(), f.bucket, f.readOnly)
	if err != nil {
		return c.failed(err)
	}
	exit := exitOK
	table := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nBACKEND\tDIAL\tTLS\tCLOCK\tSIGNED\tBUCKETS\tCONDITIONS")
	for i := range reports {
		r := &reports[i]
		buckets := fmt.Sprint(len(r.Buckets))
		if r.Signed != "ok" {
			buckets = ""
		} else if len(r.Missing) > 0 {
			buckets += fmt.Sprintf(", %d missing", len(r.Missing))
		}
		row := []string{r.Name, r.Dial, r.TLS, r.Clock, r.Signed, buckets, r.Conditions}
		for i := range row {
			row[i] = cmp.Or(text.Printable(row[i]), "-")
		}
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	_ = table.Flush() // to a terminal
	c.showVersioning(reports)
	for i := range reports {
		for _, line := range reports[i].Problems {
			exit = exitFailed
			fmt.Fprintf(c.stderr, "akubra: backend %q: %s\n", reports[i].Name, text.Printable(line))
		}
		for _, line := range reports[i].Warnings {
			fmt.Fprintf(c.stderr, "akubra: warning: backend %q: %s\n", reports[i].Name, text.Printable(line))
		}
	}
	return exit
}

// showVersioning shows each bucket's versioning on each backend.
func (c *cli) showVersioning(reports []online.Report) {
	buckets := map[string]bool{}
	for i := range reports {
		for _, b := range reports[i].Buckets {
			buckets[b] = true
		}
	}
	if len(buckets) == 0 {
		return
	}
	table := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "\nVERSIONING")
	for i := range reports {
		fmt.Fprintf(table, "\t%s", reports[i].Name)
	}
	for _, b := range slices.Sorted(maps.Keys(buckets)) {
		fmt.Fprintf(table, "\n%s", text.Printable(b))
		for i := range reports {
			state := "-"
			if slices.Contains(reports[i].Missing, b) {
				state = "missing"
			}
			fmt.Fprintf(table, "\t%s", cmp.Or(reports[i].Versioning[b], state))
		}
	}
	fmt.Fprintln(table)
	_ = table.Flush()
}

// warnings are the warnings about a configuration and about its file.
func warnings(conf *config.Config, path string) []string {
	lines := service.Warnings(conf, os.Environ())
	if info, err := os.Stat(path); err == nil && conf.HasSecrets() && info.Mode().Perm()&0o004 != 0 {
		lines = append(lines, fmt.Sprintf("all users may read the keys in %q (%v): chmod o-r", path, info.Mode()))
	}
	return lines
}
