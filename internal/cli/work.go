package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/maintenance"
	"github.com/akubra/akubra/internal/remote"
	"github.com/akubra/akubra/synclog"
	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/repair"
	"github.com/akubra/akubra/synclog/task"
)

// work is the journal as a command uses it: opened by this process, or by a running proxy, which is
// then asked.
//
// Repair is handed its Journal, for that may be a Finder and the like, and a work is none.
type work struct {
	repair.Journal
	fence    repair.Fence // nil if no proxy runs
	status   func(ctx context.Context) (remote.Status, error)
	resolved func(t *task.Task, action string)
	out      func(backend string) bool // in maintenance, or out of the proxy's pool
	close    func() error
	remote   *remote.Client // nil if no proxy runs
	config   *config.Config
	// busy is repair.VerifyOptions' Busy.
	busy func(bucket, key string) (busy, parked bool, err error)
}

// commandGC keeps a command's memory small beside the proxy's: what the journal holds for a million
// keys contains no pointers for a collection to follow.
const commandGC = 20

// openWork opens the journal of config, or finds the proxy that has it open. warn may be called on
// any goroutine.
func openWork(config *config.Config, warn func(error)) (*work, error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(commandGC)
	}
	dir := config.JournalDir()
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) { // opening would create it
		return nil, noJournal(config)
	}
	names := config.BackendNames()
	j, err := ledger.OpenJournal(config, names, warn, nil)
	if errors.Is(err, journal.ErrLocked) {
		return remoteWork(config, warn, err)
	}
	if err != nil {
		return nil, err
	}
	// The records belong with the proxy's; the command's own output goes to the screen.
	lines := config.Logging.Synclog
	lines.Stdout, lines.Stderr = false, false
	out, err := logs.OpenOutput(lines)
	if err != nil {
		out.Start(nil, nil)
		return nil, errors.Join(logs.Prefixed("Logging.Synclog", err), out.Close(), j.Close())
	}
	record := synclog.New(synclog.Options{Out: out, Methods: config.SyncLogMethods, OnError: func(_ *synclog.Record, err error) { warn(err) }})
	out.Start(func(q *logs.Queue, err error) {
		warn(fmt.Errorf("cannot write log to %q, trying again: %w", q.Name, err))
	}, nil)
	local := &ledger.NamedJournal{Journal: j, Names: names, Dir: dir}
	_, maintained, err := maintenance.Load(config.DataDir, names, config.MaintainedMask())
	if err != nil {
		warn(err)
	}
	return &work{
		Journal: local,
		status: func(context.Context) (remote.Status, error) {
			stats := j.Stats()
			return remote.StatusOf(&stats, names), nil
		},
		resolved: func(t *task.Task, action string) {
			r := ledger.ResolvedRecord(t, action, names)
			record.Record(&r)
		},
		out: func(backend string) bool {
			i := slices.Index(names, backend)
			return i >= 0 && maintained&(1<<i) != 0
		},
		close:  func() error { return errors.Join(j.Close(), out.Close()) },
		config: config,
		busy: func(bucket, key string) (busy, parked bool, err error) {
			return repair.Pending(local, bucket, key)
		},
	}, nil
}

// remoteWork finds the proxy that has the journal locked; locked is the error about that.
func remoteWork(config *config.Config, warn func(error), locked error) (*work, error) {
	if config.AdminListen == "" {
		return nil, fmt.Errorf("%w: a running proxy has to be asked, and there is no AdminListen to reach it at", locked)
	}
	r := remote.NewClient(config.AdminListen, warn)
	r.Token = string(config.AdminToken)
	ctx, cancel := context.WithTimeout(context.Background(), remote.Timeout)
	defer cancel()
	if err := r.Check(ctx, config.JournalDir()); err != nil {
		r.Close()
		return nil, fmt.Errorf("%w: %w", locked, err)
	}
	return &work{
		Journal: r, fence: r, status: r.Status, resolved: r.Resolved, out: r.Out, remote: r,
		close: func() error { r.Close(); return nil }, config: config, busy: r.Busy,
	}, nil
}

// settle claims the work for this process, for a person's decisions.
func (w *work) settle(ctx context.Context) error {
	if w.remote == nil {
		return nil
	}
	return w.remote.StartSettling(ctx)
}

// begin claims the work for this process; without it, work can only be looked at.
func (w *work) begin(ctx context.Context) error {
	if w.remote == nil {
		return nil
	}
	return w.remote.Start(ctx)
}
