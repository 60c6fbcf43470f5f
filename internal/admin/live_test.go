package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog"
)

// stream is one watcher.
type stream struct {
	t    testing.TB
	resp *http.Response
	in   *bufio.Scanner
}

func (r *adminRig) watch() *stream {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+r.addr+"/events", nil)
	testkit.MustDo(r.t, err)
	resp, err := r.client.Do(req)
	testkit.MustDo(r.t, err)
	r.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		r.t.Fatalf("status %d, type %q", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	s := &stream{t: r.t, resp: resp, in: bufio.NewScanner(resp.Body)}
	s.in.Buffer(nil, 1<<20)
	return s
}

// next reads events until one has this name.
func (s *stream) next(name string, into any) {
	s.t.Helper()
	for found := false; s.in.Scan(); {
		line := s.in.Text()
		found = found || line == "event: "+name
		if data, is := strings.CutPrefix(line, "data: "); is && found {
			if err := json.Unmarshal([]byte(data), into); err != nil {
				s.t.Fatalf("%v in %q", err, data)
			}
			return
		}
	}
	s.t.Fatalf("the stream has ended before an event %q: %v", name, s.in.Err())
}

// ended reads the stream to its end.
func (s *stream) ended() error {
	for s.in.Scan() {
	}
	return s.in.Err()
}

type snapshot struct {
	State   pageState
	History [][4]int64
	Records []synclog.Record
}

// R36: a new watcher is told everything at once, and then what changes.
func TestR36PageEvents(t *testing.T) {
	r := newAdminRig(t, "a:9000", "b:9000")
	record := func(key string) {
		line := synclog.Record{Time: time.Now(), Method: "PUT", Bucket: "bkt", Key: key, FailedHost: "b:9000", Error: "answered 503"}
		r.admin.Line(append(line.AppendJSON(nil), '\n'))
	}
	record("<script>alert(1)</script>\x9b\n\n")
	s := r.watch()
	var got snapshot
	s.next("snapshot", &got)
	if len(got.State.Backends) != 2 || got.State.Sentence != "All backends are in sync." || got.State.Buttons || len(got.History) != 1 {
		t.Errorf("snapshot %+v", got)
	}
	if len(got.Records) != 1 || !strings.HasPrefix(got.Records[0].Key, "<script>") {
		t.Errorf("records %+v", got.Records)
	}
	r.limiter.SetMaintained(0, true)
	record("second")
	var records struct {
		Records []synclog.Record
		Missed  int
	}
	if s.next("records", &records); len(records.Records) != 1 || records.Records[0].Key != "second" || records.Missed != 0 {
		t.Errorf("records %+v", records)
	}
	var state pageState
	if s.next("state", &state); state.Backends[0].State != "maintained" || state.Tone != toneBad || state.Backends[0].Why == "" {
		t.Errorf("state %+v", state)
	}
	for i := range 2 * recordsKept { // more than are kept
		record(fmt.Sprint(i))
	}
	if s.next("records", &records); len(records.Records) != recordsAtOnce || records.Missed != recordsKept*2-recordsAtOnce {
		t.Errorf("%d records, missed %d", len(records.Records), records.Missed)
	}
}

// A long line is shown without its target, and one that is still too long not at all.
func TestR23PageRecordBound(t *testing.T) {
	r := newAdminRig(t, "a:9000")
	long := synclog.Record{Time: time.Now(), Method: "PUT", Key: "k", Path: "/" + strings.Repeat("x", 2*recordSize)}
	r.admin.Line(long.AppendJSON(nil))
	long.Key, long.Path = strings.Repeat("k", 3*recordSize), ""
	r.admin.Line(long.AppendJSON(nil))
	lines, _, n := r.admin.live.records.since(0, recordsKept)
	if n != 1 || len(lines[0]) > recordSize {
		t.Errorf("%d lines, the first of %d bytes", n, len(lines[0]))
	}
}

