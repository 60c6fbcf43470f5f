package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/congestion"
	"github.com/akubra/akubra/internal/datadir"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/remote"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog/journal"
)

// Preflight finds what is wrong with a configuration on this machine (R21): what it names and does
// not exist. It leaves nothing behind. Both `akubra check` and the start use it, so that they
// cannot disagree. file is where c was loaded from.
func Preflight(c *config.Config, file string, environ []string) config.Errors {
	var mistakes config.Errors
	add := func(format string, args ...any) {
		mistakes = append(mistakes, text.Printable(fmt.Sprintf(format, args...)))
	}
	if err := logs.Check(c.Logging); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			add("%s", line)
		}
	}
	if err := datadir.CheckWritable(c.JournalDir()); err != nil {
		add("DataDir: %q is not allowed, must be a directory that the proxy can make and write to: %v", c.DataDir, err)
	}
	if err := congestion.New(c.CongestionControl).Check(); err != nil {
		add("CongestionControl: %q is not allowed, must be one that this system has: %v", c.CongestionControl, err)
	}
	if c.Repair.Enabled == config.RepairOn {
		if _, err := c.SigningKeys(environ); err != nil {
			var missing config.Errors
			errors.As(err, &missing)
			for _, line := range missing {
				add("%s", line)
			}
		}
	}
	if mistakes == nil {
		return nil
	}
	return config.Placed(file, mistakes)
}

// runningTimeout bounds the question whether the running proxy has this configuration.
const runningTimeout = 3 * time.Second

// Occupied finds what a start would need but another process has: addresses, the journal. busy
// reports whether that is the proxy with this very configuration, which only has to be stopped
// first; then there are no problems.
func Occupied(c *config.Config) (busy bool, problems []error) {
	locked := journalLocked(c)
	if locked != nil && c.AdminListen != "" {
		r := remote.NewClient(c.AdminListen, func(error) {})
		r.Token = string(c.AdminToken)
		defer r.Close()
		ctx, cancel := context.WithTimeout(context.Background(), runningTimeout)
		defer cancel()
		err := r.Check(ctx, c.JournalDir())
		if err == nil {
			return true, nil
		}
		locked = fmt.Errorf("%w; cannot tell whether it is the proxy with this configuration: %w", locked, err)
	}
	if locked != nil {
		problems = append(problems, fmt.Errorf("cannot open the journal (DataDir: %q): %w", c.DataDir, locked))
	}
	if err := roomFor(c.JournalDir()); err != nil && locked == nil {
		problems = append(problems, fmt.Errorf("cannot write to the journal (DataDir: %q): %w", c.DataDir, err))
	}
	var open []net.Listener // until all are tried: two of them may be one address, as 127.0.0.1 and localhost are
	for _, l := range [][2]string{{"Listen", c.Listen}, {"AdminListen", c.AdminListen}, {"MetricsListen", c.MetricsListen}} {
		if l[1] == "" {
			continue
		}
		ln, err := net.Listen("tcp", l[1])
		if err != nil {
			problems = append(problems, fmt.Errorf("cannot listen (%s: %q): %w", l[0], l[1], err))
			continue
		}
		open = append(open, ln)
	}
	for _, ln := range open {
		_ = ln.Close()
	}
	for _, name := range []string{lockFile, journal.InflightName} {
		f, err := os.Open(filepath.Join(c.JournalDir(), name))
		if err != nil {
			continue // it will be created
		}
		if err := datadir.NotLinked(f); err != nil {
			problems = append(problems, fmt.Errorf("cannot use the journal (DataDir: %q): %w", c.DataDir, err))
		}
		_ = f.Close()
	}
	return false, problems
}

// roomFor finds a disk that is too full for the journal: a proxy that cannot write that does not start (R20).
func roomFor(dir string) error {
	need, there := journal.Room(dir), dir
	for filepath.Dir(there) != there {
		if _, err := os.Stat(there); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		there = filepath.Dir(there) // it will be made there
	}
	if free, size := space(there); size > 0 && free < uint64(need) {
		return fmt.Errorf("%w: %s are left, and a start needs %s", syscall.ENOSPC, text.Bytes(int64(free)), text.Bytes(need))
	}
	return nil
}

// lockFile is the journal's lock; see FORMAT.md.
const lockFile = "lock"

// journalLocked says who has the journal open; it returns nil if nobody has.
func journalLocked(c *config.Config) error {
	f, err := os.Open(filepath.Join(c.JournalDir(), lockFile))
	if err != nil {
		return nil // it will be created
	}
	defer f.Close() // also unlocks it
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return errors.New("another process has it open")
	}
	return nil
}

// Warnings are what the operator should know before a start with c, a line each.
func Warnings(c *config.Config, environ []string) []string {
	lines := c.Warnings(time.Now())
	if _, why := c.Repairs(environ); why != nil {
		line := "Repair: is OFF, since there are no Credentials: a backend never gets what it has missed, and objects uploaded in parts stay on one backend"
		if missing, is := errors.AsType[config.Errors](why); is && len(missing) < len(c.Backends) {
			line += ". " + strings.Join(missing, "; ")
		} else if half := config.HalfSet(environ); half != "" {
			line += ". " + strings.ToUpper(half[:1]) + half[1:]
		}
		lines = append(lines, line)
	}
	if s := shareFiles(c); s.tight(c) {
		lines = append(lines, fmt.Sprintf("the limit of open files (ulimit -n: %d) allows for %d client connections instead of %d, and %d busy backend connections instead of %d",
			s.limit, s.clients, wantedClients(c), s.backends, c.ConnLimit))
	}
	return lines
}
