package logs

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/akubra/akubra/internal/config"
)

// All three logs write the time under the same name and in the same format, so that they can be
// merged by it.
func init() {
	zerolog.TimestampFieldName = "ts"
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000000000Z07:00" // RFC3339Nano with all digits
	zerolog.TimestampFunc = func() time.Time { return time.Now().UTC() }
	// The queues count and report lost lines. Without a handler zerolog would write to stderr and
	// wait for its reader (R23).
	zerolog.ErrorHandler = func(error) {}
}

// Logs are the open sinks of a LoggingConfig. Any goroutine may use them, and nobody who logs waits
// for a reader (Queue).
type Logs struct {
	Main   zerolog.Logger
	Access zerolog.Logger
	Sync   io.Writer // for synclog.Log: one whole line per Write

	outputs [len(logNames)]*switched // main, access and sync

	synclogLost atomic.Pointer[func(*Queue)] // see OnSynclogLost; nil until then
	reopening   sync.Mutex
}

// logNames are the outputs' names in the configuration.
var logNames = [...]string{"Logging.Mainlog", "Logging.Accesslog", "Logging.Synclog"}

// Open opens everything or nothing; the error has a line for each mistake.
func Open(c config.LoggingConfig) (*Logs, error) {
	level, levelErr := parseLevel(c.Mainlog.Level)
	mainOut, mainErr := OpenOutput(c.Mainlog)
	accessOut, accessErr := OpenOutput(c.Accesslog)
	syncOut, syncErr := OpenOutput(c.Synclog)
	l := &Logs{
		outputs: [...]*switched{newSwitched(mainOut, level), newSwitched(accessOut, zerolog.TraceLevel), newSwitched(syncOut, zerolog.TraceLevel)},
	}
	l.Main = zerolog.New(l.outputs[0]).With().Timestamp().Logger()
	l.Access, l.Sync = zerolog.New(l.outputs[1]), l.outputs[2]
	if err := named(errors.Join(levelErr, mainErr), accessErr, syncErr); err != nil {
		l.Start()
		_ = l.Close() // the other error is the one to report
		return nil, err
	}
	l.Start()
	return l, nil
}

// Start starts writing. Problems are reported in the main log; if it is the main log itself that
// nobody reads, they wait there.
func (l *Logs) Start() {
	for i, s := range l.outputs {
		l.begin(i, s.out.Load().sinks)
	}
}

// begin starts writing to the sinks of log i.
func (l *Logs) begin(i int, sinks []*Queue) {
	trouble := func(q *Queue, err error) {
		l.Main.Error().Str("log", logNames[i]).Str("output", q.Name).Err(err).
			Msg("cannot write a log: its lines are queued, and lost once the queue is full")
	}
	revive := func(q *Queue, lost uint64) {
		if lost == 0 {
			l.Main.Warn().Str("log", logNames[i]).Str("output", q.Name).Msg("a log can be written again, no lines were lost")
			return
		}
		l.Main.Error().Str("log", logNames[i]).Str("output", q.Name).Uint64("lines", lost).
			Msg("a log can be written again, but lines were lost")
		if f := l.synclogLost.Load(); f != nil && i == 2 {
			(*f)(q)
		}
	}
	(&Output{sinks: sinks}).Start(trouble, revive)
}

// AccessEnabled reports whether the access log goes anywhere.
func (l *Logs) AccessEnabled() bool { return len(l.outputs[1].out.Load().sinks) > 0 }

// OnSynclogLost has f called for each of the synclog's queues that works again after it has lost
// lines. f is called on any goroutine and must not wait.
func (l *Logs) OnSynclogLost(f func(q *Queue)) { l.synclogLost.Store(&f) }

// SynclogQueues are the queues of the synclog's outputs.
func (l *Logs) SynclogQueues() []*Queue { return l.outputs[2].out.Load().sinks }

