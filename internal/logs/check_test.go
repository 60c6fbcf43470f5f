package logs

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/testkit"
)

// R21: Check reports what Open would report and leaves nothing behind that was not there before.
func TestR21CheckLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	old, fresh, fifo, link := filepath.Join(dir, "old"), filepath.Join(dir, "fresh"), filepath.Join(dir, "fifo"), filepath.Join(dir, "link")
	testkit.MustDo(t, os.WriteFile(old, []byte("line\n"), 0o600), syscall.Mkfifo(fifo, 0o600), os.Symlink("behind", link))
	reader, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	testkit.MustDo(t, err)
	defer reader.Close()
	out := func(file string) config.LogOutput { return config.LogOutput{File: file, Level: "info"} }
	for _, file := range []string{old, fresh, fifo, link} {
		if err := Check(config.LoggingConfig{Mainlog: out(file), Accesslog: out(file), Synclog: out(file)}); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	if got := testkit.MustReadFile(t, old); got != "line\n" {
		t.Errorf("the old file has %q", got)
	}
	for _, file := range []string{fresh, filepath.Join(dir, "behind")} {
		if _, err := os.Stat(file); err == nil {
			t.Errorf("%s is there", file)
		}
	}
	if _, err := os.Lstat(link); err != nil {
		t.Errorf("the link is gone: %v", err)
	}
	err = Check(config.LoggingConfig{Mainlog: out(filepath.Join(dir, "none", "x")), Synclog: out(dir)})
	if err == nil || !strings.HasPrefix(err.Error(), "Logging.Mainlog: cannot open log file ") || !strings.Contains(err.Error(), "\nLogging.Synclog: cannot open log file ") {
		t.Errorf("error %v", err)
	}
}
