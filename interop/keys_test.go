package interop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// oddKeys are keys that something on the way might "clean" (R2), which would break
// the signature, or worse, name another object.
var oddKeys = []string{
	"a//b", "a/../b", "a/./b", "/leading", "//two", "trailing/", "trailing//", "..", ".", "../up", "a/..", "...",
	"ü€ %2F+;=&", "%2F", "%2f", "%", "%%", "%zz", "+", " ", " x ", "a b+c%20d", "?", "a?b=c", "#", "a#b", "&", "=", ";", ":", "@", "!$'()*,",
	"~", "-._~", "\\", "a\\b", "\"<>^`{|}", "é", "e\u0301", "日本語", "😀", "\u00a0", "\u2028",
	strings.Repeat("k", 1024), strings.Repeat(strings.Repeat("d", 127)+"/", 7) + strings.Repeat("e", 128),
	strings.Repeat("ü", 512), strings.Repeat(strings.Repeat("ü", 63)+"//", 7) + strings.Repeat("€", 40) + "++++", strings.Repeat("k", 1025),
}

func keySteps(t *testing.T, w *world) {
	for i, key := range oddKeys {
		name := key
		if len(name) > 40 {
			name = fmt.Sprintf("%d bytes, no. %d", len(key), i)
		}
		w.step(t, fmt.Sprintf("%q", name), func(s *step) {
			body := fmt.Sprintf("object %d", i)
			sameSDK(s, "PutObject", key, func(ctx context.Context, c *s3.Client, bucket string) string {
				_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)})
				return outcome(err)
			})
			sameSDK(s, "GetObject", key, func(ctx context.Context, c *s3.Client, bucket string) string {
				out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
				if err != nil {
					return outcome(err)
				}
				defer out.Body.Close()
				data, err := io.ReadAll(out.Body)
				if err != nil || !bytes.Equal(data, []byte(body)) {
					return fmt.Sprintf("%q, %v", data, err)
				}
				return outcome(nil)
			})
			sameSDK(s, "ListObjectsV2", key, func(ctx context.Context, c *s3.Client, bucket string) string {
				out, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &bucket})
				if err != nil {
					return outcome(err)
				}
				var keys []string
				for _, o := range out.Contents {
					keys = append(keys, *o.Key)
				}
				return fmt.Sprintf("%q", keys)
			})
			s.likeDirect()
			s.compareNow()
			sameSDK(s, "DeleteObject", key, func(ctx context.Context, c *s3.Client, bucket string) string {
				_, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
				return outcome(err)
			})
			s.likeDirect()
		})
	}
}