// Plain makes logs that write to two writers directly; main gets only warnings and errors. If sync
// is nil, the synclog goes to what AddSynclog adds, once Start has been called.
func Plain(main, sync io.Writer) *Logs {
	l := &Logs{
		Main:   zerolog.New(main).Level(zerolog.WarnLevel).With().Timestamp().Logger(),
		Access: zerolog.Nop(),
		Sync:   sync,
	}
	for i := range l.outputs {
		l.outputs[i] = newSwitched(&Output{}, zerolog.TraceLevel)
	}
	if sync == nil {
		l.Sync = l.outputs[2]
	}
	return l
}

// AddSynclog adds w to the synclog's outputs, with at most maxLines lines queued for it. It must be
// called before Start.
func (l *Logs) AddSynclog(name string, w io.Writer, maxLines int) {
	l.outputs[2].out.Load().add(name, &logFile{f: keptOpen{w}}).maxLines = maxLines
}

// State is what metrics report about one sink.
type State struct {
	Log, Output string
	Waiting     int
	Lost        uint64
}

// States are those of all sinks, the main log's first.
func (l *Logs) States() (all []State) {
	for i, out := range l.outputs {
		for _, q := range out.out.Load().sinks {
			s := State{Log: strings.ToLower(strings.TrimPrefix(logNames[i], "Logging.")), Output: q.Name}
			s.Waiting, s.Lost = q.state()
			all = append(all, s)
		}
	}
	return all
}

// Reopen reopens the log files after logrotate has renamed them. Lines go to the old file until the
// new one is open, and continue to go there if that fails. Only one Reopen runs at a time.
func (l *Logs) Reopen() error {
	l.reopening.Lock()
	defer l.reopening.Unlock()
	return named(l.outputs[0].out.Load().reopen(), l.outputs[1].out.Load().reopen(), l.outputs[2].out.Load().reopen())
}

// ReopenSoon is Reopen with the result reported in the main log. It waits only briefly, so that a
// file system that hangs does not block further signals (R23).
func (l *Logs) ReopenSoon() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := l.Reopen(); err != nil {
			l.Main.Error().Err(err).Msg("cannot reopen logs")
			return
		}
		l.Main.Info().Msg("logs reopened")
	}()
	select {
	case <-done:
	case <-time.After(reopenPatience):
	}
}

// reopenPatience is more than it takes to open three files and to wait for the old ones.
const reopenPatience = 4 * reopenFlush

// Flush waits until everything logged so far is written, but not longer than d for each log.
func (l *Logs) Flush(d time.Duration) {
	for _, o := range l.outputs {
		o.out.Load().flush(d)
	}
}

// Close closes what Open opened, which excludes stdout and stderr, once everything logged is
// written. All readers that take nothing together get logCloseTimeout.
func (l *Logs) Close() error {
	for _, o := range l.outputs {
		o.out.Load().finish()
	}
	deadline := time.Now().Add(logCloseTimeout)
	return named(l.outputs[0].out.Load().closeBy(deadline), l.outputs[1].out.Load().closeBy(deadline), l.outputs[2].out.Load().closeBy(deadline))
}

func named(mainErr, accessErr, syncErr error) error {
	return errors.Join(
		Prefixed(logNames[0], mainErr),
		Prefixed(logNames[1], accessErr),
		Prefixed(logNames[2], syncErr),
	)
}

// Prefixed adds name to an error, in each line of a joined one (R21).
func Prefixed(name string, err error) error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return fmt.Errorf("%s: %w", name, err)
	}
	var errs []error
	for _, err := range joined.Unwrap() {
		errs = append(errs, Prefixed(name, err))
	}
	return errors.Join(errs...)
}

// parseLevel accepts a level's name in any case; empty means info.
func parseLevel(s string) (zerolog.Level, error) {
	name, err := config.LevelName(s)
	if err != nil { // zerolog itself would accept numbers as well
		return zerolog.InfoLevel, err
	}
	return zerolog.ParseLevel(name)
}
