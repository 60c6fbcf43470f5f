package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/service"
	"github.com/akubra/akubra/internal/text"
)

const demoBucket = "demo"

// demoOptions are the flags of `akubra demo`.
type demoOptions struct {
	breaks string // the name of the store to stop at the start, or ""
	dir    string
	listen string
	admin  string
}

func demoCommand(app *kingpin.Application) (*kingpin.CmdClause, *demoOptions) {
	o := &demoOptions{}
	cmd := app.Command("demo", "Serve in front of two S3 stores of its own, to try it out. Needs no configuration.")
	cmd.Flag("break", "Stop a store at the start: first or second.").PlaceHolder("STORE").EnumVar(&o.breaks, "first", "second")
	cmd.Flag("dir", "Where the stores keep their objects.").Default("data").StringVar(&o.dir)
	// The stores check no signatures, so nobody else is let in by default.
	cmd.Flag("listen", "Where to serve.").Default("127.0.0.1:8080").StringVar(&o.listen)
	cmd.Flag("admin", "Where to serve metrics and the like; \"\" is nowhere.").Default("127.0.0.1:8071").StringVar(&o.admin)
	return cmd, o
}

// demo runs the proxy in front of two stores in this process, until q or a signal.
func (c *cli) demo(o *demoOptions) int {
	signals, unsubscribe := c.subscribe()
	defer unsubscribe()
	stores, err := startDemoStores(o)
	defer func() {
		for _, s := range stores {
			s.stop()
		}
	}()
	if err != nil {
		fmt.Fprintf(c.stderr, "akubra: %v\n", err)
		return exitFailed
	}
	config, err := demoConfig(o, stores)
	if err != nil {
		return c.wrong(err)
	}
	screen := &screen{w: c.stdout}
	l := demoLogs(screen)
	p, err := service.New(config, l, version)
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		fmt.Fprintf(c.stderr, "akubra: %v\n", err)
		if errors.Is(err, syscall.EADDRINUSE) {
			fmt.Fprintln(c.stderr, "Something else listens there. Choose another address with --listen HOST:PORT or --admin HOST:PORT.")
		}
		return exitFailed
	}
	screen.print(demoWelcome(p, stores, o.dir))
	if c.started != nil {
		c.started(p)
	}
	lines := readLines(c.stdin)
	for {
		select {
		case <-signals:
			return stop(p, l, signals)
		case err := <-p.Failed:
			fmt.Fprintf(c.stderr, "akubra: %v\n", err)
			_ = stop(p, l, signals)
			return exitFailed
		case line, ok := <-lines:
			switch {
			case !ok:
				lines = nil // nobody types: signals are left
			case line == "1", line == "2":
				screen.print(stores[line[0]-'1'].toggle())
			case line == "q":
				return stop(p, l, signals)
			case line != "":
				screen.print(demoKeys)
			}
		}
	}
}

// startDemoStores returns the stores that it made, even with an error.
func startDemoStores(o *demoOptions) (stores []*demoStore, err error) {
	for _, name := range []string{"first", "second"} {
		s, err := newDemoStore(name, o.dir, demoBucket)
		if err != nil {
			return stores, err
		}
		stores = append(stores, s)
		if err := s.firstStart(); err != nil {
			return stores, err
		}
	}
	for _, s := range stores {
		if s.name == o.breaks {
			s.stop() // its address is known now, and nobody else's
		}
	}
	return stores, nil
}

// demoConfig has short times, for the demo's backends are near and break often.
func demoConfig(o *demoOptions, stores []*demoStore) (*config.Config, error) {
	config := config.Default()
	config.Listen = o.listen
	config.AdminListen = o.admin
	config.ConnectionTimeout = 5 * time.Second
	config.ConnectionDialTimeout = time.Second
	config.ShutdownTimeout = 5 * time.Second
	config.FailureLimit = 3
	// Beside the stores' directories, and not where a proxy's own journal would be.
	config.DataDir = filepath.Join(o.dir, "demo")
	config.Credentials.AccessKey, config.Credentials.SecretKey = "demo", "demo"
	config.Repair.Enabled = true
	for _, s := range stores {
		config.Backends = append(config.Backends, "http://"+s.addr)
	}
	return config, config.Complete()
}

// demoLogs go to the screen, each line with its log's name.
func demoLogs(out *screen) *logs.Logs {
	return logs.Plain(out.named("mainlog: "), out.named("synclog: "))
}

const demoKeys = `Type 1 or 2 and Enter to stop or start a store, q and Enter (or Ctrl-C) to end.
`

func demoWelcome(p *service.Proxy, stores []*demoStore, dir string) string {
	var b strings.Builder
	url := "http://" + text.Dialable(p.Addr())
	fmt.Fprintf(&b, "Akubra %s: what you put into bucket %q here arrives in both stores.\n\n", version, demoBucket)
	fmt.Fprintf(&b, "  proxy         %s\n", url)
	for i, s := range stores {
		fmt.Fprintf(&b, "  %d %-6s store http://%s  its objects are files in %s%s\n", i+1, s.name, s.addr, s.objects,
			map[bool]string{true: "", false: "  (stopped)"}[s.running()])
	}
	if p.AdminAddr() != "" {
		fmt.Fprintf(&b, "  admin         http://%s/status\n", text.Dialable(p.AdminAddr()))
	}
	aws := "AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo aws --endpoint-url " + url
	copies := filepath.Join(dir, "*", "buckets", demoBucket)
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

`, aws, demoBucket, copies, url)
	b.WriteString(demoKeys)
	return b.String()
}

// toggle stops or starts the store and says what that means.
func (s *demoStore) toggle() string {
	if s.running() {
		s.stop()
		return fmt.Sprintf("The %s store (%s) is stopped: the synclog will name what it misses.\n", s.name, s.addr)
	}
	if err := s.start(); err != nil {
		return fmt.Sprintf("%v\n", err)
	}
	return fmt.Sprintf("The %s store (%s) is started: it gets what it missed, and what is put from now on, within seconds.\n", s.name, s.addr)
}

// readLines reads what is typed, up to its end. Its goroutine ends with the process:
// nothing can call a read of a terminal back.
func readLines(r io.Reader) <-chan string {
	// In the background of a shell a read fails instead of stopping the process.
	signal.Ignore(syscall.SIGTTIN)
	lines := make(chan string)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(r); in.Scan(); {
			lines <- strings.TrimSpace(in.Text())
		}
	}()
	return lines
}

// screen keeps the lines of many goroutines whole.
type screen struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *screen) print(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = io.WriteString(s.w, text) // a screen that is gone stops nothing
}

// named is a log's way to the screen.
func (s *screen) named(prefix string) io.Writer { return &namedLog{s, prefix} }

type namedLog struct {
	screen *screen
	prefix string
}

func (l *namedLog) Write(line []byte) (int, error) {
	l.screen.print(l.prefix + string(line))
	return len(line), nil
}