// R23: at most 64 watch, the next one is told why not, and one that leaves makes room.
func TestR23PageWatchers(t *testing.T) {
	r := newAdminRig(t, "a:9000")
	var all []*stream
	for range maxWatchers {
		all = append(all, r.watch())
	}
	var p problem
	if r.want(503, &p, "GET", "/events", ""); !strings.Contains(p.Error, "more than 64 watchers") {
		t.Errorf("the 65th is told %q", p.Error)
	}
	r.want(200, nil, "GET", "/health", "")
	_ = all[0].resp.Body.Close()
	testkit.Eventually(t, "there is room", func() bool {
		r.admin.live.mu.Lock()
		defer r.admin.live.mu.Unlock()
		return len(r.admin.live.watchers) < maxWatchers
	})
	var got snapshot
	r.watch().next("snapshot", &got)
	// One sampler for all of them: at most one sample a second, and one for each new watcher.
	began := time.Now()
	r.admin.live.mu.Lock()
	before := r.admin.live.samples
	r.admin.live.mu.Unlock()
	all[1].next("snapshot", &got)
	var state pageState
	for range 3 {
		all[1].next("state", &state)
	}
	r.admin.live.mu.Lock()
	defer r.admin.live.mu.Unlock()
	if n := r.admin.live.samples - before; n > 4+int(time.Since(began)/sampleEvery) {
		t.Errorf("%d samples in %v", n, time.Since(began))
	}
}

// While nobody watches no samples are taken, and the parts are told.
func TestPageSamplerRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		watched := make(chan bool, 4)
		l := newLive(MaxConnections, func() any { return 1 }, func() Owed { return Owed{} }, func(on bool) { watched <- on })
		l.start()
		defer l.close()
		w, err := l.watch(nopConn{})
		testkit.MustDo(t, err)
		if on := <-watched; !on {
			t.Error("told of nobody")
		}
		<-w.events
		testkit.MustDo(t, w.Close())
		if on := <-watched; on {
			t.Error("told of somebody")
		}
		synctest.Wait()
		before := l.samples
		time.Sleep(10 * sampleEvery) // in the bubble
		synctest.Wait()
		if l.samples != before {
			t.Errorf("%d samples for nobody", l.samples-before)
		}
	})
}

type nopConn struct{ net.Conn }

// R23: a watcher that does not read loses its stream, and holds up nobody.
func TestR23PageSlowWatcher(t *testing.T) {
	l := newLive(MaxConnections, func() any { return 1 }, func() Owed { return Owed{} }, func(bool) {})
	w, err := l.watch(nopConn{})
	testkit.MustDo(t, err)
	for range watcherEvents + 2 {
		l.tell(true)
	}
	if l.isWatched() {
		t.Error("it is still there")
	}
	n := 0
	for range w.events {
		n++
	}
	if n != watcherEvents {
		t.Errorf("%d events wait for it", n)
	}
	testkit.MustDo(t, w.Close())
}

// The history is bounded, and has what came and went by the minute.
func TestPageHistory(t *testing.T) {
	o := Owed{Pending: 3, Added: 10, Closed: 7}
	l := newLive(MaxConnections, func() any { return 1 }, func() Owed { return o }, func(bool) {})
	at := time.Unix(1e9, 0)
	l.remember(at)
	o = Owed{Pending: 8, Added: 20, Closed: 12}
	l.remember(at.Add(historyStep))
	if text, _ := json.Marshal(l.history); string(text) != "[[1000000000,3,0,0],[1000000060,8,10,5]]" {
		t.Errorf("history %s", text)
	}
	for i := range historySteps + 10 {
		l.remember(at.Add(time.Duration(i) * historyStep))
	}
	if len(l.history) != historySteps || cap(l.history) > 2*historySteps {
		t.Errorf("%d points, room for %d", len(l.history), cap(l.history))
	}
}

// R22: streams end with the listener, at once, and nobody begins one after that.
func TestR22PageEndsAtShutdown(t *testing.T) {
	r := newAdminRig(t, "a:9000")
	s := r.watch()
	var got snapshot
	s.next("snapshot", &got)
	testkit.MustDo(t, r.admin.Shutdown(t.Context()))
	if err := s.ended(); err != nil {
		t.Errorf("the stream ends with %v", err)
	}
	if _, err := r.admin.live.watch(nopConn{}); err != errGoingAway {
		t.Errorf("another one: %v", err)
	}
}

// R37: the page loads only what is its own, is small, and never makes markup of what it is told.
func TestR37PageFiles(t *testing.T) {
	r := newAdminRig(t, "a:9000")
	size := 0
	for path, f := range pageTypes {
		resp, body := r.do("GET", path, "")
		size += len(body)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Security-Policy") != "default-src 'self'" || resp.Header.Get("Content-Type") != f.contentType {
			t.Errorf("%s: %d %v", path, resp.StatusCode, resp.Header)
		}
		for _, bad := range []string{`innerHTML`, `outerHTML`, `insertAdjacentHTML`, `document\.write`, `eval\(`, `\bon[a-z]+="`, `style="`, `javascript:`, `<script>`, `<style`, `https?://[^w]`} {
			if found := regexp.MustCompile(bad).FindString(body); found != "" {
				t.Errorf("%s has %q", path, found)
			}
		}
	}
	if size > 80<<10 || size < 10<<10 {
		t.Errorf("the page has %d bytes", size)
	}
	files, err := fs.Glob(pageFiles, "page/*")
	if testkit.MustDo(t, err); len(files) != len(pageTypes) {
		t.Errorf("files %q", files)
	}
	for _, host := range []string{"evil.example"} {
		r.want(421, nil, "GET", "/events", "", "Host", host)
		r.want(421, nil, "GET", "/", "", "Host", host)
	}
	r.want(403, nil, "GET", "/events", "", "Origin", "http://evil.example")
	r.admin.SetToken("0123456789abcdef")
	r.want(401, nil, "GET", "/events", "")
	r.want(401, nil, "POST", "/parked/resolve", "{}")
	r.want(200, nil, "GET", "/page.js", "")
}

