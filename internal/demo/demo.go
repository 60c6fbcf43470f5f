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

// Bucket is there from the start.
const Bucket = "demo"

// Options are the flags of `akubra demo`.
type Options struct {
	Break  string // the name of the store to stop at the start, or ""
	Dir    string
	Listen string
	Admin  string
}

// StartStores returns the stores that it made, even with an error.
func StartStores(o *Options) (stores []*Store, err error) {
	for _, name := range []string{"first", "second"} {
		s, err := NewStore(name, o.Dir, Bucket)
		if err != nil {
			return stores, err
		}
		stores = append(stores, s)
		if err := s.firstStart(); err != nil {
			return stores, err
		}
	}
	for _, s := range stores {
		if s.Name == o.Break {
			s.Stop() // its address is known now, and nobody else's
		}
	}
	return stores, nil
}

// Config is the configuration of the proxy in front of stores, checked. It has
// short times, for the demo's backends are near and break often.
func Config(o *Options, stores []*Store) (*config.Config, error) {
	config := config.Default()
	config.Listen = o.Listen
	config.AdminListen = o.Admin
	config.ConnectionTimeout = 5 * time.Second
	config.ConnectionDialTimeout = time.Second
	config.ShutdownTimeout = 5 * time.Second
	config.FailureLimit = 3
	// Beside the stores' directories, and not where a proxy's own journal would be.
	config.DataDir = filepath.Join(o.Dir, "demo")
	config.Credentials.AccessKey, config.Credentials.SecretKey = "demo", "demo"
	for _, s := range stores {
		config.Backends = append(config.Backends, "http://"+s.Addr)
	}
	err := config.Complete()
	return config, err
}

// Logs go to the screen, each line with its log's name.
func Logs(out *Screen) *logs.Logs {
	return logs.Plain(out.named("mainlog: "), out.named("synclog: "))
}

// Keys is what may be typed.
const Keys = `Type 1 or 2 and Enter to stop or start a store, q and Enter (or Ctrl-C) to end.
`

// Welcome is what the screen says at the start, of a proxy that serves at addr, and operators
// at admin unless that is "".
func Welcome(version, addr, admin string, stores []*Store, dir string) string {
	var b strings.Builder
	url := "http://" + text.Dialable(addr)
	fmt.Fprintf(&b, "Akubra %s: what you put into bucket %q here arrives in both stores.\n\n", version, Bucket)
	fmt.Fprintf(&b, "  proxy         %s\n", url)
	for i, s := range stores {
		fmt.Fprintf(&b, "  %d %-6s store http://%s  its objects are files in %s%s\n", i+1, s.Name, s.Addr, s.objects,
			map[bool]string{true: "", false: "  (stopped)"}[s.running()])
	}
	if admin != "" {
		fmt.Fprintf(&b, "  admin         http://%s/status\n", text.Dialable(admin))
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

Then stop a store and put an object again. The client notices nothing; what the
store missed is a line of the synclog, and is printed here. Start the store, and it
gets what it missed, which is another line. A file that the client uploads in parts
(aws: from 8 MB on) goes to one store, and comes to the other one in the same way.

`, aws, Bucket, copies, url)
	b.WriteString(Keys)
	return b.String()
}

// Toggle stops or starts the store and says what that means.
func (s *Store) Toggle() string {
	if s.running() {
		s.Stop()
		return fmt.Sprintf("The %s store (%s) is stopped: the synclog will name what it misses.\n", s.Name, s.Addr)
	}
	if err := s.Start(); err != nil {
		return fmt.Sprintf("%v\n", err)
	}
	return fmt.Sprintf("The %s store (%s) is started: it gets what it missed, and what is put from now on, within seconds.\n", s.Name, s.Addr)
}

// Screen keeps the lines of many goroutines whole.
type Screen struct {
	mu sync.Mutex
	W  io.Writer
}

// Print writes text as it is.
func (s *Screen) Print(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = io.WriteString(s.W, text) // a screen that is gone stops nothing
}

// named is a log's way to the screen.
func (s *Screen) named(prefix string) io.Writer { return &namedLog{s, prefix} }

type namedLog struct {
	screen *Screen
	prefix string
}

func (l *namedLog) Write(line []byte) (int, error) {
	l.screen.Print(l.prefix + string(line))
	return len(line), nil
}
