package logs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/syslog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"github.com/rs/zerolog"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/testkit"
)

// stalledSyslog is a daemon's socket that nobody reads from.
func stalledSyslog(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	daemon, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	testkit.MustDo(t, err)
	saved := dialSyslog
	dialSyslog = func(p syslog.Priority, tag string) (*syslog.Writer, error) {
		return syslog.Dial("unixgram", path, p, tag)
	}
	t.Cleanup(func() {
		dialSyslog = saved
		_ = daemon.Close()
	})
	return daemon
}

func mustFIFO(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	testkit.MustDo(t, syscall.Mkfifo(path, 0o600))
	return path
}

// TestR23LogNeverHoldsWhoLogs: whatever kind of reader stopped, logging goes on and what is queued
// is bounded. When the reader is back, it gets the queued lines in order and is told how many are
// missing.
func TestR23LogNeverHoldsWhoLogs(t *testing.T) {
	const lines = 3*MaxQueuedLines + 17
	for _, c := range []struct {
		name string
		open func(t *testing.T) (config.LogOutput, func() io.Reader)
	}{
		{"full pipe", func(t *testing.T) (config.LogOutput, func() io.Reader) {
			r := testkit.MustPipeStderr(t)
			return config.LogOutput{Stderr: true}, func() io.Reader { return r }
		}},
		{"named pipe", func(t *testing.T) (config.LogOutput, func() io.Reader) {
			path := mustFIFO(t)
			return config.LogOutput{File: path}, func() io.Reader {
				r, err := os.Open(path)
				testkit.MustDo(t, err)
				t.Cleanup(func() { _ = r.Close() })
				return r
			}
		}},
		{"stalled syslog", func(t *testing.T) (config.LogOutput, func() io.Reader) {
			daemon := stalledSyslog(t)
			return config.LogOutput{Syslog: "local0"}, func() io.Reader { return &datagrams{conn: daemon} }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			out, reader := c.open(t)
			main := filepath.Join(t.TempDir(), "main.log")
			var l *Logs
			testkit.Finish(t, "openLogs", func() {
				var err error
				if l, err = Open(config.LoggingConfig{Mainlog: config.LogOutput{File: main}, Accesslog: out}); err != nil {
					t.Error(err)
				}
			})
			testkit.Finish(t, "logging", func() {
				for i := range lines {
					l.Access.Log().Int("i", i).Send()
				}
			})
			s := l.States()[1]
			if s.Log != "accesslog" || s.Waiting > MaxQueuedLines || s.Lost == 0 || s.Waiting+int(s.Lost) > lines {
				t.Fatalf("of %d lines %d wait and %d are lost", lines, s.Waiting, s.Lost)
			}
			read := bufio.NewScanner(reader())
			last := -1
			for range lines - int(s.Lost) {
				if !read.Scan() {
					t.Fatalf("after line %d: %v", last, read.Err())
				}
				var i int
				_, text, _ := strings.Cut(read.Text(), "{")
				if n, err := fmt.Sscanf(text, `"i":%d}`, &i); n != 1 || i <= last {
					t.Fatalf("after line %d comes %q: %v", last, read.Text(), err)
				}
				last = i
			}
			mustFlush(t, l)
			testkit.Finish(t, "closing", func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
			told := testkit.MustReadFile(t, main)
			if strings.Count(told, "cannot write a log") != 1 ||
				strings.Count(told, fmt.Sprintf(`"lines":%d,`, s.Lost)) != 1 || strings.Count(told, "but lines were lost") != 1 {
				t.Errorf("main log after %d lost lines: %s", s.Lost, told)
			}
		})
	}
}

// datagrams makes a line of each datagram.
type datagrams struct {
	conn *net.UnixConn
	rest []byte
}

func (d *datagrams) Read(p []byte) (int, error) {
	if len(d.rest) == 0 {
		b := make([]byte, 64<<10)
		n, err := d.conn.Read(b)
		if err != nil {
			return 0, err
		}
		d.rest = append(bytes.TrimRight(b[:n], "\n"), '\n')
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// TestR23LogCloseIsBounded: a reader that takes nothing does not keep the process from ending.
func TestR23LogCloseIsBounded(t *testing.T) {
	reader := testkit.MustPipeStderr(t)
	daemon := stalledSyslog(t)
	l, err := Open(config.LoggingConfig{
		Mainlog: config.LogOutput{Stderr: true}, Accesslog: config.LogOutput{Syslog: "user"}, Synclog: config.LogOutput{File: mustFIFO(t)},
	})
	testkit.MustDo(t, err)
	line := strings.Repeat("x", 1000)
	for range 1000 {
		l.Main.Info().Msg(line)
		l.Access.Log().Msg(line)
		_, _ = io.WriteString(l.Sync, line+"\n")
	}
	testkit.Finish(t, "closing", func() { err = l.Close() })
	for _, name := range []string{"Logging.Mainlog: ", "Logging.Accesslog: ", "Logging.Synclog: "} {
		if !strings.Contains(fmt.Sprint(err), name+"cannot write the last ") {
			t.Errorf("no %q in: %v", name, err)
		}
	}
	// The goroutines that the end of the process would have ended.
	_ = reader.Close()
	_ = daemon.Close()
	for _, s := range l.outputs {
		for _, q := range s.out.Load().sinks {
			testkit.Receive(t, "the end", q.done)
		}
	}
}

// TestR23ReopenPassesAWriteThatHangs: the new file gets the lines from then on.
func TestR23ReopenPassesAWriteThatHangs(t *testing.T) {
	testkit.NoLeaks(t)
	path := mustFIFO(t)
	o := mustOpenOutput(t, config.LogOutput{File: path})
	line := strings.Repeat("x", 1000) + "\n"
	for range 200 { // more than a pipe holds
		_, _ = io.WriteString(o, line)
	}
	testkit.MustDo(t, os.Rename(path, path+".1"))
	testkit.Finish(t, "reopening", func() {
		if err := o.reopen(); err != nil {
			t.Error(err)
		}
	})
	mustWrite(t, o, "after\n")
	got := testkit.MustReadFile(t, path)
	if !strings.HasSuffix(got, line+"after\n") || strings.Trim(got, "x\n") != "after" || len(got)%len(line) != len("after\n") {
		t.Errorf("the new file does not hold whole lines: it ends with %q", got[max(0, len(got)-20):])
	}
}

// TestR23FullDiskLosesNoLine: what could not be written is written once there is room again.
func TestR23FullDiskLosesNoLine(t *testing.T) {
	disk := &testkit.Gate{Text: testkit.NewTranscript(), Err: errors.New("disk full")}
	o := &Output{}
	o.add("disk", &logFile{f: keptOpen{disk}})
	trouble, revived := make(chan error, 10), make(chan uint64, 10)
	o.Start(func(_ *Queue, err error) { trouble <- err }, func(_ *Queue, lost uint64) { revived <- lost })
	for _, line := range []string{"one\n", "two\n"} {
		if _, err := io.WriteString(o, line); err != nil {
			t.Error(err)
		}
	}
	if err := testkit.Receive(t, "the trouble", trouble); !errors.Is(err, disk.Err) {
		t.Errorf("told of %v", err)
	}
	disk.Open()
	if lost := testkit.Receive(t, "its revival", revived); lost != 0 {
		t.Errorf("%d lines lost", lost)
	}
	if err := o.Close(); err != nil || disk.Text.String() != "one\ntwo\n" {
		t.Errorf("it holds %q, %v", disk.Text, err)
	}
	if len(trouble) > 0 {
		t.Errorf("told once more, of %v", testkit.Receive(t, "the trouble", trouble))
	}
}

// TestLineTooLongForADatagram: it is lost, but the next one is not.
func TestLineTooLongForADatagram(t *testing.T) {
	daemon := stalledSyslog(t)
	o := mustOpenOutput(t, config.LogOutput{Syslog: "user"})
	_, _ = io.WriteString(o, strings.Repeat("x", 1<<20)+"\n")
	mustWrite(t, o, "short\n")
	read := bufio.NewScanner(&datagrams{conn: daemon})
	if !read.Scan() || !strings.HasSuffix(read.Text(), "short") {
		t.Errorf("got %q, %v", read.Text(), read.Err())
	}
	if _, lost := o.sinks[0].state(); lost != 1 {
		t.Errorf("%d lost", lost)
	}
}

// TestLineLargerThanTheQueue: it is accepted alone, so that the limit does not exclude it forever.
func TestLineLargerThanTheQueue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	o := mustOpenOutput(t, config.LogOutput{File: path})
	long := strings.Repeat("x", maxQueuedBytes+1) + "\n"
	mustWrite(t, o, long)
	if testkit.MustReadFile(t, path) != long {
		t.Error("it is not written")
	}
}

func TestLogAllocatesNothing(t *testing.T) {
	o := &Output{}
	o.add("nowhere", &logFile{f: keptOpen{io.Discard}})
	o.Start(nil, nil)
	defer o.Close()
	line := []byte(strings.Repeat("x", 300) + "\n")
	if n := testing.AllocsPerRun(2000, func() { _, _ = o.WriteLevel(zerolog.NoLevel, line) }); n > 0.1 {
		t.Errorf("%v allocations a line", n)
	}
}

func mustOpen(t *testing.T, c config.LoggingConfig) *Logs {
	t.Helper()
	l, err := Open(c)
	testkit.MustDo(t, err)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// TestR37ControlsAreEscaped: in every log, as JSON escapes, and with them what a terminal shows as
// something else than it is.
func TestR37ControlsAreEscaped(t *testing.T) {
	main, access := filepath.Join(t.TempDir(), "main"), filepath.Join(t.TempDir(), "access")
	l := mustOpen(t, config.LoggingConfig{Mainlog: config.LogOutput{File: main}, Accesslog: config.LogOutput{File: access}})
	const text = "a\x00\x1b[31m\n\r\t\x7f\u0080\u0085\u009b31m\u009f\u2028\u2029\u00ad\u061c\u200b\u202egnp\u2066\ufeff\U000e0041é日𝄞\u00a0"
	l.Main.Warn().Str("k", text).Msg(text)
	l.Main.Warn().Interface("k", text).Err(errors.New(text)).Msg(text)
	l.Access.Log().Str("path", text).Str("useragent", text).Str("bad", "x\x9b\xff").Send()
	mustFlush(t, l)
	for _, path := range []string{main, access} {
		for line := range strings.Lines(testkit.MustReadFile(t, path)) {
			for _, c := range strings.TrimSuffix(line, "\n") {
				if c < ' ' || c >= 0x7f && c <= 0x9f || c == '\u2028' || c == '\u2029' || unicode.Is(unicode.Cf, c) {
					t.Errorf("%U in %q", c, line)
				}
			}
			var got map[string]string
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatalf("%v: %q", err, line)
			}
			for key, value := range got {
				if key != "level" && key != "ts" && key != "bad" && value != text {
					t.Errorf("%s is %q", key, value)
				}
			}
		}
	}
}
