package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/text"
)

// operateCommands are the commands about the running proxy, which they ask through AdminListen.
type operateCommands struct {
	status, on, off, reload *kingpin.CmdClause
	watch, json             bool
	backend                 string
}

func newOperateCommands(app *kingpin.Application) *operateCommands {
	o := &operateCommands{}
	o.status = app.Command("status", "Show the state of the running proxy and its backends. Exit code 1 if it is not ready.")
	o.status.Flag("watch", "Keep showing it until stopped.").BoolVar(&o.watch)
	o.status.Flag("json", "Print the proxy's own JSON.").BoolVar(&o.json)
	o.reload = app.Command("reload", "Have the running proxy read its configuration again, and say what became of it. Exit code 1 if something needs a restart, 2 if nothing was changed because of a mistake.")
	o.reload.Flag("json", "Print the proxy's own JSON.").BoolVar(&o.json)
	maintenance := app.Command("maintenance", "Take a backend of the running proxy into or out of maintenance. This survives a restart.")
	o.on = maintenance.Command("on", "The backend gets no requests; what is written meanwhile is repaired afterwards.")
	o.off = maintenance.Command("off", "The backend gets requests again.")
	for _, cmd := range []*kingpin.CmdClause{o.on, o.off} {
		cmd.Arg("backend", "Its HOST:PORT, or its URL.").Required().StringVar(&o.backend)
	}
	return o
}

func (o *operateCommands) is(command string) bool {
	return slices.Contains([]string{o.status.FullCommand(), o.on.FullCommand(), o.off.FullCommand(), o.reload.FullCommand()}, command)
}

func (o *operateCommands) run(c *cli, conf *config.Config, command string) int {
	ctx, stop := c.untilSignal()
	defer stop()
	switch command {
	case o.on.FullCommand():
		return c.maintain(ctx, conf, o.backend, http.MethodPost)
	case o.off.FullCommand():
		return c.maintain(ctx, conf, o.backend, http.MethodDelete)
	case o.reload.FullCommand():
		return c.reload(ctx, conf, o.json)
	}
	if o.watch {
		return c.watchStatus(ctx, conf, o.json)
	}
	return c.showStatus(ctx, conf, o.json, c.stdout)
}

const (
	adminTimeout  = 10 * time.Second
	watchInterval = time.Second
	maxStatus     = 4 << 20
)

// askAdmin sends a request to the running proxy. Any status but 200 is an error, in the proxy's
// words.
func askAdmin(ctx context.Context, conf *config.Config, method, path string) ([]byte, error) {
	status, body, err := sendAdmin(ctx, conf, adminTimeout, method, path)
	if err == nil && status != http.StatusOK {
		err = adminProblem(status, body)
	}
	return body, err
}

// adminProblem is what the proxy says in an answer that is not the one asked for.
func adminProblem(status int, body []byte) error {
	var problem struct{ Error string }
	_ = json.Unmarshal(body, &problem)
	if status == http.StatusUnauthorized {
		return errors.New("the proxy does not take the AdminToken of this file: if that was changed there, SIGHUP has the proxy read it (systemctl kill --signal=HUP akubra)")
	}
	return errors.New(cmp.Or(text.Printable(problem.Error), fmt.Sprintf("%d %s", status, http.StatusText(status))))
}

// sendAdmin sends a request to the running proxy, and returns its answer.
func sendAdmin(ctx context.Context, conf *config.Config, timeout time.Duration, method, path string) (status int, body []byte, err error) {
	if conf.AdminListen == "" {
		return 0, nil, errors.New("cannot reach the running proxy: AdminListen is off")
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+text.Dialable(conf.AdminListen)+path, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	if conf.AdminToken != "" {
		req.Header.Set("Authorization", "Bearer "+string(conf.AdminToken))
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // ignores HTTP_PROXY
	resp, err := client.Do(req)
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return 0, nil, fmt.Errorf("cannot reach a running proxy at AdminListen (%s): %w", conf.AdminListen, ue.Err)
	}
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxStatus))
	return resp.StatusCode, body, err
}

// maintain starts or ends a backend's maintenance (R14).
func (c *cli) maintain(ctx context.Context, conf *config.Config, backend, method string) int {
	name := backendNamed(conf, backend)
	if name == "" {
		return c.wrong(noBackend(backend, conf.BackendNames()))
	}
	body, err := askAdmin(ctx, conf, method, "/backends/"+url.PathEscape(name)+"/maintenance")
	if err != nil {
		return c.failed(err)
	}
	var answer struct{ Warning string }
	_ = json.Unmarshal(body, &answer) // an older proxy has none
	said := "is in maintenance: it gets no requests"
	if method == http.MethodDelete {
		said = "is out of maintenance"
	}
	fmt.Fprintf(c.stdout, "%s %s\n", name, said)
	if answer.Warning != "" {
		fmt.Fprintf(c.stderr, "akubra: warning: %s\n", text.Printable(answer.Warning))
	}
	return exitOK
}

