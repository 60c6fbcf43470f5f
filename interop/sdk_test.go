package interop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func sdkSteps(t *testing.T, w *world) {
	plain, secure := newSDK(w.plain.url, nil), newSDK(w.tls.url, w.trust)

	// On plain HTTP the SDK sends the checksum as a header and signs the body's
	// SHA-256, for which it must be able to seek. Over TLS it sends the body in
	// chunks with the checksum as a trailer.
	w.step(t, "PutObject, default checksum", func(s *step) {
		data := content(1, 100*kib)
		for _, key := range []string{"header", "empty"} {
			if key == "empty" {
				data = nil
			}
			sent := watch(plain, func(c *s3.Client) error {
				_, err := c.PutObject(s.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: &key, Body: bytes.NewReader(data)})
				return err
			})
			sent.want(s, "X-Amz-Checksum-Crc32", "")
		}
		data = content(1, 3*mib)
		for _, key := range []string{"trailer", "trailer, unseekable"} {
			var body io.Reader = bytes.NewReader(data)
			if key != "trailer" {
				body = onlyReader{body}
			}
			sent := watch(secure, func(c *s3.Client) error {
				_, err := c.PutObject(s.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: &key, Body: body, ContentLength: aws.Int64(int64(len(data)))})
				return err
			})
			sent.want(s, "X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
			sent.want(s, "Expect", "100-continue")
		}
	})
	w.step(t, "PutObject, each checksum", func(s *step) {
		data := content(2, 70*kib)
		for _, algorithm := range []types.ChecksumAlgorithm{
			types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmCrc32c, types.ChecksumAlgorithmCrc64nvme, types.ChecksumAlgorithmSha1, types.ChecksumAlgorithmSha256,
		} {
			for name, c := range map[string]*s3.Client{"header ": plain, "trailer ": secure} {
				key := name + string(algorithm)
				if _, err := c.PutObject(s.Context(), &s3.PutObjectInput{
					Bucket: &s.bucket, Key: &key, Body: bytes.NewReader(data), ChecksumAlgorithm: algorithm,
				}); err != nil {
					s.Errorf("%s: %v", key, err)
				}
				s.sameRead(c, key, "", data)
			}
		}
	})
	w.step(t, "PutObject, unsigned and unseekable", func(s *step) {
		data := content(3, 300*kib)
		_, err := plain.PutObject(s.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: aws.String("unsigned"),
			Body: onlyReader{bytes.NewReader(data)}, ContentLength: aws.Int64(int64(len(data)))},
			s3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware),
			func(o *s3.Options) { o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired })
		if err != nil {
			s.Error(err)
		}
		s.sameRead(plain, "unsigned", "", data)
	})
	w.step(t, "wrong checksum", func(s *step) {
		sameSDK(s, "PutObject with a wrong CRC32", "k", func(ctx context.Context, c *s3.Client, bucket string) string {
			_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("k"), Body: strings.NewReader("x"), ChecksumCRC32: aws.String("AAAAAA==")})
			return outcome(err)
		})
	})
	w.step(t, "conditional writes", func(s *step) {
		put := func(what string, none, match string) {
			s.Helper()
			sameSDK(s, what, "once", func(ctx context.Context, c *s3.Client, bucket string) string {
				in := &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("once"), Body: strings.NewReader(what)}
				if none != "" {
					in.IfNoneMatch = &none
				}
				if match != "" {
					if match == "current" {
						head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: in.Key})
						if err != nil {
							return outcome(err)
						}
						match = *head.ETag
					}
					in.IfMatch = &match
				}
				_, err := c.PutObject(ctx, in)
				return outcome(err)
			})
		}
		put("If-None-Match: *, the first", "*", "")
		put("If-None-Match: *, the second", "*", "")
		put("If-Match, the current one", "", "current")
		put("If-Match, another one", "", `"d41d8cd98f00b204e9800998ecf8427e"`)
		sameSDK(s, "GetObject If-None-Match", "once", func(ctx context.Context, c *s3.Client, bucket string) string {
			head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: aws.String("once")})
			if err != nil {
				return outcome(err)
			}
			_, err = c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("once"), IfNoneMatch: head.ETag})
			return outcome(err)
		})
	})
	w.step(t, "ranges", func(s *step) {
		data := content(4, 9*mib)
		if _, err := plain.PutObject(s.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: aws.String("k"), Body: bytes.NewReader(data)}); err != nil {
			s.Fatal(err)
		}
		s.settle(s.T)
		s.sameRead(plain, "k", "bytes=0-0", data[:1])
		s.sameRead(plain, "k", "bytes=1000000-8999999", data[1000000:9000000])
		s.sameRead(plain, "k", "bytes=-500", data[len(data)-500:])
		s.sameRead(secure, "k", "bytes=9000000-", data[9000000:])
		sameSDK(s, "a range past the end", "short", func(ctx context.Context, c *s3.Client, bucket string) string {
			key := aws.String("short")
			if _, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: key, Body: strings.NewReader("short")}); err != nil {
				return outcome(err)
			}
			_, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: key, Range: aws.String("bytes=100-200")})
			return outcome(err)
		})
	})
	w.step(t, "ListObjectsV2 in pages", func(s *step) {
		var wg sync.WaitGroup
		free := make(chan struct{}, 8)
		for i := range 57 {
			wg.Go(func() {
				free <- struct{}{}
				defer func() { <-free }()
				key := fmt.Sprintf("p/%02d ü+&", i)
				if _, err := plain.PutObject(s.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: &key, Body: strings.NewReader(key)}); err != nil {
					s.Error(err)
				}
			})
		}
		wg.Wait()
		s.settle(s.T)
		// A page's token is the store's own, and each page may come from another one.
		for range 20 {
			var keys []string
			pages := s3.NewListObjectsV2Paginator(plain, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: aws.String("p/"), MaxKeys: aws.Int32(10)})
			for pages.HasMorePages() && len(keys) < 200 {
				page, err := pages.NextPage(s.Context())
				if err != nil {
					s.Fatalf("after %d keys: %v", len(keys), err)
				}
				for _, o := range page.Contents {
					keys = append(keys, *o.Key)
				}
			}
			if len(keys) != 57 || !slices.IsSorted(keys) {
				s.Errorf("the pages have %d keys of 57: %q", len(keys), keys)
			}
		}
	})
	w.step(t, "metadata", func(s *step) {
		sameSDK(s, "metadata", "k", func(ctx context.Context, c *s3.Client, bucket string) string {
			_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("k"), Body: strings.NewReader("x"),
				Metadata: map[string]string{"plain": "value", "MixedCase": "Value", "spaces": "a  b", "encoded": "=?UTF-8?B?w7zigqw=?=", "long": strings.Repeat("v", 1500)}})
			return outcome(err) + metadataOf(ctx, c, bucket, "k")
		})
		sameSDK(s, "metadata that is not ASCII", "utf-8", func(ctx context.Context, c *s3.Client, bucket string) string {
			_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("utf-8"), Body: strings.NewReader("x"),
				Metadata: map[string]string{"name": "ü€ 日本"}})
			return outcome(err) + metadataOf(ctx, c, bucket, "utf-8")
		})
	})
	w.step(t, "tags", func(s *step) {
		sameSDK(s, "tags", "k", func(ctx context.Context, c *s3.Client, bucket string) string {
			key := aws.String("k")
			_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: key, Body: strings.NewReader("x"), Tagging: aws.String("a=1&b=%C3%BC")})
			if err != nil {
				return outcome(err)
			}
			w.settle(s.T)
			_, err = c.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: &bucket, Key: key,
				Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("c"), Value: aws.String("3")}}}})
			if err != nil {
				return outcome(err)
			}
			w.settle(s.T)
			tags, err := c.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &bucket, Key: key})
			if err != nil {
				return outcome(err)
			}
			return fmt.Sprint(len(tags.TagSet), *tags.TagSet[0].Key, *tags.TagSet[0].Value)
		})
	})
	w.step(t, "DeleteObjects", func(s *step) {
		var list []types.ObjectIdentifier
		for _, key := range []string{"a", "b/ü€ %2F+;=&", "c<>&\"'", "stays"} {
			if _, err := plain.PutObject(s.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: &key, Body: strings.NewReader(key)}); err != nil {
				s.Fatal(err)
			}
			if key != "stays" {
				list = append(list, types.ObjectIdentifier{Key: &key})
			}
		}
		s.settle(s.T)
		for _, quiet := range []bool{false, true} {
			out, err := plain.DeleteObjects(s.Context(), &s3.DeleteObjectsInput{Bucket: &s.bucket, Delete: &types.Delete{Objects: list, Quiet: &quiet}})
			if err != nil || len(out.Errors) > 0 || !quiet && len(out.Deleted) != len(list) {
				s.Errorf("DeleteObjects: %+v, %v", out, err)
			}
			s.settle(s.T)
		}
	})
	w.step(t, "bucket in the host name", func(s *step) {
		_, port, _ := strings.Cut(w.plain.addr, ":")
		c := newSDK("http://"+domain+":"+port, nil, func(o *s3.Options) { o.UsePathStyle = false })
		data := content(5, 5000)
		sent := watch(c, func(c *s3.Client) error {
			_, err := c.PutObject(s.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: aws.String("ü/k"), Body: bytes.NewReader(data)})
			return err
		})
		if !strings.HasPrefix(sent.host, s.bucket+"."+domain) {
			s.Errorf("the host was %s", sent.host)
		}
		sent.want(s, "X-Amz-Checksum-Crc32", "")
		s.sameRead(c, "ü/k", "", data)
	})
	w.step(t, "errors are the store's own", func(s *step) {
		sameSDK(s, "no such key", "nothing", func(ctx context.Context, c *s3.Client, bucket string) string {
			_, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("nothing")})
			return outcome(err)
		})
		sameSDK(s, "HEAD of no such key", "nothing", func(ctx context.Context, c *s3.Client, bucket string) string {
			_, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: aws.String("nothing")})
			return outcome(err)
		})
		wrong := func(ctx context.Context, at, bucket string, size int) string {
			c := newSDK("http://"+at, nil, func(o *s3.Options) {
				o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
					return aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: "wrong"}, nil
				})
			})
			_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("k"), Body: bytes.NewReader(make([]byte, size))})
			return outcome(err)
		}
		sameEverywhere(s, "wrong secret", "k", func(ctx context.Context, at, bucket string) string { return wrong(ctx, at, bucket, 100) })
		// A store may close the connection on the client that is still sending, so
		// that its own answer is lost; through the proxy the client shall have it (R9).
		for range 5 {
			if got := wrong(s.Context(), s.plain.addr, s.bucket, 5*mib); got != "403 SignatureDoesNotMatch" {
				s.Errorf("wrong secret with 5 MiB: %s", got)
			}
		}
		sameSDK(s, "a bucket that is there already", "", func(ctx context.Context, c *s3.Client, bucket string) string {
			_, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket})
			return outcome(err)
		})
		sameSDK(s, "no such bucket", "k", func(ctx context.Context, c *s3.Client, bucket string) string {
			_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(bucket + "-not"), Key: aws.String("k"), Body: strings.NewReader("x")})
			return outcome(err)
		})
	})
}
