package cli

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/repair"
)

// Lines that stay are written whole, and the progress line below is erased first.
func TestProgressOnATerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := &progress{w: &out, terminal: true}
	p.show("1 of 2")
	p.warn(errors.New("slow\n"))
	p.show("2 of 2")
	p.show("")
	p.Warn("stop", "key", "a\tb", "n", 5)
	const wipe = "\r\x1b[K"
	want := "1 of 2" + wipe + `akubra: slow\n` + "\n1 of 2" + wipe + "2 of 2" + wipe + `akubra: warning: stop (key: a\tb, n: 5)` + "\n"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	out.Reset()
	p.show(strings.Repeat("x", 200))
	if out.Len() != progressWidth {
		t.Errorf("%d columns", out.Len())
	}
}

func TestProgressBegins(t *testing.T) {
	t.Parallel()
	out := testkit.NewTranscript()
	p := &progress{w: out, terminal: true}
	end := p.begin(func() string { return "so far" })
	out.WaitFor(t, "so far")
	end()
	end()
	if got := out.String(); !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("left on the screen: %q", got)
	}
}

func TestProgressWithoutTerminal(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	testkit.MustDo(t, err)
	defer f.Close()
	p := newProgress(f)
	end := p.begin(func() string { t.Error("asked"); return "x" })
	p.Info("said")
	end()
	if got := testkit.MustReadFile(t, f.Name()); got != "akubra: said\n" {
		t.Errorf("written: %q", got)
	}
}

func TestRepairProgress(t *testing.T) {
	t.Parallel()
	s := repair.Status{Resolved: 50, Failed: 2, Left: 1, Rate: 12.4, ETA: 61 * time.Second}
	want := "[=====               ]  25% 50 of 200 keys, 3 put off, 12/s, 1m1s to go"
	if got := repairProgress(s, 200); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	s.ByteRate = 3 << 19
	if got := repairProgress(s, 200); !strings.Contains(got, ", 12/s, 1.5 MiB/s, 1m1s") {
		t.Errorf("with bytes: %q", got)
	}
	if got := repairProgress(repair.Status{Resolved: 3}, 2); !strings.HasPrefix(got, "[====================] 100% 3 of 3 keys") {
		t.Errorf("more than there were: %q", got)
	}
	if got := repairProgress(repair.Status{}, 0); got != "0 of 0 keys, 0/s" {
		t.Errorf("nothing: %q", got)
	}
}
