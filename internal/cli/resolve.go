package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/internal/service"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog/repair"
	"github.com/akubra/akubra/synclog/task"
)

// decision is what the flags say, or what is wrong with them.
func (f *resolveFlags) decision(conf *config.Config) (d repair.Decision, err error) {
	n := 0
	for _, given := range []bool{f.take != "", f.prefer != "", f.del, f.accept, f.newest} {
		if given {
			n++
		}
	}
	take := f.take + f.prefer // one of them is empty
	switch {
	case f.all == (f.object != ""):
		return d, errors.New("resolve needs a key, as `akubra journal list` has it, or --all")
	case n != 1:
		return d, errors.New("resolve needs one of --take HOST:PORT, --delete, --accept and --newest; with --all one of --newest, --prefer HOST:PORT and --accept")
	case !f.all && (f.prefer != "" || f.reason != "" || f.yes):
		return d, errors.New("resolve takes --prefer, --reason and --yes only with --all; of one key --take says whose state is right")
	case f.all && (f.take != "" || f.del):
		return d, errors.New("resolve takes --all with --newest, --prefer HOST:PORT or --accept")
	case f.reason != "" && !slices.Contains(task.ParkReasons, task.ParkReason(f.reason)):
		var known []string
		for _, why := range task.ParkReasons {
			known = append(known, string(why))
		}
		return d, fmt.Errorf("there is no reason %q; there are %s", f.reason, strings.Join(known, ", "))
	}
	if take != "" {
		if d.Take = backendNamed(conf, take); d.Take == "" {
			return d, noBackend(take, conf.BackendNames())
		}
	}
	d.Delete, d.Accept, d.Newest = f.del, f.accept, f.newest
	return d, nil
}

// resolve carries out a person's decision about a key, or about all that are parked (R35).
func (c *cli) resolve(conf *config.Config, f *resolveFlags) int {
	d, err := f.decision(conf)
	if err != nil {
		return c.wrong(err)
	}
	o, err := service.RepairOptions(conf, os.Environ())
	if err != nil {
		return c.wrong(err)
	}
	screen := newProgress(c.stderr)
	w, err := openWork(conf, screen.warn)
	if err != nil {
		return c.failed(err)
	}
	ctx, stop := c.untilSignal()
	defer stop()
	s := &settling{c: c, f: f, w: w, o: &o, d: d, screen: screen}
	exit, err := s.run(ctx)
	if wrong, is := errors.AsType[wrongArgument](err); is {
		_ = w.close() // nothing was done
		return c.wrong(wrong)
	}
	if err = errors.Join(err, w.close()); err != nil {
		return c.failed(err)
	}
	return exit
}

// settling is one run of akubra resolve.
type settling struct {
	c      *cli
	f      *resolveFlags
	w      *work
	o      *repair.Options
	d      repair.Decision
	screen *progress

	done, left int
}

func (s *settling) run(ctx context.Context) (exit int, err error) {
	if !s.f.dryRun {
		if err := s.w.settle(ctx); err != nil {
			return exitFailed, err
		}
		s.o.Fence = s.w.fence
	}
	if s.o.Memory, err = service.OpenManners(s.w.config); err != nil {
		return exitFailed, err
	}
	// The journal itself, and not what wraps it: it can be searched.
	s.o.Journal, s.o.Log, s.o.Maintained, s.o.OnResolved = s.w.Journal, onlyWarnings{s.screen}, s.w.out, func(t task.Task, action string) { s.w.resolved(&t, action) }
	if !s.f.all {
		err = s.one(ctx)
	} else if err = s.all(ctx, true); err == nil && !s.f.dryRun && s.done > 0 {
		if !s.agreed(ctx) {
			fmt.Fprintln(s.c.stdout, "nothing was done")
			return exitFailed, nil
		}
		s.done, s.left = 0, 0
		err = s.all(ctx, false)
	}
	switch {
	case err != nil:
		return exitFailed, err
	case s.f.all && s.done+s.left == 0:
		fmt.Fprintln(s.c.stdout, "nothing is parked for that")
	case s.f.all:
		fmt.Fprintf(s.c.stdout, "%s %s, %d left parked\n", map[bool]string{false: "settled", true: "would settle"}[s.f.dryRun], keys(s.done), s.left)
	}
	if s.left > 0 || ctx.Err() != nil {
		return exitFailed, nil
	}
	return exitOK, nil
}

// onlyWarnings: what a backend does not know has no bearing on a person's decision.
type onlyWarnings struct{ *progress }

func (onlyWarnings) Info(string, ...any) {}

// repairer works only on the journal's parked keys, if those are what it is about.
func (s *settling) repairer(dryRun bool) (*repair.Repairer, error) {
	o := *s.o
	if o.DryRun = dryRun; s.f.all {
		o.Journal = repair.OnlyParked(o.Journal)
	}
	return repair.New(o)
}

func (s *settling) one(ctx context.Context) error {
	r, err := s.repairer(s.f.dryRun)
	if err != nil {
		return err
	}
	bucket, key, isObject := strings.Cut(ledger.BareObject(s.f.object), "/")
	if isObject && key != "" {
		got, err := r.Settle(ctx, bucket, key, "", s.d)
		if unescaped := text.Unprintable(key); errors.Is(err, repair.ErrNotPending) && unescaped != key { // as `journal list` prints it
			got, err = r.Settle(ctx, bucket, unescaped, "", s.d)
		}
		if errors.Is(err, repair.ErrNotPending) {
			return wrongArgument{fmt.Errorf("nothing is pending for %q; `akubra journal list` shows what is", s.f.object)}
		}
		if err != nil {
			return err
		}
		s.tell(&got, s.f.dryRun)
		return nil
	}
	err = r.SettleAll(ctx, func(t *task.Task) bool { return t.Key == "" && ledger.IsObject(t, s.f.object) }, s.d,
		func(got repair.Settled) { s.tell(&got, s.f.dryRun) })
	if err == nil && s.done+s.left == 0 {
		err = wrongArgument{fmt.Errorf("nothing is pending for bucket %q itself; an object is BUCKET/KEY", s.f.object)}
	}
	return err
}

func (s *settling) all(ctx context.Context, dryRun bool) error {
	r, err := s.repairer(dryRun)
	if err != nil {
		return err
	}
	return r.SettleAll(ctx, repair.Parked(task.ParkReason(s.f.reason)), s.d, func(got repair.Settled) { s.tell(&got, dryRun) })
}

// tell reports what has become of a key, or would.
func (s *settling) tell(got *repair.Settled, dryRun bool) {
	object := text.Printable(ledger.ObjectOf(&got.Task))
	if got.Done {
		s.done++
		action := got.Action
		if dryRun && action == "equal" {
			action = "would be closed, for all have the same"
		}
		s.screen.print(s.c.stdout, object+": "+text.Printable(action))
		return
	}
	s.left++
	why := "it could not be settled"
	if got.Err != nil {
		why = got.Err.Error()
	}
	s.screen.print(s.c.stdout, object+": left parked: "+text.Printable(why))
}

// agreed asks whether to do what was announced.
func (s *settling) agreed(ctx context.Context) bool {
	if s.f.yes {
		return true
	}
	fmt.Fprintf(s.c.stdout, "Do that, with %s? [y/N] ", keys(s.done))
	answer := make(chan string, 1)
	go func() { // it ends with the process, where nobody answers
		line, _ := bufio.NewReader(s.c.stdin).ReadString('\n')
		answer <- line
	}()
	select {
	case line := <-answer:
		line = strings.ToLower(strings.TrimSpace(line))
		return line == "y" || line == "yes"
	case <-ctx.Done():
		return false
	}
}
