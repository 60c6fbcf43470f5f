package demo

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/text"
)

// Bucket exists from the start.
const Bucket = "demo"

// Options are the flags of `akubra demo`.
type Options struct {
	Break  string // the name of the backend to stop at the start, or ""
	Dir    string
	Listen string
	Admin  string
}

// StartBackends returns the backends that it made, even with an error.
func StartBackends(o *Options) (backends []*Backend, err error) {
	for _, name := range []string{"first", "second"} {
		s, err := NewBackend(name, o.Dir, Bucket)
		if err != nil {
			return backends, err
		}
		backends = append(backends, s)
		if err := s.firstStart(); err != nil {
			return backends, err
		}
	}
	for _, s := range backends {
		if s.Name == o.Break {
			s.Stop() // its address is known now
		}
	}
	return backends, nil
}

// Config is the configuration of the proxy in front of backends, checked. Its times are short,
// because the demo's backends are near and fail often.
func Config(o *Options, backends []*Backend) (*config.Config, error) {
	config := config.Default()
	config.Listen = o.Listen
	config.AdminListen = o.Admin
	config.ConnectionTimeout = 5 * time.Second
	config.ConnectionDialTimeout = time.Second
	config.ShutdownTimeout = 5 * time.Second
	config.FailureLimit = 3
	// Beside the backends' directories, not where a real proxy's journal would be.
	config.DataDir = filepath.Join(o.Dir, "demo")
	config.Credentials.AccessKey, config.Credentials.SecretKey = "demo", "demo"
	for _, s := range backends {
		config.Backends = append(config.Backends, "http://"+s.Addr)
	}
	err := config.Complete()
	return config, err
}

// Logs writes the logs to the screen, each line with its log's name.
func Logs(out *Screen) *logs.Logs {
	return logs.Plain(out.named("mainlog: "), out.named("synclog: "))
}

// Keys explains what may be typed.
const Keys = `Type 1 or 2 and Enter to stop or start a backend, q and Enter (or Ctrl-C) to end.
`

// Welcome is the screen's first text, for a proxy at addr with its admin listener at admin, or
// without one if admin is "".
func Welcome(version, addr, admin string, backends []*Backend, dir string) string {
	var b strings.Builder
	url := "http://" + text.Dialable(addr)
	fmt.Fprintf(&b, "Akubra %s: what you put into bucket %q here arrives on both backends.\n\n", version, Bucket)
	fmt.Fprintf(&b, "  proxy         %s\n", url)
	for i, s := range backends {
		fmt.Fprintf(&b, "  %d %-6s backend http://%s  its objects are files in %s%s\n", i+1, s.Name, s.Addr, s.objects,
			map[bool]string{true: "", false: "  (stopped)"}[s.running()])
	}
	if admin != "" {
		fmt.Fprintf(&b, "  live page     http://%s/  what each backend lacks, and how that shrinks\n", text.Dialable(admin))
	}
	aws := "AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo aws --endpoint-url " + url
	copies := filepath.Join(dir, "*", "buckets", Bucket)
	fmt.Fprintf(&b, `
Try it in another terminal, with any S3 client and any credentials:

  date > date.txt
  %[1]s s3 cp date.txt s3://%[2]s/date.txt
  %[1]s s3 ls s3://%[2]s/
  %[1]s s3 cp s3://%[2]s/date.txt -
  head %[3]s/date.txt

or with curl alone:

  curl -X PUT --data-binary "hello" %[4]s/%[2]s/hello.txt
  curl %[4]s/%[2]s/hello.txt
  head %[3]s/hello.txt

Then stop a backend and put an object again. The client notices nothing. A line here says
what the backend missed: that is the synclog. Start the backend: it gets what it missed, and
a second line says so. A file that the client uploads in parts (aws: from 8 MiB on) goes to
one backend first, and is then copied to the other in the same way.

`, aws, Bucket, copies, url)
	b.WriteString(Keys)
	return b.String()
}

// Toggle stops or starts the backend and returns what that means.
func (s *Backend) Toggle() string {
	if s.running() {
		s.Stop()
		return fmt.Sprintf("The %s backend (%s) is stopped: the synclog will name what it misses.\n", s.Name, s.Addr)
	}
	if err := s.Start(); err != nil {
		return fmt.Sprintf("%v\n", err)
	}
	return fmt.Sprintf("The %s backend (%s) is started: within seconds it gets what it missed, and from now on what is put.\n", s.Name, s.Addr)
}

// Screen keeps lines from many goroutines whole.
type Screen struct {
	mu sync.Mutex
	W  io.Writer
}

// Print writes text unchanged.
func (s *Screen) Print(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = io.WriteString(s.W, text) // a closed screen stops nothing
}

// named writes a log to the screen.
func (s *Screen) named(prefix string) io.Writer { return &namedLog{s, prefix} }

type namedLog struct {
	screen *Screen
	prefix string
}

func (l *namedLog) Write(line []byte) (int, error) {
	l.screen.Print(l.prefix + string(line))
	return len(line), nil
}
