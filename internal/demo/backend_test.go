package demo

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

func newTestStore(t *testing.T) *Backend {
	t.Helper()
	s, err := NewBackend("first", t.TempDir(), "demo")
	testkit.MustDo(t, err)
	return s
}

// filesUnder are all files in the backend's directories but those about the objects.
func (s *Backend) filesUnder(t *testing.T) (names []string) {
	t.Helper()
	root := filepath.Dir(filepath.Dir(s.objects))
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasPrefix(path, filepath.Join(root, "metadata")) {
			names = append(names, path)
		}
		return err
	})
	testkit.MustDo(t, err)
	return names
}

// gofakes3 would hold its lock while the first upload waits for its client.
func TestDemoBackendTakesUploadsSideBySide(t *testing.T) {
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
	testkit.MustDo(t, writeTo(client, "he")) // it has begun
	quick := httptest.NewRequest("PUT", "/demo/quick", strings.NewReader("hello"))
	quick.Header.Set("Content-Length", "5")
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, quick)
	if w.Code != http.StatusOK {
		t.Errorf("quick: %d %s", w.Code, w.Body)
	}
	testkit.MustDo(t, writeTo(client, "llo"))
	_ = client.Close()
	if code := testkit.Receive(t, "the slow answer", slowDone); code != http.StatusOK {
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

func TestDemoBackendDecodesChunks(t *testing.T) {
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
