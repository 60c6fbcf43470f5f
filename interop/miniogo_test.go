package interop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	miniogo "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// newMinioGo makes a client; trailing lets it send checksums as trailers.
func newMinioGo(t *testing.T, addr string, secure, trailing bool, transport http.RoundTripper) *miniogo.Client {
	t.Helper()
	c, err := miniogo.New(addr, &miniogo.Options{
		Creds: credentials.NewStaticV4(accessKey, secretKey, ""), Region: region, Secure: secure, Transport: transport,
		BucketLookup: miniogo.BucketLookupPath, TrailingHeaders: trailing, MaxRetries: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// onlyReader hides that a reader can seek, and how much is left in it.
type onlyReader struct{ io.Reader }

func minioSteps(t *testing.T, w *world) {
	plain := newMinioGo(t, w.plain.addr, false, false, directTransport)
	secure := newMinioGo(t, w.tls.addr, true, true, w.trust)

	w.step(t, "PutObject, StatObject, GetObject", func(s *step) {
		data := content(1, 200*kib+7)
		put := func(c *miniogo.Client, bucket, key string, o miniogo.PutObjectOptions) string {
			o.ContentType, o.UserMetadata = "text/odd", map[string]string{"Colour": "blue"}
			_, err := c.PutObject(s.Context(), bucket, key, onlyReader{bytes.NewReader(data)}, int64(len(data)), o)
			return minioOutcome(err)
		}
		for name, o := range map[string]miniogo.PutObjectOptions{
			"streaming signature": {},
			"unsigned":            {DisableContentSha256: true},
			"MD5":                 {SendContentMd5: true},
			"ü€ %2F+;=&/one":      {ContentEncoding: "gzip", CacheControl: "no-store", ContentLanguage: "de", ContentDisposition: `attachment; filename="ü.bin"`},
		} {
			sameEverywhere(s, name, name, func(_ context.Context, at, bucket string) string {
				return put(newMinioGo(t, at, false, false, directTransport), bucket, name, o)
			})
		}
		for _, checksum := range []miniogo.ChecksumType{miniogo.ChecksumCRC32, miniogo.ChecksumCRC32C, miniogo.ChecksumSHA1, miniogo.ChecksumSHA256, miniogo.ChecksumCRC64NVME} {
			key := "signed trailer " + checksum.String() // versitygw 1.8 refuses those of this client
			sameEverywhere(s, key, key, func(_ context.Context, at, bucket string) string {
				return put(newMinioGo(t, at, false, true, directTransport), bucket, key, miniogo.PutObjectOptions{Checksum: checksum})
			})
			key = "unsigned trailer " + checksum.String()
			if got := put(secure, s.bucket, key, miniogo.PutObjectOptions{Checksum: checksum}); got != "ok" {
				s.Errorf("PutObject %s: %s", key, got)
			}
			s.sameObject(secure, key, miniogo.GetObjectOptions{}, data)
		}
		s.settle(s.T)
		info, err := plain.StatObject(s.Context(), s.bucket, "streaming signature", miniogo.StatObjectOptions{})
		if err != nil || info.Size != int64(len(data)) || info.ContentType != "text/odd" || info.UserMetadata["Colour"] != "blue" {
			s.Errorf("StatObject: %+v, %v", info, err)
		}
		for _, r := range []struct{ from, to int64 }{{0, 0}, {0, 99}, {100_000, 104_095}, {204_000, 204_806}} {
			o := miniogo.GetObjectOptions{}
			if err := o.SetRange(r.from, r.to); err != nil {
				s.Fatal(err)
			}
			s.sameObject(plain, "streaming signature", o, data[r.from:r.to+1])
		}
	})
	w.step(t, "PutObject of unknown length", func(s *step) {
		data := content(2, 12*mib)
		for _, key := range []string{"one", "two", "three"} { // whose uploads belong to either store
			if _, err := plain.PutObject(s.Context(), s.bucket, key, onlyReader{bytes.NewReader(data)}, -1, miniogo.PutObjectOptions{PartSize: 5 * mib}); err != nil {
				s.Errorf("PutObject %s: %v", key, err)
			}
			s.inParts(key)
			s.sameObject(plain, key, miniogo.GetObjectOptions{}, data)
		}
	})
	w.step(t, "RemoveObjects", func(s *step) {
		objects := make(chan miniogo.ObjectInfo, 100)
		for _, name := range oddNames {
			if _, err := plain.PutObject(s.Context(), s.bucket, name, strings.NewReader(name), int64(len(name)), miniogo.PutObjectOptions{}); err != nil {
				s.Fatalf("PutObject %q: %v", name, err)
			}
			if name != "plain.txt" {
				objects <- miniogo.ObjectInfo{Key: name}
			}
		}
		objects <- miniogo.ObjectInfo{Key: "never/was"}
		close(objects)
		s.settle(s.T)
		for err := range plain.RemoveObjects(s.Context(), s.bucket, objects, miniogo.RemoveObjectsOptions{}) {
			s.Errorf("RemoveObjects: %+v", err)
		}
		s.settle(s.T)
		var left []string
		for o := range plain.ListObjects(s.Context(), s.bucket, miniogo.ListObjectsOptions{Recursive: true}) {
			if o.Err != nil {
				s.Fatal(o.Err)
			}
			left = append(left, o.Key)
		}
		if !slices.Equal(left, []string{"plain.txt"}) {
			s.Errorf("left are %q", left)
		}
	})
	w.step(t, "CopyObject, RemoveObject", func(s *step) {
		const key = "ü€ %2F+;=&/from"
		if _, err := plain.PutObject(s.Context(), s.bucket, key, strings.NewReader("copy me"), 7, miniogo.PutObjectOptions{UserMetadata: map[string]string{"Old": "1"}}); err != nil {
			s.Fatal(err)
		}
		s.settle(s.T)
		from := miniogo.CopySrcOptions{Bucket: s.bucket, Object: key}
		if _, err := plain.CopyObject(s.Context(), miniogo.CopyDestOptions{Bucket: s.bucket, Object: "as it is"}, from); err != nil {
			s.Errorf("CopyObject: %v", err)
		}
		if _, err := plain.CopyObject(s.Context(), miniogo.CopyDestOptions{
			Bucket: s.bucket, Object: "with metadata", UserMetadata: map[string]string{"New": "2"}, ReplaceMetadata: true,
		}, from); err != nil {
			s.Errorf("CopyObject: %v", err)
		}
		s.settle(s.T) // or a store may delete the source before it is copied there
		if err := plain.RemoveObject(s.Context(), s.bucket, key, miniogo.RemoveObjectOptions{}); err != nil {
			s.Errorf("RemoveObject: %v", err)
		}
	})
	w.step(t, "presigned", func(s *step) {
		dir := s.TempDir()
		file, back := filepath.Join(dir, "file"), filepath.Join(dir, "back")
		data := content(3, 50*kib)
		mustWrite(s.T, file, data)
		key := "presigned/ü+%20"
		put, err := plain.PresignedPutObject(s.Context(), s.bucket, key, time.Minute)
		if err != nil {
			s.Fatal(err)
		}
		curl(s.T, "-T", file, put.String())
		s.settle(s.T)
		get, err := plain.PresignedGetObject(s.Context(), s.bucket, key, time.Minute, url.Values{"response-content-type": {"text/other"}})
		if err != nil {
			s.Fatal(err)
		}
		if head := curl(s.T, "-D", "-", "-o", back, get.String()); !strings.Contains(head, "text/other") {
			s.Errorf("response-content-type was lost: %s", head)
		}
		sameFile(s.T, data, back)
	})
	if w.all(minio) { // versitygw's own form of it differs between releases
		w.step(t, "POST form", func(s *step) {
			file := filepath.Join(s.TempDir(), "file")
			mustWrite(s.T, file, content(4, 30*kib))
			policy := miniogo.NewPostPolicy()
			for _, err := range []error{policy.SetBucket(s.bucket), policy.SetKey("from a form"), policy.SetExpires(time.Now().Add(time.Minute))} {
				if err != nil {
					s.Fatal(err)
				}
			}
			to, fields, err := plain.PresignedPostPolicy(s.Context(), policy)
			if err != nil {
				s.Fatal(err)
			}
			var args []string
			for name, value := range fields {
				args = append(args, "-F", name+"="+value)
			}
			curl(s.T, append(args, "-F", "file=@"+file, to.String())...)
		})
	}
}

// minioOutcome is outcome for this client's errors.
func minioOutcome(err error) string {
	if err == nil {
		return "ok"
	}
	response := miniogo.ToErrorResponse(err)
	return fmt.Sprintf("%d %s", response.StatusCode, response.Code)
}

// sameObject reads an object, or a part of it, through the proxy.
func (s *step) sameObject(c *miniogo.Client, key string, o miniogo.GetObjectOptions, want []byte) {
	s.Helper()
	body, err := c.GetObject(s.Context(), s.bucket, key, o)
	if err != nil {
		s.Errorf("GetObject %s: %v", key, err)
		return
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if err != nil || !bytes.Equal(got, want) {
		s.Errorf("GetObject %s gave %d bytes that are not the %d asked for, %v", key, len(got), len(want), err)
	}
}
