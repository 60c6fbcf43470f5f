package repair

import (
	"crypto/rand"
	"encoding/xml"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/repair/client"
	"github.com/akubra/akubra/synclog/task"
)

// serverKey signs for every server of these tests.
var serverKey = Credentials{AccessKey: "repair-access", SecretKey: "repair-secret-key"}

// startServer starts a real S3 server of INTEROP_BIN, as interop/run.sh builds them.
func startServer(t *testing.T, kind string) Backend {
	t.Helper()
	bin := os.Getenv("INTEROP_BIN")
	if bin == "" {
		t.Skip("INTEROP_BIN is not set: no real servers at hand")
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	testkit.MustDo(t, err)
	addr := ln.Addr().String()
	ln.Close()
	dir := t.TempDir()
	args := []string{"server", "--address", addr, dir}
	if kind == "versitygw" {
		sidecar := t.TempDir()
		args = []string{"--port", addr, "--keep-alive", "posix", "--sidecar", sidecar, dir}
	}
	cmd := exec.Command(filepath.Join(bin, kind), args...)
	cmd.Env = []string{
		"HOME=" + dir, "ROOT_ACCESS_KEY=" + serverKey.AccessKey, "ROOT_SECRET_KEY=" + serverKey.SecretKey,
		"MINIO_ROOT_USER=" + serverKey.AccessKey, "MINIO_ROOT_PASSWORD=" + serverKey.SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off",
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	testkit.MustDo(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	b := Backend{Name: addr, URL: "http://" + addr, Credentials: serverKey}
	c := clientOf(t, b)
	testkit.Eventually(t, kind+" comes up", func() bool {
		_, _, err := c.Document(t.Context(), &client.Request{Method: "GET"}, maxDocument)
		return err == nil
	})
	return b
}

func clientOf(t *testing.T, b Backend) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{
		Name: b.Name, URL: b.URL, AccessKey: b.Credentials.AccessKey, SecretKey: b.Credentials.SecretKey,
		DialTimeout: time.Second, Timeout: 10 * time.Second,
	})
	testkit.MustDo(t, err)
	t.Cleanup(c.Close)
	return c
}

// lacking is a journal's task about a key that one backend lacks.
func lacking(key, etag string, b Backend) flat {
	seq := uint64(time.Now().UnixNano())
	return flat{Seq: seq, Settled: seq, Method: "PUT", Bucket: "bucket", Key: key, ETag: etag, Target: "/bucket/" + key, Owed: []string{b.Name}}
}

// upload puts an object of several parts.
func upload(t *testing.T, c *client.Client, key string, header http.Header, parts ...int) (etag string) {
	t.Helper()
	ctx := t.Context()
	body, _, err := c.Document(ctx, &client.Request{Method: "POST", Bucket: "bucket", Key: key, Header: header, Query: []client.Param{{Name: "uploads"}}}, maxDocument)
	testkit.MustDo(t, err)
	var doc struct {
		UploadID string `xml:"UploadId"`
	}
	testkit.MustDo(t, xml.Unmarshal(body, &doc))
	var done completeUpload
	for i, size := range parts {
		data := make([]byte, size)
		rand.Read(data)
		h, err := c.Discard(ctx, &client.Request{
			Method: "PUT", Bucket: "bucket", Key: key, Body: data,
			Query: []client.Param{{Name: "partNumber", Value: client.Int(i + 1)}, {Name: "uploadId", Value: doc.UploadID}},
		})
		testkit.MustDo(t, err)
		done.Part = append(done.Part, completePart{i + 1, h.Get("Etag")})
	}
	body, err = xml.Marshal(done)
	testkit.MustDo(t, err)
	body, _, err = c.Document(ctx, &client.Request{Method: "POST", Bucket: "bucket", Key: key, Body: body, Query: []client.Param{{Name: "uploadId", Value: doc.UploadID}}}, maxDocument)
	testkit.MustDo(t, err)
	var result struct{ ETag string }
	testkit.MustDo(t, xml.Unmarshal(body, &result))
	return result.ETag
}

// TestServers repairs between real servers; what each of them refuses is told, not
// hidden.
func TestServers(t *testing.T) {
	for _, kinds := range [][2]string{{"minio", "minio"}, {"versitygw", "versitygw"}, {"minio", "versitygw"}, {"versitygw", "minio"}} {
		t.Run(kinds[0]+" to "+kinds[1], func(t *testing.T) {
			from, to := startServer(t, kinds[0]), startServer(t, kinds[1])
			a, b := clientOf(t, from), clientOf(t, to)
			ctx := t.Context()
			mustDo := func(c *client.Client, r *client.Request) http.Header {
				t.Helper()
				h, err := c.Discard(ctx, r)
				testkit.MustDo(t, err)
				return h
			}
			mustDo(a, &client.Request{Method: "PUT", Bucket: "bucket"}) // at the other one it is missing
			q := newQueue()
			q.names = []string{from.Name, to.Name}
			put := func(key string, body []byte, header http.Header) {
				t.Helper()
				h, err := a.Discard(ctx, &client.Request{Method: "PUT", Bucket: "bucket", Key: key, Body: body, Header: header})
				if err != nil {
					t.Logf("%s does not take the key %q: %v", kinds[0], key, err)
					return
				}
				q.push(lacking(key, h.Get("Etag"), to))
			}
			for _, key := range []string{
				"plain", "a/b/c", "with space", "plus+plus", "percent%2Fpercent", "ümläut/日本", "e\u0301", "a//b", "/lead", "dots/../x", "..", ".",
				"q?x=1&y#z", "tab\tkey", "\xff\xfe", "a\\b", "*:<>|\"", "~tilde", "semi;colon,comma@=$'()!",
			} {
				put(key, []byte("body of "+key), nil)
			}
			put("empty", nil, nil)
			put("dir/", nil, nil)
			put("big", make([]byte, 3<<20+7), nil)
			put("headers", []byte("x"), http.Header{
				"Content-Type": {"text/x-test; charset=utf-8"}, "Cache-Control": {"no-store, max-age=0"}, "Content-Encoding": {"gzip"},
				"Content-Language": {"de"}, "Content-Disposition": {`attachment; filename="a b.txt"`}, "Expires": {"Thu, 01 Dec 2033 16:00:00 GMT"},
				"X-Amz-Meta-Plain": {"value"}, "X-Amz-Meta-Spaces": {"a  b   c"}, "X-Amz-Meta-Utf8": {"grün"},
				"X-Amz-Tagging": {"k1=v1&k%202=v%2B2"}, "X-Amz-Storage-Class": {"STANDARD"},
			})
			large := upload(t, a, "large", http.Header{"Content-Type": {"video/x"}, "X-Amz-Meta-M": {"1"}, "X-Amz-Tagging": {"t=1"}}, 5<<20, 6<<20, 1000)
			q.push(lacking("large", large, to))
			one := upload(t, a, "one-part", nil, 100)
			q.push(lacking("one-part", one, to))

			log := &testLog{t: t}
			o := Options{
				Backends: []Backend{from, to}, Journal: q, Log: log, Timeout: 10 * time.Second,
				OnFailed: func(task task.Task, err error) { t.Logf("%q stays: %v", task.Key, err) },
			}
			repair := func() Summary {
				t.Helper()
				r, err := New(o)
				testkit.MustDo(t, err)
				sum, err := r.RunOnce(ctx)
				testkit.MustDo(t, err)
				return sum
			}
			check := func(phase int) {
				t.Helper()
				stays := map[string]bool{}
				for _, task := range q.left() {
					stays[task.Key] = true
					if kinds[0] == kinds[1] && !suspicious(task.Key) {
						t.Errorf("phase %d: %q stays: %s", phase, task.Key, task.LastError)
					}
				}
				sum, err := Verify(ctx, VerifyOptions{
					Backends: []Backend{from, to}, Bucket: "bucket", Deep: true, Log: log,
					OnDifference: func(d Difference) {
						if !stays[d.Key] && !taken[d.Key] && !(kinds[0] != kinds[1] && ways[d.Key]) {
							t.Errorf("phase %d: %q differs: %s %+v", phase, d.Key, d.Kind, d.Have)
						}
					},
				})
				if err != nil || sum.Keys < 10 {
					t.Errorf("phase %d: %+v, %v", phase, sum, err)
				}
			}
			t.Logf("%+v", repair())
			t.Logf("%+v", repair()) // the first uploads to a new bucket of versitygw may fail
			check(1)

			// The other way: what is newer there, and what was deleted.
			for _, key := range []string{"plain", "large"} {
				h := mustDo(b, &client.Request{Method: "PUT", Bucket: "bucket", Key: key, Body: []byte("newer")})
				q.push(lacking(key, h.Get("Etag"), from))
			}
			for _, key := range []string{"a/b/c", "headers"} {
				mustDo(b, &client.Request{Method: "DELETE", Bucket: "bucket", Key: key})
				task := lacking(key, "", from)
				task.Method = "DELETE"
				q.push(task)
			}
			mustDo(b, &client.Request{
				Method: "PUT", Bucket: "bucket", Key: "big", Query: []client.Param{{Name: "tagging"}}, Body: []byte(tagDoc("later=1")),
				Header: http.Header{"Content-Md5": {client.MD5([]byte(tagDoc("later=1")))}},
			})
			tagged := lacking("big", "", from)
			tagged.Target += "?tagging"
			q.push(tagged)
			t.Logf("%+v", repair())
			tags, _, err := a.Document(ctx, &client.Request{Method: "GET", Bucket: "bucket", Key: "big", Query: []client.Param{{Name: "tagging"}}}, maxDocument)
			if normal, _ := normalTags(tags); normal != "later=1" {
				t.Errorf("tags %q, %v", normal, err)
			}

			check(2)
		})
	}
}

// ways are what a server insists on: versitygw has a type of its own for directories,
// keeps metadata and tags over a new upload.
var ways = map[string]bool{"dir/": true, "large": true}

// taken are the names that servers take odd ones for, which are parked for that.
var taken = map[string]bool{"lead": true, "x": true}