// Sizes on the page are in the units of commands and documents (text.Bytes).
func TestPageUnits(t *testing.T) {
	r := newAdminRig(t, "a:9000")
	_, body := r.do("GET", "/page.js", "")
	if other := regexp.MustCompile(`"[KMGT]B"|/= 1000\b`).FindString(body); other != "" || !strings.Contains(body, `"B", "KiB", "MiB"`) {
		t.Errorf("page.js has %q", other)
	}
}

// A decision is carried out, or refused, and either is one line of the main log.
func TestR35PageSettles(t *testing.T) {
	r := newAdminRig(t, "a:9000")
	var got struct{ Result string }
	var asked []Decision
	r.admin.o.Settle = func(d Decision) (string, error) {
		if asked = append(asked, d); len(asked) > 1 {
			return "", fmt.Errorf("not now")
		}
		return "settled: copied", nil
	}
	if r.want(200, &got, "POST", "/parked/resolve", `{"bucket":"b","key":"aw==","take":"a:9000"}`); got.Result != "settled: copied" {
		t.Errorf("got %+v", got)
	}
	var p problem
	if r.want(409, &p, "POST", "/parked/resolve", `{"bucket":"b","key":"aw==","retry":true}`); p.Error != "not now" {
		t.Errorf("got %+v", p)
	}
	r.want(400, nil, "POST", "/parked/resolve", `{`)
	if len(asked) != 2 || string(asked[0].Key) != "k" || asked[0].Take != "a:9000" || !asked[1].Retry {
		t.Errorf("asked %+v", asked)
	}
	want := "audit action resolve --take a:9000 what b/k by 127.0.0.1 result settled: copied; audit action retry what b/k by 127.0.0.1 result refused: not now"
	if logs := strings.Join(r.takeLogs(), "; "); logs != want {
		t.Errorf("logged %q, want %q", logs, want)
	}
}

// R37: with another token the streams end that began without it, and those of watchers that know it begin again; the same token
// changes nothing.
func TestR37PageEndsWithItsToken(t *testing.T) {
	r := newAdminRig(t, "a:9000")
	const token = "0123456789abcdef"
	bearer := ""
	r.client.Transport = withHeader{r.client.Transport, &bearer}
	for _, next := range []string{token, "fedcba9876543210", ""} {
		s := r.watch()
		var got snapshot
		s.next("snapshot", &got)
		r.admin.SetToken(strings.TrimPrefix(bearer, "Bearer "))
		s.next("state", &got.State)
		r.admin.SetToken(next)
		giveUp := time.AfterFunc(20*time.Second, func() { _ = s.resp.Body.Close() })
		if err := s.ended(); err != nil || !giveUp.Stop() {
			t.Errorf("before %q the stream does not end: %v", next, err)
		}
		if next != "" {
			r.want(401, nil, "GET", "/events", "")
		}
		bearer = "Bearer " + next
	}
	r.watch()
}

// withHeader sends Authorization along.
type withHeader struct {
	http.RoundTripper
	bearer *string
}

func (w withHeader) RoundTrip(req *http.Request) (*http.Response, error) {
	if *w.bearer != "" {
		req.Header.Set("Authorization", *w.bearer)
	}
	return w.RoundTripper.RoundTrip(req)
}

// R23: streams leave room for health checks where there are few connections.
func TestR23PageLeavesRoom(t *testing.T) {
	l := newLive(8, func() any { return 1 }, func() Owed { return Owed{} }, func(bool) {})
	for range 4 {
		_, err := l.watch(nopConn{})
		testkit.MustDo(t, err)
	}
	if _, err := l.watch(nopConn{}); err == nil || !strings.Contains(err.Error(), "more than 4 watchers") {
		t.Errorf("the fifth: %v", err)
	}
}
