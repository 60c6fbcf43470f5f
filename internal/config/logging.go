package config

import (
	"cmp"
	"fmt"
	"log/syslog"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// LoggingConfig is where the three logs go.
type LoggingConfig struct {
	Synclog   LogOutput `koanf:"Synclog"`
	Accesslog LogOutput `koanf:"Accesslog"`
	Mainlog   LogOutput `koanf:"Mainlog"`
}

// LogOutput is where one log goes: to every output that is set, or nowhere.
type LogOutput struct {
	Stdout bool   `koanf:"Stdout"`
	Stderr bool   `koanf:"Stderr"`
	File   string `koanf:"File"`   // appended to; reopened on SIGHUP
	Syslog string `koanf:"Syslog"` // a facility such as "local0" or "LOG_LOCAL0"
	// Level is the lowest level that Mainlog writes. The other two logs ignore it: they have only
	// one kind of line, and none of these may be left out.
	Level string `koanf:"Level"`
}

// warnOfOneFile finds two logs that go to the same file: whoever reads one of them meets the other's lines.
func (l *LoggingConfig) warnOfOneFile(warn func(format string, args ...any)) {
	all := []struct{ key, file string }{
		{"Logging.Synclog.File", l.Synclog.File}, {"Logging.Accesslog.File", l.Accesslog.File}, {"Logging.Mainlog.File", l.Mainlog.File},
	}
	for i, log := range all {
		for _, earlier := range all[:i] {
			if sameFile(log.file, earlier.file) {
				warn("%s: %q is the file of %s, too, so the lines of both are mixed in it", log.key, log.file, earlier.key)
				break
			}
		}
	}
}

// sameFile reports whether two paths lead to one regular file, or will once it has been made. /dev/null or a terminal
// may be shared.
func sameFile(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	if infoA, err := os.Stat(a); err == nil {
		infoB, err := os.Stat(b)
		return err == nil && infoA.Mode().IsRegular() && os.SameFile(infoA, infoB)
	}
	absA, errA := filepath.Abs(a)
	absB, errB := filepath.Abs(b)
	return errA == nil && errB == nil && absA == absB
}

// levels are the levels that a configuration may name.
var levels = []string{"trace", "debug", "info", "warn", "error", "disabled"}

// LevelName returns a level's name in lower case; empty means info.
func LevelName(s string) (string, error) {
	name := strings.ToLower(cmp.Or(s, "info"))
	if !slices.Contains(levels, name) {
		return "", fmt.Errorf("level %q is not one of %s", s, strings.Join(levels, ", "))
	}
	return name, nil
}

// facilities are in the order of their codes; log/syslog leaves out 12 to 15.
var facilities = []string{
	"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
	"", "", "", "",
	"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
}

// ParseFacility accepts "local0", "LOCAL0" and "LOG_LOCAL0".
func ParseFacility(s string) (syslog.Priority, error) {
	name := strings.TrimPrefix(strings.ToLower(s), "log_")
	code := slices.Index(facilities, name)
	if code < 0 || name == "" {
		allowed := slices.DeleteFunc(slices.Clone(facilities), func(f string) bool { return f == "" })
		return 0, fmt.Errorf("syslog facility %q is not one of %s (LOG_ may stand before it)", s, strings.Join(allowed, ", "))
	}
	return syslog.Priority(code << 3), nil
}

// validFacility and validLevel are used by check. Empty is valid.
func validFacility(s string) error {
	if s == "" {
		return nil
	}
	_, err := ParseFacility(s)
	return err
}

func validLevel(s string) error {
	_, err := LevelName(s)
	return err
}
