package service

import (
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/health"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog"
)

// engineLog is the engine's Log: its warnings go to the main log, finished requests to the access
// log.
type engineLog struct {
	logs *logs.Logs
}

var _ engine.Log = engineLog{}

// Warn writes keyvals as keys of the line. A value without a key is kept under "extra": a warning
// must not lose anything because its caller slipped.
func (l engineLog) Warn(msg string, keyvals ...any) {
	writeLog(l.logs.Main.Warn(), msg, keyvals)
}

func writeLog(e *zerolog.Event, msg string, keyvals []any) {
	for len(keyvals) > 1 {
		e = e.Interface(fmt.Sprint(keyvals[0]), logValue(keyvals[1]))
		keyvals = keyvals[2:]
	}
	if len(keyvals) > 0 {
		e = e.Interface("extra", logValue(keyvals[0]))
	}
	e.Msg(msg)
}

// logValue is v the way people write it. JSON would show an error or an address as {}, a duration
// as a bare number, and bytes as base64; and fmt can cope with a nil pointer in the interface.
func logValue(v any) any {
	switch v := v.(type) {
	case time.Time: // JSON has it in RFC 3339
		return v
	case []byte:
		return string(v)
	case error, fmt.Stringer:
		return fmt.Sprint(v)
	}
	return v
}

func (l engineLog) AccessEnabled() bool {
	return l.logs.AccessEnabled()
}

// Access writes one line; its id also appears in the records of divergences (R16).
func (l engineLog) Access(a *engine.Access) {
	l.logs.Access.Log().
		Time("ts", a.Time.UTC()).
		Str("id", a.ID).
		Str("remote", a.Remote).
		Str("method", a.Method).
		Str("path", text.HideSecrets(a.Path)).
		Str("host", a.Host).
		Str("useragent", a.UserAgent).
		Int("status", a.Status).
		Int64("in", a.BytesIn).
		Int64("out", a.BytesOut).
		Float64("ms", float64(a.Duration.Microseconds())/1000).
		Str("backend", a.Backend).
		Send()
}

// syncRecorder implements the engine's Synclog.
type syncRecorder struct {
	log    *synclog.Log
	health *health.Health
}

var _ engine.Synclog = syncRecorder{}

// Record passes d on unchanged except for its secrets: Divergence and Record have the same fields.
func (s syncRecorder) Record(d *engine.Divergence) {
	// Another backend accepted it, so the client is not at fault (R36). A read may be of what is not there.
	if write := d.Op == engine.OpStoring; d.Status == 401 || d.Status == 403 || write && d.Status >= 300 && d.Status < 500 {
		s.health.RefusedAlone(d.FailedHost, write, d.Status)
	}
	r := (*synclog.Record)(d)
	r.Path = text.HideSecrets(r.Path)
	s.log.Record(r)
}
