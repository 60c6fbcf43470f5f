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

// All three logs name and write their time alike, so that they can be merged by it.
func init() {
	zerolog.TimestampFieldName = "ts"
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000000000Z07:00" // RFC3339Nano with all its digits
	zerolog.TimestampFunc = func() time.Time { return time.Now().UTC() }
	// What is lost is counted and told by the queues. Without a handler zerolog would
	// write to stderr, and wait for whoever should read that (R23).
	zerolog.ErrorHandler = func(error) {}
}

// Logs are the open sinks of LoggingConfig. All of it may be used from any goroutine,
// and nobody who logs waits for a reader (Queue).
type Logs struct {
	Main          zerolog.Logger
	Access        zerolog.Logger
	AccessEnabled bool
	Sync          io.Writer // for synclog.Log: a whole line each Write

	outputs []*Output // of main, access and sync

	synclogLost atomic.Pointer[func(*Queue)] // see OnSynclogLost; nil before
	reopening   sync.Mutex
}

// logNames are what the configuration calls the outputs.
var logNames = [...]string{"Logging.Mainlog", "Logging.Accesslog", "Logging.Synclog"}

// Open opens everything or nothing; the error has a line for each mistake.
func Open(c config.LoggingConfig) (*Logs, error) {
	level, levelErr := parseLevel(c.Mainlog.Level)
	mainOut, mainErr := OpenOutput(c.Mainlog)
	accessOut, accessErr := OpenOutput(c.Accesslog)
	syncOut, syncErr := OpenOutput(c.Synclog)
	l := &Logs{
		Main:          zerolog.New(mainOut).Level(level).With().Timestamp().Logger(),
		Access:        zerolog.New(accessOut),
		AccessEnabled: len(accessOut.sinks) > 0,
		Sync:          syncOut,
		outputs:       []*Output{mainOut, accessOut, syncOut},
	}
	if err := named(errors.Join(levelErr, mainErr), accessErr, syncErr); err != nil {
		l.Start()
		_ = l.Close() // the reason to give is the other one
		return nil, err
	}
	l.Start()
	return l, nil
}

// Start begins to write. What goes wrong is told in the main log: there it waits, too,
// where it is the main log itself that has no reader.
func (l *Logs) Start() {
	for i, o := range l.outputs {
		trouble := func(q *Queue, err error) {
			l.Main.Error().Str("log", logNames[i]).Str("output", q.Name).Err(err).
				Msg("cannot write a log: its lines wait, and are lost once there are too many")
		}
		revive := func(q *Queue, lost uint64) {
			if lost == 0 {
				l.Main.Warn().Str("log", logNames[i]).Str("output", q.Name).Msg("a log is written again, and no line is missing")
				return
			}
			l.Main.Error().Str("log", logNames[i]).Str("output", q.Name).Uint64("lines", lost).
				Msg("a log is written again, and lines of it are lost")
			if f := l.synclogLost.Load(); f != nil && o == l.outputs[2] {
				(*f)(q)
			}
		}
		o.Start(trouble, revive)
	}
}

// OnSynclogLost has f hear of each of the synclog's queues that is written again and has
// lost lines. f is called from any goroutine, and must not wait.
func (l *Logs) OnSynclogLost(f func(q *Queue)) { l.synclogLost.Store(&f) }

// SynclogQueues are those of the synclog's outputs.
func (l *Logs) SynclogQueues() []*Queue { return l.outputs[2].sinks }

// Plain are logs that go to two writers as they are, warnings and errors to main. Where
// sync is nil, the synclog goes to what AddSynclog gives it, once start was called.
func Plain(main, sync io.Writer) *Logs {
	l := &Logs{
		Main:    zerolog.New(main).Level(zerolog.WarnLevel).With().Timestamp().Logger(),
		Access:  zerolog.Nop(),
		Sync:    sync,
		outputs: []*Output{{}, {}, {}},
	}
	if sync == nil {
		l.Sync = l.outputs[2]
	}
	return l
}

// AddSynclog has the synclog go to w, too, of whose lines maxLines may wait. Call it
// before start.
func (l *Logs) AddSynclog(name string, w io.Writer, maxLines int) {
	l.outputs[2].add(name, &logFile{f: keptOpen{w}}).maxLines = maxLines
}

// State is what metrics tell of one sink.
type State struct {
	Log, Output string
	Waiting     int
	Lost        uint64
}

// States are those of all sinks, main log first.
func (l *Logs) States() (all []State) {
	for i, o := range l.outputs {
		for _, q := range o.sinks {
			s := State{Log: strings.ToLower(strings.TrimPrefix(logNames[i], "Logging.")), Output: q.Name}
			s.Waiting, s.Lost = q.state()
			all = append(all, s)
		}
	}
	return all
}

// Reopen opens the logs' files again, after logrotate has renamed them. Lines go
// to the old file until the new one is open, and on to it where that fails.
// One Reopen is under way at a time.
func (l *Logs) Reopen() error {
	l.reopening.Lock()
	defer l.reopening.Unlock()
	return named(l.outputs[0].reopen(), l.outputs[1].reopen(), l.outputs[2].reopen())
}

// ReopenSoon is Reopen, and tells the main log how it went. A file system that hangs, and
// the file with it, keeps nobody from further signals (R23): it is waited for a short time.
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

// reopenPatience is more than opening three files takes, and waiting for the old ones.
const reopenPatience = 4 * reopenFlush

// Flush waits until what was logged is written, but not longer than d for each log.
func (l *Logs) Flush(d time.Duration) {
	for _, o := range l.outputs {
		o.flush(d)
	}
}

// Close closes what Open opened, which is not stdout and stderr, once what was
// logged is written: readers that take nothing get logCloseTimeout in all.
func (l *Logs) Close() error {
	for _, o := range l.outputs {
		o.finish()
	}
	deadline := time.Now().Add(logCloseTimeout)
	return named(l.outputs[0].closeBy(deadline), l.outputs[1].closeBy(deadline), l.outputs[2].closeBy(deadline))
}

func named(mainErr, accessErr, syncErr error) error {
	return errors.Join(
		Prefixed(logNames[0], mainErr),
		Prefixed(logNames[1], accessErr),
		Prefixed(logNames[2], syncErr),
	)
}

// Prefixed says whose error it is, in each line of a joined one (R21).
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

// parseLevel takes a level's name in any case; none is info.
func parseLevel(s string) (zerolog.Level, error) {
	name, err := config.LevelName(s)
	if err != nil { // zerolog itself would take numbers too
		return zerolog.InfoLevel, err
	}
	return zerolog.ParseLevel(name)
}
