package main

import (
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

func startDemo(t *testing.T, more ...string) (p *process, dir string) {
	t.Helper()
	dir = t.TempDir()
	return mustStart(t, append([]string{"demo", "--dir", dir, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, more...)...), dir
}

// put stores an object through the proxy and waits until no store is at it any more.
func (p *process) put(t *testing.T, key, body string) {
	t.Helper()
	testkit.MustSend(t, "PUT", "http://"+p.Addr()+"/demo/"+key, body)
	testkit.Eventually(t, "nothing in flight", func() bool { return p.InFlight() == 0 })
}

func (p *process) typeLine(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

// wantObject looks where the screen says that the objects are.
func wantObject(t *testing.T, dir, store, key, want string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, store, "buckets", "demo", key))
	if err != nil || string(got) != want {
		t.Errorf("%s has %q, %v in the %s store; want %q", key, got, err, store, want)
	}
}

func wantNoObject(t *testing.T, dir, store, key string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, store, "buckets", "demo", key)); !os.IsNotExist(err) {
		t.Errorf("%s is in the %s store: %v", key, store, err)
	}
}

func TestDemo(t *testing.T) {
	p, dir := startDemo(t)
	p.put(t, "both", "one")
	for _, store := range []string{"first", "second"} {
		wantObject(t, dir, store, "both", "one")
		if want := filepath.Join(dir, store, "buckets", "demo"); !strings.Contains(p.stdout.String(), want+"\n") {
			t.Errorf("no %q on the screen", want)
		}
	}
	if want := fmt.Sprintf("--endpoint-url http://%s s3 cp ", p.Addr()); !strings.Contains(p.stdout.String(), want) {
		t.Errorf("no %q on the screen: %s", want, p.stdout)
	}
	if strings.Contains(p.stdout.String(), "synclog: ") {
		t.Errorf("all is well, and yet: %s", p.stdout)
	}

	p.typeLine(t, "2")
	p.stdout.WaitFor(") is stopped:")
	p.put(t, "one", "two")
	p.stdout.WaitFor(`synclog: {"ts":`)
	p.stdout.WaitFor(`"path":"/demo/one","failedhost":"` + strings.TrimPrefix(p.Config.Backends[1], "http://"))
	wantObject(t, dir, "first", "one", "two")
	wantNoObject(t, dir, "second", "one")

	p.typeLine(t, "what?")
	p.typeLine(t, "2")
	p.stdout.WaitFor(") is started:")
	p.stdout.WaitFor(`"op":"resolved"`)
	wantObject(t, dir, "second", "one", "two")
	p.put(t, "both", "three")
	wantObject(t, dir, "first", "both", "three")
	wantObject(t, dir, "second", "both", "three")

	p.typeLine(t, "1")
	p.typeLine(t, "q")
	p.wantExit(t, exitOK)
	if p.stderr.String() != "" {
		t.Errorf("stderr: %s", p.stderr)
	}
}

func TestDemoBreak(t *testing.T) {
	p, dir := startDemo(t, "--break", "first")
	if !strings.Contains(p.stdout.String(), filepath.Join(dir, "first", "buckets", "demo")+"  (stopped)\n") {
		t.Errorf("screen: %s", p.stdout)
	}
	for i := range p.Config.FailureLimit {
		p.put(t, fmt.Sprint(i), "x")
	}
	p.stdout.WaitFor("backend demoted")
	p.put(t, "one", "x")
	p.stdout.WaitFor(`"error":"demoted"`)
	p.typeLine(t, "1")
	p.stdout.WaitFor("backend is back in the pool")
	testkit.Eventually(t, "the first store has what it missed", func() bool { return p.JournalStatus().Pending == 0 })
	wantObject(t, dir, "first", "one", "x")
	p.put(t, "both", "x")
	wantObject(t, dir, "first", "both", "x")
	if err := p.stdin.Close(); err != nil { // as a service: nobody types
		t.Fatal(err)
	}
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)

	// What the stores held is there the next time.
	p = mustStart(t, "demo", "--dir", dir, "--listen", "127.0.0.1:0", "--admin", "")
	if got := testkit.MustSend(t, "GET", "http://"+p.Addr()+"/demo/both", ""); got != "x" {
		t.Errorf("got %q", got)
	}
	p.signals <- syscall.SIGINT
	p.wantExit(t, exitOK)
}

func TestDemoCannotStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir, listen, admin string
		exit               int
		want               string
	}{
		{t.TempDir(), taken.Addr().String(), "127.0.0.1:0", exitFailed, "Choose another address with --listen HOST:PORT"},
		{t.TempDir(), "127.0.0.1:0", taken.Addr().String(), exitFailed, "or --admin HOST:PORT"},
		{t.TempDir(), "everywhere", "127.0.0.1:0", exitWrong, `Listen: "everywhere" is not allowed, must be host:port`},
		{file, "127.0.0.1:0", "127.0.0.1:0", exitFailed, `akubra: cannot make store "` + file + `/first": `},
	} {
		exit, stdout, stderr := runArgs("demo", "--dir", c.dir, "--listen", c.listen, "--admin", c.admin)
		if exit != c.exit || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("exit code %d, stdout %q, stderr %q; want %d, %q", exit, stdout, stderr, c.exit, c.want)
		}
	}
}

func newTestStore(t *testing.T) *demoStore {
	t.Helper()
	s, err := newDemoStore("first", t.TempDir(), "demo")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// filesUnder are all files in the store's directories but those about the objects.
func (s *demoStore) filesUnder(t *testing.T) (names []string) {
	t.Helper()
	root := filepath.Dir(filepath.Dir(s.objects))
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasPrefix(path, filepath.Join(root, "metadata")) {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// gofakes3 would hold its lock while the first upload waits for its client.
func TestDemoStoreTakesUploadsSideBySide(t *testing.T) {
	s := newTestStore(t)
	body, client := io.Pipe()
	slow := httptest.NewRequest("PUT", "/demo/slow", body)
	slow.Header.Set("Content-Length", "5")
	slowDone := make(chan int)
	go func() {
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, slow)
		slowDone <- w.Code
	}()
	mustDo(t, writeTo(client, "he")) // it has begun
	quick := httptest.NewRequest("PUT", "/demo/quick", strings.NewReader("hello"))
	quick.Header.Set("Content-Length", "5")
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, quick)
	if w.Code != http.StatusOK {
		t.Errorf("quick: %d %s", w.Code, w.Body)
	}
	mustDo(t, writeTo(client, "llo"))
	_ = client.Close()
	if code := <-slowDone; code != http.StatusOK {
		t.Errorf("slow: %d", code)
	}
	for _, key := range []string{"slow", "quick"} {
		if got := testkit.MustReadFile(t, filepath.Join(s.objects, key)); got != "hello" {
			t.Errorf("%s holds %q", key, got)
		}
	}
}

func TestR6DemoStoreKeepsNoShortObject(t *testing.T) {
	s := newTestStore(t)
	for _, body := range []io.Reader{
		strings.NewReader("hel"),
		io.MultiReader(strings.NewReader("hel"), errorReader{io.ErrUnexpectedEOF}),
	} {
		r := httptest.NewRequest("PUT", "/demo/short", body)
		r.Header.Set("Content-Length", "5")
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		if w.Code < 400 {
			t.Errorf("answer %d", w.Code)
		}
		if left := s.filesUnder(t); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	}
}

func writeTo(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

func TestDemoStoreDecodesChunks(t *testing.T) {
	s := newTestStore(t)
	signature := ";chunk-signature=" + strings.Repeat("0", 64)
	for sha, body := range map[string]string{
		"STREAMING-AWS4-HMAC-SHA256-PAYLOAD":         "5" + signature + "\r\nhello\r\n0" + signature + "\r\n\r\n",
		"STREAMING-UNSIGNED-PAYLOAD-TRAILER":         "3\r\nhel\r\n2\r\nlo\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n",
		"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": "5" + signature + "\r\nhello\r\n0" + signature + "\r\nx-amz-checksum-crc32:NhCmhg==\r\nx-amz-trailer-signature:0\r\n\r\n",
	} {
		for _, coding := range []string{"", "aws-chunked", "aws-chunked,gzip"} {
			r := httptest.NewRequest("PUT", "/demo/"+sha, strings.NewReader(body))
			r.Header.Set("Content-Length", strconv.Itoa(len(body)))
			r.Header.Set("X-Amz-Content-Sha256", sha)
			r.Header.Set("X-Amz-Decoded-Content-Length", "5")
			r.Header.Set("Content-Encoding", coding)
			w := httptest.NewRecorder()
			s.handler.ServeHTTP(w, r)
			if got := testkit.MustReadFile(t, filepath.Join(s.objects, sha)); w.Code != http.StatusOK || got != "hello" {
				t.Errorf("%s: %d %s, object %q", sha, w.Code, w.Body, got)
			}
			w = httptest.NewRecorder()
			s.handler.ServeHTTP(w, httptest.NewRequest("GET", "/demo/"+sha, nil))
			if got, want := w.Header().Get("Content-Encoding"), strings.TrimPrefix(strings.TrimPrefix(coding, "aws-chunked"), ","); got != want {
				t.Errorf("%s: encoding %q, want %q", sha, got, want)
			}
		}
	}
}
