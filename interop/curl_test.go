package interop

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// curl fails the test unless the answer is positive.
func curl(t *testing.T, args ...string) string {
	t.Helper()
	return mustExecute(t, nil, "curl", append([]string{"--silent", "--show-error", "--fail-with-body", "--noproxy", "*", "--max-time", "60"}, args...)...)
}

func curlSteps(t *testing.T, w *world) {
	w.step(t, "presigned PUT, GET, DELETE", func(s *step) {
		dir := s.TempDir()
		file, back := filepath.Join(dir, "file"), filepath.Join(dir, "back")
		data := content(1, 3*mib) // large enough for curl to send Expect: 100-continue
		mustWrite(s.T, file, data)
		presigner := s3.NewPresignClient(newSDK(s.plain.url, nil))
		key, gone := "ü€ %2F+;=&/to curl", "gone"
		for _, k := range []string{key, gone} {
			put, err := presigner.PresignPutObject(s.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: &k})
			if err != nil {
				s.Fatal(err)
			}
			trace := curl(s.T, "-v", "-T", file, put.URL)
			if !strings.Contains(trace, "< HTTP/1.1 100 Continue") {
				s.Errorf("curl was not told to continue: %s", trace)
			}
		}
		s.settle(s.T)
		get, err := presigner.PresignGetObject(s.Context(), &s3.GetObjectInput{Bucket: &s.bucket, Key: &key})
		if err != nil {
			s.Fatal(err)
		}
		curl(s.T, "-o", back, get.URL)
		sameFile(s.T, data, back)
		del, err := presigner.PresignDeleteObject(s.Context(), &s3.DeleteObjectInput{Bucket: &s.bucket, Key: &gone})
		if err != nil {
			s.Fatal(err)
		}
		curl(s.T, "-X", "DELETE", del.URL)
	})
	w.step(t, "signed by curl", func(s *step) {
		dir := s.TempDir()
		file, back := filepath.Join(dir, "file"), filepath.Join(dir, "back")
		data := content(2, 100*kib)
		mustWrite(s.T, file, data)
		sign := []string{"--aws-sigv4", "aws:amz:" + region + ":s3", "--user", accessKey + ":" + secretKey}
		url := s.plain.url + "/" + s.bucket + "/by-curl"
		curl(s.T, append(sign, "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "-H", "x-amz-meta-From: curl", "-T", file, url)...)
		s.settle(s.T)
		curl(s.T, append(sign, "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "-o", back, url)...)
		sameFile(s.T, data, back)
	})
}
