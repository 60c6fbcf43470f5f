package main

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

// logs are the open sinks of LoggingConfig. All of it may be used from any goroutine,
// and nobody who logs waits for a reader (lineQueue).
type logs struct {
	main          zerolog.Logger
	access        zerolog.Logger
	accessEnabled bool
	sync          io.Writer // for synclog.Log: a whole line each Write

	outputs []*output // of main, access and sync

	backlog   atomic.Pointer[synclogBacklog] // nil before the proxy has one
	reopening sync.Mutex
}

// logNames are what the configuration calls the outputs.
var logNames = [...]string{"Logging.Mainlog", "Logging.Accesslog", "Logging.Synclog"}

// openLogs opens everything or nothing; the error has a line for each mistake.
func openLogs(c config.LoggingConfig) (*logs, error) {
	level, levelErr := parseLevel(c.Mainlog.Level)
	mainOut, mainErr := openOutput(c.Mainlog)
	accessOut, accessErr := openOutput(c.Accesslog)
	syncOut, syncErr := openOutput(c.Synclog)
	l := &logs{
		main:          zerolog.New(mainOut).Level(level).With().Timestamp().Logger(),
		access:        zerolog.New(accessOut),
		accessEnabled: len(accessOut.sinks) > 0,
		sync:          syncOut,
		outputs:       []*output{mainOut, accessOut, syncOut},
	}
	if err := named(errors.Join(levelErr, mainErr), accessErr, syncErr); err != nil {
		l.start()
		_ = l.Close() // the reason to give is the other one
		return nil, err
	}
	l.start()
	return l, nil
}

// start begins to write. What goes wrong is told in the main log: there it waits, too,
// where it is the main log itself that has no reader.
func (l *logs) start() {
	for i, o := range l.outputs {
		trouble := func(q *lineQueue, err error) {
			l.main.Error().Str("log", logNames[i]).Str("output", q.name).Err(err).
				Msg("cannot write a log: its lines wait, and are lost once there are too many")
		}
		revive := func(q *lineQueue, lost uint64) {
			if lost == 0 {
				l.main.Warn().Str("log", logNames[i]).Str("output", q.name).Msg("a log is written again, and no line is missing")
				return
			}
			l.main.Error().Str("log", logNames[i]).Str("output", q.name).Uint64("lines", lost).
				Msg("a log is written again, and lines of it are lost")
			if b := l.backlog.Load(); b != nil && o == l.outputs[2] {
				b.revived(q)
			}
		}
		o.start(trouble, revive)
	}
}

// logState is what metrics tell of one sink.
type logState struct {
	log, output string
	waiting     int
	lost        uint64
}

func (l *logs) states() (all []logState) {
	for i, o := range l.outputs {
		for _, q := range o.sinks {
			s := logState{log: strings.ToLower(strings.TrimPrefix(logNames[i], "Logging.")), output: q.name}
			s.waiting, s.lost = q.state()
			all = append(all, s)
		}
	}
	return all
}

// Reopen opens the logs' files again, after logrotate has renamed them. Lines go
// to the old file until the new one is open, and on to it where that fails.
// One Reopen is under way at a time.
func (l *logs) Reopen() error {
	l.reopening.Lock()
	defer l.reopening.Unlock()
	return named(l.outputs[0].reopen(), l.outputs[1].reopen(), l.outputs[2].reopen())
}

// Close closes what openLogs opened, which is not stdout and stderr, once what was
// logged is written: readers that take nothing get logCloseTimeout in all.
func (l *logs) Close() error {
	for _, o := range l.outputs {
		o.finish()
	}
	deadline := time.Now().Add(logCloseTimeout)
	return named(l.outputs[0].closeBy(deadline), l.outputs[1].closeBy(deadline), l.outputs[2].closeBy(deadline))
}

func named(mainErr, accessErr, syncErr error) error {
	return errors.Join(
		prefixed(logNames[0], mainErr),
		prefixed(logNames[1], accessErr),
		prefixed(logNames[2], syncErr),
	)
}

// prefixed says whose error it is, in each line of a joined one (R21).
func prefixed(name string, err error) error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return fmt.Errorf("%s: %w", name, err)
	}
	var errs []error
	for _, err := range joined.Unwrap() {
		errs = append(errs, prefixed(name, err))
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
