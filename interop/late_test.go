package interop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	miniogo "github.com/minio/minio-go/v7"
)

// latest is how long copies and completions take; clients give up after half of it
// without a sign of life.
const latest = 32 * time.Second

// late has a store answer copies and completions as S3 does where they take long: 200 at
// once, white space, and the document at the end.
func late(t *testing.T, s *store) {
	t.Helper()
	to, err := url.Parse("http://" + s.addr)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		if r.Header.Get("X-Amz-Copy-Source") == "" && !(r.Method == http.MethodPost && query.Has("uploadId")) {
			forward.ServeHTTP(w, r)
			return
		}
		end := time.Now().Add(latest)
		answer := httptest.NewRecorder()
		forward.ServeHTTP(answer, r)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusOK)
		for flush := http.NewResponseController(w); time.Now().Before(end); time.Sleep(time.Second) { // a store that is slow, and says so
			_, _ = io.WriteString(w, " ")
			_ = flush.Flush()
		}
		_, _ = w.Write(answer.Body.Bytes())
	}))
	t.Cleanup(server.Close)
	s.addr = strings.TrimPrefix(server.URL, "http://")
}

// TestR25LateAnswers: clients that wait for less long than a copy or a completion takes
// get it all the same, and an error in the end for an error.
func TestR25LateAnswers(t *testing.T) {
	w := newStores(t, [2]string{versitygw, minio})
	for _, s := range w.stores {
		late(t, s)
	}
	w.plain = w.newProxy(t, "plain", "", "")
	w.plain.await(t, "it is ready", func(s status) bool { return s.Ready })
	transport := newTransport(nil)
	transport.ResponseHeaderTimeout = latest / 2
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &impatient{c}, err
	}
	sdk := newSDK(w.plain.url, transport)
	bucket := "late"
	if _, err := sdk.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
	w.settle(t)
	data := content(5, 6*mib)
	if _, err := sdk.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("from"), Body: bytes.NewReader(data)}); err != nil {
		t.Fatal(err)
	}
	w.settle(t)
	same := func(key string) {
		out, err := sdk.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
		if err != nil {
			t.Errorf("%q: %v", key, err)
			return
		}
		defer out.Body.Close()
		if got, err := io.ReadAll(out.Body); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%q has %d other bytes, %v", key, len(got), err)
		}
	}
	source := aws.String(bucket + "/from")
	var all sync.WaitGroup
	all.Go(func() { // aws-sdk-go-v2
		copied, err := sdk.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: &bucket, Key: aws.String("copy"), CopySource: source})
		if err != nil || copied.CopyObjectResult == nil || copied.CopyObjectResult.ETag == nil {
			t.Errorf("CopyObject: %+v, %v", copied, err)
		}
		same("copy")
	})
	all.Go(func() {
		_, err := sdk.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: &bucket, Key: aws.String("none"), CopySource: aws.String(bucket + "/nothing")})
		if err == nil || !strings.Contains(err.Error(), "NoSuchKey") {
			t.Errorf("CopyObject of nothing: %v", err)
		}
	})
	all.Go(func() {
		key := aws.String("in parts")
		begun, err := sdk.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: key})
		if err != nil {
			t.Error(err)
			return
		}
		part, err := sdk.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{Bucket: &bucket, Key: key, UploadId: begun.UploadId, PartNumber: aws.Int32(1), CopySource: source})
		if err != nil || part.CopyPartResult == nil || part.CopyPartResult.ETag == nil {
			t.Errorf("UploadPartCopy: %+v, %v", part, err)
			return
		}
		done, err := sdk.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: key, UploadId: begun.UploadId,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{ETag: part.CopyPartResult.ETag, PartNumber: aws.Int32(1)}}}})
		if err != nil || done.ETag == nil {
			t.Errorf("CompleteMultipartUpload: %+v, %v", done, err)
		}
		same("in parts")
	})
	mc := newMinioGo(t, w.plain.addr, false, false, transport)
	all.Go(func() {
		info, err := mc.CopyObject(t.Context(), miniogo.CopyDestOptions{Bucket: bucket, Object: "minio-go"}, miniogo.CopySrcOptions{Bucket: bucket, Object: "from"})
		if err != nil || info.ETag == "" {
			t.Errorf("minio-go, CopyObject: %+v, %v", info, err)
		}
		same("minio-go")
	})
	all.Go(func() {
		info, err := mc.PutObject(t.Context(), bucket, "minio-go in parts", bytes.NewReader(data), int64(len(data)), miniogo.PutObjectOptions{PartSize: 5 * mib})
		if err != nil || info.ETag == "" {
			t.Errorf("minio-go, in parts: %+v, %v", info, err)
		}
		same("minio-go in parts")
	})
	cli := awsCLIs(t)[0]
	aws := func(args ...string) result {
		return execute(t, append(awsEnvironment(w.dir), "AWS_MAX_ATTEMPTS=1"), cli.path,
			append([]string{"--endpoint-url", w.plain.url, "--cli-read-timeout", fmt.Sprint(int(latest.Seconds() / 2)), "s3api"}, args...)...)
	}
	all.Go(func() {
		if r := aws("copy-object", "--bucket", bucket, "--key", "botocore", "--copy-source", bucket+"/from"); r.code != 0 || !strings.Contains(r.output, "ETag") {
			t.Errorf("%s, copy-object: %+v", cli.name, r)
		}
		same("botocore")
	})
	all.Go(func() {
		if r := aws("copy-object", "--bucket", bucket, "--key", "none", "--copy-source", bucket+"/nothing"); r.code == 0 || !strings.Contains(r.output, "NoSuchKey") {
			t.Errorf("%s, copy-object of nothing: %+v", cli.name, r)
		}
	})
	all.Wait()
	w.settle(t)
}

// impatient is a connection on which nothing may be silent for as long as half of latest.
type impatient struct{ net.Conn }

// Read waits no longer than that.
func (c *impatient) Read(p []byte) (int, error) {
	_ = c.SetReadDeadline(time.Now().Add(latest / 2))
	return c.Conn.Read(p)
}
