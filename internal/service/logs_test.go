package service

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog"
)

func mustOpenLogs(t *testing.T, c config.LoggingConfig) *logs.Logs {
	t.Helper()
	l, err := logs.Open(c)
	testkit.MustDo(t, err)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestEngineLogWarn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "main.log")
	log := engineLog{mustOpenLogs(t, config.LoggingConfig{Mainlog: config.LogOutput{File: path}})}
	var nilAddr *net.TCPAddr
	for _, c := range []struct {
		keyvals []any
		want    string
	}{
		{nil, ``},
		{[]any{"backend", "http://a:9000", "busy", 7}, `,"backend":"http://a:9000","busy":7`},
		{[]any{"error", errors.New(`cannot "dial"`)}, `,"error":"cannot \"dial\""`},
		{[]any{"after", 250 * time.Millisecond, "at", time.Unix(1, 0).UTC()}, `,"after":"250ms","at":"1970-01-01T00:00:01Z"`},
		{[]any{"addr", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}, "none", nilAddr}, `,"addr":"127.0.0.1:80","none":"<nil>"`},
		{[]any{"nothing", nil, "bytes", []byte("raw\xff")}, `,"nothing":null,"bytes":"raw\ufffd"`},
		{[]any{1, 2, "left over"}, `,"1":2,"extra":"left over"`},
	} {
		log.Warn("note", c.keyvals...)
		log.logs.Flush(testkit.Patience)
		lines := strings.Split(strings.TrimSpace(testkit.MustReadFile(t, path)), "\n")
		last := lines[len(lines)-1]
		fields, rest, _ := strings.Cut(last, `,"ts":"`)
		if fields != `{"level":"warn"`+c.want || !strings.HasSuffix(rest, `Z","message":"note"}`) {
			t.Errorf("%v: got %s", c.keyvals, last)
		}
	}
}

func TestEngineLogAccess(t *testing.T) {
	if (engineLog{mustOpenLogs(t, config.LoggingConfig{})}).AccessEnabled() {
		t.Error("the access log is on with no output")
	}
	path := filepath.Join(t.TempDir(), "access.log")
	log := engineLog{mustOpenLogs(t, config.LoggingConfig{Accesslog: config.LogOutput{File: path}})}
	if !log.AccessEnabled() {
		t.Error("the access log is off")
	}
	log.Access(&engine.Access{
		Time: time.Date(2024, 3, 5, 14, 7, 9, 5000, time.FixedZone("", 3600)), ID: "18a0-1", Remote: "10.0.0.1:5000",
		Method: "PUT", Path: "/b/k\"\xff", Host: "s3.example", UserAgent: "aws-cli", Status: 200,
		BytesIn: 4096, BytesOut: 12, Duration: 12345678 * time.Nanosecond, Backend: "http://a:9000",
	})
	log.logs.Flush(testkit.Patience)
	want := `{"ts":"2024-03-05T13:07:09.000005000Z","id":"18a0-1","remote":"10.0.0.1:5000","method":"PUT",` +
		`"path":"/b/k\"\ufffd","host":"s3.example","useragent":"aws-cli","status":200,"in":4096,"out":12,` +
		`"ms":12.345,"backend":"http://a:9000"}` + "\n"
	if got := testkit.MustReadFile(t, path); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestR16SyncRecorder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sync.log")
	l := mustOpenLogs(t, config.LoggingConfig{Synclog: config.LogOutput{File: path}})
	log := synclog.New(synclog.Options{Out: l.Sync, OnError: func(_ *synclog.Record, err error) { t.Error(err) }})
	d := engine.Divergence{
		Time: time.Date(2024, 3, 5, 13, 7, 9, 0, time.UTC), Method: "PUT", Path: "/b/k", FailedHost: "http://b:9000",
		SuccessHost: "http://a:9000", UserAgent: "aws-cli", Error: "stalled", Op: engine.OpStoring, Status: 503,
		Bucket: "b", Key: "k", ETag: `"e"`, Size: 4096, ID: "18a0-1",
	}
	syncRecorder{log: log}.Record(&d)
	d.Method = "GET" // not one of the default methods
	syncRecorder{log: log}.Record(&d)
	l.Flush(testkit.Patience)

	line := testkit.MustReadFile(t, path)
	got, err := synclog.ParseRecord([]byte(line))
	d.Method = "PUT"
	if err != nil || got != synclog.Record(d) {
		t.Errorf("got %+v, %v from %s", got, err, line)
	}
}
