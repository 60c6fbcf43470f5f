package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/service"
	"github.com/akubra/akubra/internal/text"
)

const (
	// reloadPatience is how long a reload keeps everybody from further signals: a file system that
	// hangs must not do so for ever (R23).
	reloadPatience = 10 * time.Second
	// reloadTimeout is how long `akubra reload` waits: outputs of logs that nobody reads, and a
	// repair under way, may keep a reload for a moment.
	reloadTimeout = 25 * time.Second
)

// reloadRefused comes before the mistakes, whoever has found them: the command, which reads the file too, or
// the proxy.
const reloadRefused = "refused, and all stays as it was:"

// reload has the proxy read its configuration again, on SIGHUP. The main log says what became of it.
func reload(p *service.Proxy) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Reload("SIGHUP")
	}()
	select {
	case <-done:
	case <-time.After(reloadPatience):
	}
}

// reload has the running proxy read its configuration again, and says what became of it (R22).
func (c *cli) reload(ctx context.Context, conf *config.Config, asJSON bool) int {
	status, body, err := sendAdmin(ctx, conf, reloadTimeout, http.MethodPost, "/configuration/reload")
	if err != nil {
		return c.failed(err)
	}
	var r service.Reloaded
	if err := json.Unmarshal(body, &r); err != nil || status != http.StatusOK && r.Mistakes == nil {
		return c.failed(adminProblem(status, body))
	}
	if asJSON {
		_, _ = c.stdout.Write(body)
	}
	if r.Mistakes != nil {
		fmt.Fprintf(c.stderr, "%s\n%s\n", reloadRefused, printable(r.Mistakes, "\n"))
		return exitWrong
	}
	if !asJSON {
		fmt.Fprintf(c.stdout, "%s was read again\n", text.Printable(r.File))
		for _, part := range []struct {
			keys []string
			what string
		}{{r.Applied, "applied"}, {r.NeedRestart, "needs a restart"}} {
			if len(part.keys) > 0 {
				fmt.Fprintf(c.stdout, "%s: %s\n", part.what, printable(part.keys, ", "))
			}
		}
		switch {
		case r.DependsOn != "":
			fmt.Fprintf(c.stdout, "nothing was applied: the rest of the file needs the new %s, and so a restart\n", text.Printable(r.DependsOn))
		case len(r.Applied)+len(r.NeedRestart) == 0:
			fmt.Fprintln(c.stdout, "nothing has changed")
		}
	}
	if len(r.NeedRestart) > 0 {
		return exitFailed
	}
	return exitOK
}

func printable(list []string, separator string) string {
	var all []string
	for _, s := range list {
		all = append(all, text.Printable(s))
	}
	return strings.Join(all, separator)
}
