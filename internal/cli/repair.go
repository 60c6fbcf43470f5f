package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/internal/service"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog/repair"
	"github.com/akubra/akubra/synclog/task"
)

const noCredentials = "Without credentials akubra cannot repair. `akubra journal export -c FILE` gives what is to be repaired as JSON lines, for a process of your own."

// repair works through the journal, as far as it can.
func (c *cli) repair(config *config.Config, f *repairFlags) int {
	if f.follow && (f.once || f.dryRun) {
		return c.wrong(errors.New("repair does not accept --once or --dry-run with --follow"))
	}
	o, err := service.RepairOptions(config, os.Environ())
	if err != nil {
		exit := c.wrong(err)
		fmt.Fprintln(c.stderr, noCredentials)
		return exit
	}
	screen := newProgress(c.stderr)
	w, err := openWork(config, screen.warn)
	if err != nil {
		return c.failed(err)
	}
	ctx, stop := c.untilSignal()
	defer stop()
	exit, err := c.repairWork(ctx, w, &o, f, screen)
	if err = errors.Join(err, w.close()); err != nil {
		return c.failed(err)
	}
	return exit
}

func (c *cli) repairWork(ctx context.Context, w *work, o *repair.Options, f *repairFlags, screen *progress) (int, error) {
	if !f.dryRun {
		if err := w.begin(ctx); err != nil {
			return exitFailed, err
		}
		o.Fence = w.fence
	}
	manners, err := service.OpenManners(w.config)
	if err != nil {
		return exitFailed, err
	}
	o.Memory = manners
	o.Journal, o.Log, o.Maintained, o.DryRun, o.RetryParked = w.Journal, screen, w.out, f.dryRun, f.parked
	o.OnResolved = func(t task.Task, action string) {
		if f.dryRun {
			screen.print(c.stdout, fmt.Sprintf("%s: %s", describe(&t), text.Printable(action)))
			return
		}
		w.resolved(&t, action)
	}
	o.OnFailed = func(t task.Task, err error) {
		if t.Parked != "" {
			screen.Warn("parked: needs you", "object", describe(&t), "reason", string(t.Parked), "tries", t.Tries, "error", err)
		}
	}
	o.Pending = func() int {
		s, err := w.status(ctx)
		if err != nil {
			return 0
		}
		return s.Pending
	}
	r, err := repair.New(*o)
	if err != nil {
		return exitFailed, err
	}
	total := o.Pending()
	end := screen.begin(func() string { return repairProgress(r.Status(), total) })
	defer end()
	if f.follow {
		r.Start()
		<-ctx.Done()
		r.Close()
		end()
		s := r.Status()
		fmt.Fprintf(c.stdout, "repaired %s (%d copied, %d deleted, %d equal already), %s sent\n",
			keys(int(s.Resolved)), s.Copied, s.Deleted, s.Equal, text.Bytes(int64(s.Bytes)))
		return exitOK, nil
	}
	s, err := r.RunOnce(ctx)
	end()
	return c.repairSummary(ctx, w, &s, f.dryRun), err
}

// repairSummary prints the result and returns the exit code.
func (c *cli) repairSummary(ctx context.Context, w *work, s *repair.Summary, dryRun bool) int {
	did := "repaired"
	if dryRun {
		did = "would repair"
	}
	fmt.Fprintf(c.stdout, "%s %d of %s (%d copied, %d deleted, %d equal already), %s sent\n",
		did, s.Resolved, keys(s.Seen), s.Copied, s.Deleted, s.Equal, text.Bytes(s.Bytes))
	left := s.Seen - s.Resolved
	if dryRun {
		left = s.Seen
	}
	status, err := w.status(context.WithoutCancel(ctx))
	if err == nil && w.remote == nil && !dryRun {
		left = status.Pending
	}
	if parked := max(s.Parked, status.Parked); !dryRun && (left > 0 || parked > 0) {
		left = max(left, parked)
		fmt.Fprintf(c.stdout, "left: %s (%d failed, %d parked, %d wait for a backend or a client): akubra journal list -c FILE\n",
			keys(left), s.Failed, parked, s.Left)
	}
	if left > 0 || ctx.Err() != nil {
		return exitFailed
	}
	return exitOK
}

func keys(n int) string { return count(n, "key") }

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func repairProgress(s repair.Status, total int) string {
	line := fmt.Sprintf("%d of %s", s.Resolved, keys(max(total, int(s.Resolved))))
	if total > 0 {
		done := min(1, float64(s.Resolved)/float64(total))
		line = fmt.Sprintf("[%s] %3.0f%% %s", bar(done), 100*done, line)
	}
	if n := s.Failed + s.Left; n > 0 {
		line += fmt.Sprintf(", %d put off", n)
	}
	line += fmt.Sprintf(", %.0f/s", s.Rate)
	if s.ByteRate >= 1 {
		line += fmt.Sprintf(", %s/s", text.Bytes(int64(s.ByteRate)))
	}
	if s.ETA > 0 {
		line += fmt.Sprintf(", %v to go", s.ETA.Round(time.Second))
	}
	return line
}

// describe says what a task is about, for people.
func describe(t *task.Task) string {
	if w := ledger.NewestOf(t); t.Key == "" || ofPart(&w) {
		return fmt.Sprintf("%s %s", w.Method, text.Printable(text.HideSecrets(w.Target)))
	}
	return text.Printable(t.Bucket + "/" + t.Key)
}