// proxyStatus is the part of /status that is shown.
type proxyStatus struct {
	Sentence string
	Version  string
	Uptime   string
	Ready    bool
	InFlight int
	Backends []struct {
		Name          string
		State, Reason string
		Busy, Stalled int
		Health        struct {
			Silent    bool
			Failing   []failure
			LastError *failure
		}
	}
	Journal struct {
		Backends map[string]int
	}
	Certificates []certificate
}

type certificate struct {
	Use, Key string
	Until    time.Time
}

// soon is how long before its end a certificate is shown, as akubra check warns of it.
const soon = 14 * 24 * time.Hour

// warn says when a certificate expires; "" if that is not soon.
func (c *certificate) warn(now time.Time) string {
	what := map[string]string{
		"listener": "the certificate that clients see (%s)", "backend": "the certificate of backend %s",
		"client": "the certificate that backends see (%s)", "ca": "an authority for the backends' certificates (%s)",
	}[c.Use]
	if what == "" || c.Until.Sub(now) >= soon {
		return ""
	}
	what = fmt.Sprintf(what, text.Printable(c.Key))
	if now.After(c.Until) {
		return fmt.Sprintf("%s expired on %s", what, c.Until.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("%s expires on %s", what, c.Until.UTC().Format(time.RFC3339))
}

type failure struct {
	Means, Error string
	Since, Last  time.Time
	Count        uint64
}

func (c *cli) showStatus(ctx context.Context, conf *config.Config, asJSON bool, w io.Writer) int {
	body, err := askAdmin(ctx, conf, http.MethodGet, "/status")
	if err != nil {
		return c.failed(err)
	}
	var s proxyStatus
	if err := json.Unmarshal(body, &s); err != nil {
		return c.failed(fmt.Errorf("cannot read the proxy's status: %w", err))
	}
	if asJSON {
		_, _ = w.Write(body)
	} else {
		s.write(w, time.Now())
	}
	if !s.Ready {
		return exitFailed
	}
	return exitOK
}

// write shows the status: a sentence, a line per backend, and why those that fail do so.
func (s *proxyStatus) write(w io.Writer, now time.Time) {
	fmt.Fprintf(w, "%s\n\n", text.Printable(s.Sentence))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "BACKEND\tSTATE\tBUSY\tSTALLED\tOWES")
	for i := range s.Backends {
		b := &s.Backends[i]
		state := b.State
		switch {
		case b.Health.Silent:
			state += ", silent"
		case len(b.Health.Failing) > 0:
			state += ", failing"
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\n", text.Printable(b.Name), text.Printable(state), b.Busy, b.Stalled, s.Journal.Backends[b.Name])
	}
	_ = table.Flush() // to a terminal
	for i := range s.Backends {
		b := &s.Backends[i]
		for _, f := range b.Health.Failing {
			fmt.Fprintf(w, "\n%s fails: %s\n  %s (%s since %s)\n", text.Printable(b.Name), text.Printable(f.Means), text.Printable(f.Error),
				times(f.Count), f.Since.Local().Format(time.DateTime+" MST"))
		}
		if l := b.Health.LastError; l != nil && len(b.Health.Failing) == 0 {
			fmt.Fprintf(w, "\n%s: last error %v ago (by the clocks of the proxy and of this machine), now over: %s\n", text.Printable(b.Name), now.Sub(l.Last).Round(time.Second), text.Printable(l.Error))
		}
	}
	for i := range s.Certificates {
		if line := s.Certificates[i].warn(now); line != "" {
			fmt.Fprintf(w, "\nwarning: %s\n", line)
		}
	}
	fmt.Fprintf(w, "\nakubra %s, up %s, %s in flight\n", text.Printable(s.Version), text.Printable(s.Uptime), count(s.InFlight, "request"))
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// watchStatus shows the status repeatedly, on a terminal always in the same place.
func (c *cli) watchStatus(ctx context.Context, conf *config.Config, asJSON bool) int {
	terminal := newProgress(c.stdout).terminal
	for {
		var screen strings.Builder
		exit := c.showStatus(ctx, conf, asJSON, &screen)
		if ctx.Err() != nil {
			return exit
		}
		if terminal {
			fmt.Fprint(c.stdout, "\x1b[H\x1b[2J")
		}
		if _, err := fmt.Fprint(c.stdout, screen.String()); err != nil {
			return exit // nobody can see it
		}
		select {
		case <-ctx.Done():
			return exit
		case <-time.After(watchInterval):
		}
	}
}

// showVersion prints what this program is, for bug reports.
func (c *cli) showVersion() int {
	fmt.Fprintf(c.stdout, "akubra %s\n%s %s/%s\n", c.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitOK
}
