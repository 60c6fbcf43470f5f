package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/internal/remote"
	"github.com/akubra/akubra/internal/service"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog/repair"
	"github.com/akubra/akubra/synclog/task"
)

// showTimeout bounds the questions to the backends.
const showTimeout = 30 * time.Second

// showKey shows both sides of a key: what was acknowledged, and what each backend has.
func (s *journalCommands) showKey(c *cli, conf *config.Config) int {
	ctx, stop := c.untilSignal()
	defer stop()
	tasks, err := s.find(ctx, c, conf)
	switch {
	case err != nil:
		return c.failed(err)
	case len(tasks) == 0:
		fmt.Fprintf(c.stderr, "akubra: nothing is pending for %q", s.object)
		if bucket, key, ok := strings.Cut(ledger.BareObject(s.object), "/"); ok && key != "" {
			fmt.Fprintf(c.stderr, "; akubra verify --bucket %q --prefix %q compares what the backends have", bucket, key)
		}
		fmt.Fprintln(c.stderr)
		return exitFailed
	}
	var asks *repair.Repairer
	why := "--offline"
	if !s.offline {
		if asks, err = service.NewAsker(conf, os.Environ(), nil); err != nil {
			why = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
	}
	if asks != nil {
		defer asks.CloseIdle()
	}
	for i := range tasks {
		known := ledger.KnownOf(&tasks[i])
		if asks != nil {
			ctx, cancel := context.WithTimeout(ctx, showTimeout)
			known.Heads, known.HeadsOf = asks.Show(ctx, &tasks[i]), time.Now().UTC()
			cancel()
		}
		if s.json {
			err = writeJSONLine(c.stdout, &known)
		} else {
			err = writeKnown(c.stdout, &known, time.Now(), why)
		}
		if err != nil {
			return c.failed(err)
		}
	}
	return exitOK
}

// find also takes the key as `journal list` prints it.
func (s *journalCommands) find(ctx context.Context, c *cli, conf *config.Config) (tasks []task.Task, err error) {
	tasks, err = findObject(ctx, c, conf, s.object)
	if unescaped := text.Unprintable(s.object); err == nil && len(tasks) == 0 && unescaped != s.object {
		return findObject(ctx, c, conf, unescaped)
	}
	return tasks, err
}

// findObject asks the running proxy, which knows what is not in the files yet, or else reads the files.
func findObject(ctx context.Context, c *cli, conf *config.Config, object string) (tasks []task.Task, err error) {
	bucket, key, _ := strings.Cut(ledger.BareObject(object), "/")
	if key != "" && conf.AdminListen != "" {
		proxy := remote.NewClient(conf.AdminListen, func(error) {})
		proxy.Token = string(conf.AdminToken)
		defer proxy.Close()
		ctx, cancel := context.WithTimeout(ctx, remote.Timeout)
		defer cancel()
		if proxy.Check(ctx, conf.JournalDir()) == nil {
			if t, _, ok, err := proxy.Find(bucket, key); err == nil && ok {
				return []task.Task{t}, nil
			}
		}
	}
	err = readJournal(c, conf, func(t *task.Task, _ []string) bool {
		if ledger.IsObject(t, object) {
			tasks = append(tasks, *t)
		}
		return true
	})
	return tasks, err
}

// writeKnown prints it for people. notAsked says why the backends were not asked.
func writeKnown(w io.Writer, k *ledger.Known, now time.Time, notAsked string) error {
	p := text.Printable
	fmt.Fprintf(w, "%s\n", p(k.Object))
	switch {
	case k.Parked != "":
		fmt.Fprintf(w, "parked, left to you: %s\n", p(k.Parked))
	case k.Open:
		fmt.Fprintln(w, "a write to it is under way, or was when a proxy ended")
	default:
		fmt.Fprintln(w, "pending: repair is to make it equal")
	}
	if k.LastError != "" {
		fmt.Fprintf(w, "repair said: %s\n", p(k.LastError))
	}
	if k.Tries > 0 {
		fmt.Fprintf(w, "tried %d times\n", k.Tries)
	}
	fmt.Fprintln(w, "\nWhat clients were told, by the proxy's clock:")
	writeWrites(w, k.Writes, now)
	if len(k.Writes) == 0 {
		fmt.Fprintln(w, "  nothing is known")
	}
	if len(k.Rivals) > 0 {
		fmt.Fprintln(w, "\nWhat may have come after that:")
		writeWrites(w, k.Rivals, now)
	}
	if k.Missing {
		fmt.Fprintln(w, "  and more, which was not kept")
	}
	if k.Heads == nil {
		fmt.Fprintf(w, "\nThe backends were not asked: %s\n", p(notAsked))
		return nil
	}
	fmt.Fprintln(w, "\nWhat each backend has now:")
	return writeHeads(w, k.Heads)
}

func writeWrites(w io.Writer, writes []ledger.KnownWrite, now time.Time) {
	for i := range writes {
		x := &writes[i]
		fmt.Fprintf(w, "  %s: ", x.Aspect)
		switch {
		case x.Method == "" && x.Aspect == ledger.AspectName(task.Found):
			fmt.Fprint(w, "the backends differ")
		case x.Method == "":
			fmt.Fprint(w, "a write")
		default:
			fmt.Fprint(w, text.Printable(x.Method))
		}
		if x.Aspect != ledger.AspectName(task.Content) && x.Path != "" {
			fmt.Fprintf(w, " %s", text.Printable(x.Path))
		}
		if x.ETag != "" {
			fmt.Fprintf(w, ", %d B, ETag %s", x.Size, text.Printable(x.ETag))
		}
		for _, name := range slices.Sorted(keysOf(x.ETags)) {
			fmt.Fprintf(w, " (%s at %s)", text.Printable(x.ETags[name]), text.Printable(name))
		}
		fmt.Fprintf(w, ", %s (%s ago)", x.Began.Format(time.RFC3339), age(now, uint64(x.Began.UnixNano())))
		if x.Unknown {
			fmt.Fprint(w, ", of unknown outcome")
		}
		if x.Overlapped {
			fmt.Fprint(w, ", others were under way at the same time")
		}
		if x.Crowded {
			fmt.Fprint(w, ", some of which may not be known")
		}
		if x.ID != "" {
			fmt.Fprintf(w, ", request %s", text.Printable(x.ID))
		}
		fmt.Fprintf(w, "\n    taken by %s; owed by %s", listOf(x.Took), listOf(x.Owed))
		if x.Reason != "" {
			fmt.Fprintf(w, " (%s)", text.Printable(x.Reason))
		}
		fmt.Fprintln(w)
	}
}

func keysOf(m map[string]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

func listOf(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return text.Printable(strings.Join(names, ", "))
}

// writeHeads prints a column for each backend, and a row for each property in which they may
// differ.
func writeHeads(w io.Writer, heads []repair.Head) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name string, cell func(h *repair.Head) string) {
		fmt.Fprintf(table, "  %s", name)
		for i := range heads {
			fmt.Fprintf(table, "\t%s", text.Printable(cell(&heads[i])))
		}
		fmt.Fprintln(table)
	}
	row("", func(h *repair.Head) string { return h.Backend })
	row("", func(h *repair.Head) string {
		switch {
		case h.Error != "":
			return h.Error
		case h.Folded:
			return "another key's, under this name"
		case h.Present:
			return "there"
		}
		return "none"
	})
	there := func(f func(h *repair.Head) string) func(h *repair.Head) string {
		return func(h *repair.Head) string {
			if !h.Present || h.Error != "" {
				return ""
			}
			return f(h)
		}
	}
	objects := slices.ContainsFunc(heads, func(h repair.Head) bool { return !h.Modified.IsZero() || h.ETag != "" })
	if objects {
		row("size", there(func(h *repair.Head) string { return fmt.Sprint(h.Size, " B") }))
		row("ETag", there(func(h *repair.Head) string { return h.ETag }))
		row("modified, by its own clock", there(func(h *repair.Head) string {
			if h.Modified.IsZero() {
				return ""
			}
			return h.Modified.UTC().Format(time.RFC3339)
		}))
	}
	var names []string
	values := make([]map[string]string, len(heads))
	for i := range heads {
		values[i] = map[string]string{}
		for _, line := range heads[i].Metadata {
			name, value, _ := strings.Cut(line, ":")
			if had, twice := values[i][name]; twice {
				value = had + ", " + value
			}
			values[i][name] = value
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		n := -1
		row(text.Printable(name), func(*repair.Head) string {
			n++
			return values[n][name]
		})
	}
	if slices.ContainsFunc(heads, func(h repair.Head) bool { return h.Versions != 0 }) {
		row("versions", func(h *repair.Head) string {
			if h.Versions < 0 {
				return "not known"
			}
			return fmt.Sprint(h.Versions)
		})
	}
	return table.Flush()
}
