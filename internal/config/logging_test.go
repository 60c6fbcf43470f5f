package config

import (
	"log/syslog"
	"strings"
	"testing"
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
