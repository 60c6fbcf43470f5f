package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/syslog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/testkit"
)

// mustOpenOutput is OpenOutput for a configuration that must open; it is closed when the test ends.
func mustOpenOutput(t *testing.T, c config.LogOutput) *Output {
	t.Helper()
	o, err := OpenOutput(c)
	testkit.MustDo(t, err)
	o.Start(nil, nil)
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// mustWrite returns once the line has been written.
func mustWrite(t *testing.T, w io.Writer, line string) {
	t.Helper()
	if n, err := io.WriteString(w, line); n != len(line) || err != nil {
		t.Fatalf("Write(%q) = %d, %v", line, n, err)
	}
	mustFlush(t, w)
}

// mustFlush waits until everything logged is written.
func mustFlush(t *testing.T, w any) {
	t.Helper()
	var outputs []*Output
	switch w := w.(type) {
	case *Output:
		outputs = []*Output{w}
	case *Logs:
		for _, s := range w.outputs {
			outputs = append(outputs, s.out.Load())
		}
	}
	for _, o := range outputs {
		o.flush(testkit.Patience)
		for _, q := range o.sinks {
			if waiting, _ := q.state(); waiting > 0 {
				t.Fatalf("%d lines wait for %q", waiting, q.Name)
			}
		}
	}
}

func TestLogFileReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sync.log")
	o := mustOpenOutput(t, config.LogOutput{File: path})
	mustWrite(t, o, "one\n")
	testkit.MustDo(t, os.Rename(path, path+".1"))
	mustWrite(t, o, "two\n") // not reopened yet: still in the old file
	testkit.MustDo(t, o.reopen())
	mustWrite(t, o, "three\n")
	testkit.MustDo(t, o.reopen()) // nothing was renamed: continues in the same file
	mustWrite(t, o, "four\n")
	if got := testkit.MustReadFile(t, path+".1"); got != "one\ntwo\n" {
		t.Errorf("old file holds %q", got)
	}
	if got := testkit.MustReadFile(t, path); got != "three\nfour\n" {
		t.Errorf("new file holds %q", got)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&^0o640 != 0 {
		t.Errorf("mode %v, %v; want at most 0640", info.Mode(), err)
	}
}

func TestLogFileReopenFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sync.log")
	o := mustOpenOutput(t, config.LogOutput{File: path})
	mustWrite(t, o, "one\n")
	testkit.MustDo(t, os.Rename(path, path+".1"))
	testkit.MustDo(t, os.Mkdir(path, 0o700)) // in the new file's place
	want := fmt.Sprintf("cannot reopen log file %q, so the old one stays in use: is a directory", path)
	if err := o.reopen(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	mustWrite(t, o, "two\n")
	if got := testkit.MustReadFile(t, path+".1"); got != "one\ntwo\n" {
		t.Errorf("old file holds %q", got)
	}
}

func TestLogFileReopenWhileWriting(t *testing.T) {
	const writers, each, reopens = 4, 200, 20
	path := filepath.Join(t.TempDir(), "sync.log")
	o := mustOpenOutput(t, config.LogOutput{File: path})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if _, err := fmt.Fprintf(o, "%d-%d\n", w, i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range reopens {
		if err := errors.Join(os.Rename(path, fmt.Sprint(path, ".", i)), o.reopen()); err != nil {
			t.Error(err)
		}
	}
	testkit.Finish(t, "the writers end", wg.Wait)
	mustFlush(t, o)
	seen := map[string]bool{}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) != reopens+1 {
		t.Errorf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		for line := range strings.Lines(testkit.MustReadFile(t, f)) {
			seen[line] = true
		}
	}
	if len(seen) != writers*each {
		t.Errorf("%d lines arrived, want %d", len(seen), writers*each)
	}
}

func TestLogFileClosed(t *testing.T) {
	o := mustOpenOutput(t, config.LogOutput{File: filepath.Join(t.TempDir(), "a.log")})
	for range 2 {
		testkit.MustDo(t, o.Close())
	}
	if _, err := io.WriteString(o, "x\n"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	if err := o.reopen(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("reopen after close: %v", err)
	}
}

// tearing accepts limit bytes in total, like a disk that fills up.
type tearing struct {
	strings.Builder
	limit int
}

func (w *tearing) Write(p []byte) (int, error) {
	n := min(len(p), w.limit-w.Len())
	w.Builder.Write(p[:n])
	if n < len(p) {
		return n, errors.New("disk full")
	}
	return n, nil
}

func (w *tearing) Close() error { return nil }

func TestR16TornLineDoesNotTakeTheNextWithIt(t *testing.T) {
	disk := &tearing{limit: 6}
	f := &logFile{path: "x", f: disk}
	write := func(line string) error {
		_, err := f.writeLines([]byte(line), []queuedLine{{size: len(line)}})
		return err
	}
	for _, step := range []struct {
		limit int
		line  string
		fails bool
	}{
		{6, "one\n", false},
		{6, "two\n", true},   // "tw" fits
		{6, "three\n", true}, // not even the end of the line fits
		{20, "four\n", false},
		{20, "five\n", false},
	} {
		disk.limit = step.limit
		if err := write(step.line); (err != nil) != step.fails {
			t.Errorf("%q: %v", step.line, err)
		}
	}
	if got := disk.String(); got != "one\ntw\nfour\nfive\n" {
		t.Errorf("got %q", got)
	}

	// The same if another process left the torn line.
	path := filepath.Join(t.TempDir(), "sync.log")
	for _, c := range []struct{ before, after string }{{"on", "on\ntwo\n"}, {"one\n", "one\ntwo\n"}, {"", "two\n"}} {
		testkit.MustDo(t, os.WriteFile(path, []byte(c.before), 0o600))
		mustWrite(t, mustOpenOutput(t, config.LogOutput{File: path}), "two\n")
		if got := testkit.MustReadFile(t, path); got != c.after {
			t.Errorf("after %q: got %q, want %q", c.before, got, c.after)
		}
	}
}

func TestOutputFailingSinkDoesNotStopOthers(t *testing.T) {
	before, after := testkit.NewTranscript(), testkit.NewTranscript()
	full := errors.New("disk full")
	tries := make(chan struct{}, 10)
	broken := writerFunc(func([]byte) (int, error) {
		select {
		case tries <- struct{}{}:
		default:
		}
		return 0, &fs.PathError{Op: "write", Path: "x", Err: full}
	})
	short := writerFunc(func(p []byte) (int, error) { return len(p) - 1, nil })
	o := &Output{}
	for _, s := range []struct {
		name string
		w    io.Writer
	}{{"before", before}, {"broken", broken}, {"short", short}, {"after", after}} {
		o.add(s.name, &logFile{f: keptOpen{s.w}})
	}
	var mu sync.Mutex
	trouble := map[string]error{}
	o.Start(func(q *Queue, err error) {
		mu.Lock()
		defer mu.Unlock()
		trouble[q.Name] = err
	}, nil)
	if n, err := io.WriteString(o, "line\n"); n != 5 || err != nil {
		t.Errorf("Write = %d, %v", n, err)
	}
	before.WaitFor(t, "line\n")
	after.WaitFor(t, "line\n")
	testkit.Receive(t, "a try", tries)
	testkit.Receive(t, "a try", tries) // it tries again
	err := o.Close()
	if !errors.Is(err, full) || !errors.Is(err, io.ErrShortWrite) ||
		!strings.Contains(fmt.Sprint(err), `cannot write the last 1 lines to "broken": disk full`) {
		t.Errorf("error is %v", err)
	}
	if len(trouble) != 2 || !errors.Is(trouble["broken"], full) || !errors.Is(trouble["short"], io.ErrShortWrite) {
		t.Errorf("told: %v", trouble)
	}
	mustWrite(t, &Output{}, "to nobody\n")
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestOutputStdStreams(t *testing.T) {
	dir := t.TempDir()
	stdout, stderr := os.Stdout, os.Stderr
	defer func() { os.Stdout, os.Stderr = stdout, stderr }()
	var err1, err2 error
	os.Stdout, err1 = os.Create(filepath.Join(dir, "stdout"))
	os.Stderr, err2 = os.Create(filepath.Join(dir, "stderr"))
	testkit.MustDo(t, errors.Join(err1, err2))
	defer os.Stdout.Close()
	defer os.Stderr.Close()
	for i, c := range []config.LogOutput{{Stdout: true}, {Stderr: true}, {Stdout: true, Stderr: true, File: filepath.Join(dir, "file")}} {
		o := mustOpenOutput(t, c)
		mustWrite(t, o, fmt.Sprintln(i))
		testkit.MustDo(t, o.Close())
	}
	for name, want := range map[string]string{"stdout": "0\n2\n", "stderr": "1\n2\n", "file": "2\n"} {
		if got := testkit.MustReadFile(t, filepath.Join(dir, name)); got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
}

// stubSyslog makes dialSyslog return a connection to the test.
func stubSyslog(t *testing.T) net.PacketConn {
	t.Helper()
	daemon, err := net.ListenPacket("udp", "127.0.0.1:0")
	testkit.MustDo(t, err)
	saved := dialSyslog
	dialSyslog = func(p syslog.Priority, tag string) (*syslog.Writer, error) {
		return syslog.Dial("udp", daemon.LocalAddr().String(), p, tag)
	}
	t.Cleanup(func() {
		dialSyslog = saved
		daemon.Close()
	})
	return daemon
}

func TestOutputSyslog(t *testing.T) {
	daemon := stubSyslog(t)
	l, err := Open(config.LoggingConfig{
		Mainlog: config.LogOutput{Syslog: "LOG_LOCAL3", Level: "Trace"},
		Synclog: config.LogOutput{Syslog: "daemon"},
	})
	testkit.MustDo(t, err)
	defer l.Close()
	const local3, daemonFacility = 19 << 3, 3 << 3
	buf := make([]byte, 4096)
	for _, c := range []struct {
		write func()
		pri   int
		text  string
	}{
		{func() { l.Main.Trace().Msg("lowest") }, local3 | 7, `"message":"lowest"`},
		{func() { l.Main.Info().Msg("started") }, local3 | 6, `"message":"started"`},
		{func() { l.Main.Warn().Msg("odd") }, local3 | 4, `"message":"odd"`},
		{func() { l.Main.Error().Msg("bad") }, local3 | 3, `"message":"bad"`},
		{func() { mustWrite(t, l.Sync, "{record}\n") }, daemonFacility | 6, `{record}`},
	} {
		c.write()
		testkit.MustDo(t, daemon.SetReadDeadline(time.Now().Add(10*time.Second)))
		n, _, err := daemon.ReadFrom(buf)
		testkit.MustDo(t, err)
		if got := string(buf[:n]); !strings.HasPrefix(got, fmt.Sprintf("<%d>", c.pri)) ||
			!strings.Contains(got, c.text) || !strings.Contains(got, " akubra[") {
			t.Errorf("got %q, want <%d> and %q", got, c.pri, c.text)
		}
	}
}

func TestR21OpenLogsNamesEveryMistake(t *testing.T) {
	saved := dialSyslog
	defer func() { dialSyslog = saved }()
	dialSyslog = func(syslog.Priority, string) (*syslog.Writer, error) { return nil, errors.New("nobody there") }
	file := filepath.Join(t.TempDir(), "none", "x.log")
	l, err := Open(config.LoggingConfig{
		Mainlog:   config.LogOutput{File: file, Syslog: "local0", Level: "loud"},
		Accesslog: config.LogOutput{Syslog: "local9"},
		Synclog:   config.LogOutput{Stderr: true, File: file},
	})
	if l != nil || err == nil {
		t.Fatalf("got %v, %v", l, err)
	}
	for _, want := range []string{
		`Logging.Mainlog: level "loud" is not one of trace, debug, info, warn, error, disabled` + "\n",
		fmt.Sprintf("Logging.Mainlog: cannot open log file %q: no such file or directory\n", file),
		`Logging.Mainlog: cannot reach syslog for facility "local0": nobody there` + "\n",
		`Logging.Accesslog: syslog facility "local9" is not one of kern, user,`,
		fmt.Sprintf("Logging.Synclog: cannot open log file %q: no such file or directory\n", file),
	} {
		if !strings.Contains(err.Error()+"\n", want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

func TestLogsLevelsAndTime(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) config.LogOutput {
		return config.LogOutput{File: filepath.Join(dir, name), Level: "warn"}
	}
	l, err := Open(config.LoggingConfig{Mainlog: in("main"), Accesslog: in("access"), Synclog: in("sync")})
	testkit.MustDo(t, err)
	defer l.Close()
	before := time.Now()
	l.Main.Info().Msg("left out")
	l.Main.Warn().Msg("told")
	l.Access.Log().Msg("told") // an access line has no level
	mustWrite(t, l.Sync, "told\n")
	mustFlush(t, l)
	for _, name := range []string{"main", "access", "sync"} {
		if got := testkit.MustReadFile(t, filepath.Join(dir, name)); strings.Count(got, "\n") != 1 || !strings.Contains(got, "told") {
			t.Errorf("%s holds %q", name, got)
		}
	}
	var line struct{ TS, Level, Message string }
	testkit.MustDo(t, json.Unmarshal([]byte(testkit.MustReadFile(t, filepath.Join(dir, "main"))), &line))
	ts, err := time.Parse(time.RFC3339Nano, line.TS)
	if err != nil || !strings.HasSuffix(line.TS, "Z") || len(line.TS) != 30 || ts.Before(before) || ts.After(time.Now()) {
		t.Errorf("ts %q: %v", line.TS, err)
	}
	if line.Level != "warn" || line.Message != "told" {
		t.Errorf("main line %+v", line)
	}

	for _, name := range []string{"main", "access", "sync"} {
		testkit.MustDo(t, os.Rename(filepath.Join(dir, name), filepath.Join(dir, name+".1")))
	}
	testkit.MustDo(t, l.Reopen())
	for _, name := range []string{"main", "access", "sync"} {
		if got := testkit.MustReadFile(t, filepath.Join(dir, name)); got != "" {
			t.Errorf("%s holds %q after it was reopened", name, got)
		}
	}
	testkit.MustDo(t, l.Close())
	if err := l.Reopen(); !errors.Is(err, fs.ErrClosed) || !strings.Contains(err.Error(), "Logging.Accesslog: ") {
		t.Errorf("reopen after close: %v", err)
	}
}
