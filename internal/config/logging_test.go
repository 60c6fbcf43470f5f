package config

import (
	"log/syslog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

func TestFacilitiesAndLevels(t *testing.T) {
	for s, want := range map[string]syslog.Priority{
		"kern": syslog.LOG_KERN, "user": syslog.LOG_USER, "LOG_CRON": syslog.LOG_CRON, "ftp": syslog.LOG_FTP,
		"authpriv": syslog.LOG_AUTHPRIV, "local0": syslog.LOG_LOCAL0, "Local7": syslog.LOG_LOCAL7, "log_local1": syslog.LOG_LOCAL1,
	} {
		if got, err := ParseFacility(s); got != want || err != nil {
			t.Errorf("facility %q = %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"local8", "LOG_", "log_log_user", " user", "16"} {
		if err := validFacility(s); err == nil || !strings.Contains(err.Error(), "ftp, local0,") {
			t.Errorf("facility %q: %v", s, err)
		}
	}
	for _, s := range []string{"", "Info", "WARN", "disabled"} {
		if err := validLevel(s); err != nil {
			t.Errorf("level %q: %v", s, err)
		}
	}
	for _, s := range []string{"3", "verbose", "info "} {
		if validLevel(s) == nil {
			t.Errorf("level %q passes", s)
		}
	}
	if err := validFacility(""); err != nil {
		t.Error(err)
	}
}

// R21: two logs in one file are surely not what their writer wanted, whatever the file's name in either place.
func TestR21LogsInOneFile(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there.log")
	testkit.MustDo(t, os.WriteFile(there, nil, 0o600), os.Symlink(there, filepath.Join(dir, "link.log")), os.Link(there, filepath.Join(dir, "hard.log")))
	for logs, want := range map[string]string{
		"Mainlog: {File: DIR/new.log}":                                                       "",
		"Mainlog: {File: DIR/new.log}, Synclog: {File: DIR/other.log}":                       "",
		"Mainlog: {File: DIR/new.log}, Synclog: {File: DIR/there.log}":                       "",
		"Mainlog: {File: DIR/there.log}, Synclog: {File: DIR/new.log}":                       "",
		"Mainlog: {File: /dev/null}, Accesslog: {File: /dev/null}":                           "",
		"Mainlog: {File: DIR/new.log}, Synclog: {File: DIR/new.log}":                         `Logging.Mainlog.File: "DIR/new.log" is the file of Logging.Synclog.File, too`,
		"Mainlog: {File: DIR/new.log}, Accesslog: {File: DIR/./x/../new.log}":                `Logging.Mainlog.File: "DIR/new.log" is the file of Logging.Accesslog.File, too`,
		"Accesslog: {File: DIR/link.log}, Synclog: {File: DIR/there.log}":                    `Logging.Accesslog.File: "DIR/link.log" is the file of Logging.Synclog.File, too`,
		"Mainlog: {File: DIR/hard.log}, Accesslog: {File: x}, Synclog: {File: DIR/link.log}": `Logging.Mainlog.File: "DIR/hard.log" is the file of Logging.Synclog.File, too`,
	} {
		c, err := Parse([]byte("Backends: [http://a, http://b]\nLogging: {"+strings.ReplaceAll(logs, "DIR", dir)+"}\n"), nil)
		testkit.MustDo(t, err)
		var got []string
		for _, line := range c.Warnings(time.Now()) {
			if strings.HasPrefix(line, "Logging") {
				got = append(got, strings.ReplaceAll(line, dir, "DIR"))
			}
		}
		if want == "" && got != nil || want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], want)) {
			t.Errorf("%s: %q, want %q", logs, got, want)
		}
	}
}
