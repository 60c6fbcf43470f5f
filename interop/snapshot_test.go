package interop

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// object is all that two stores must agree about.
type object struct {
	size      int64
	etag      string
	sha256    string // of what the store gives, read in full
	headers   string // type, encoding and so on
	metadata  string
	checksums [5]string // those that the store gives
}

// differs tells what two stores have of one object that is not the same. Some make
// checksums of their own where the client sent none, so only those
// that both have count.
func (o object) differs(from object) bool {
	for i, sum := range o.checksums {
		if sum != "" && from.checksums[i] != "" && sum != from.checksums[i] {
			return true
		}
	}
	o.checksums = from.checksums
	return o != from
}

// snapshot is what a store holds of a bucket, read from the store itself. A bucket
// that does not exist is nil.
func (s *store) snapshot(t *testing.T, bucket string) map[string]object {
	t.Helper()
	keys, err := s.keys(t.Context(), bucket)
	if errorCode(err) == "NoSuchBucket" {
		return nil
	}
	if err != nil {
		t.Fatalf("%v: cannot list %s: %v", s, bucket, err)
	}
	held := make(map[string]object, len(keys))
	for key, listed := range keys {
		o, err := s.read(t.Context(), bucket, key)
		if err != nil {
			t.Fatalf("%v: cannot read %s/%s: %v", s, bucket, key, err)
		}
		if o.size != aws.ToInt64(listed.Size) || o.etag != aws.ToString(listed.ETag) {
			t.Errorf("%v: %s/%s is listed with %d bytes and ETag %s, and read as %+v", s, bucket, key,
				aws.ToInt64(listed.Size), aws.ToString(listed.ETag), o)
		}
		held[key] = o
	}
	return held
}

// keys lists a bucket.
func (s *store) keys(ctx context.Context, bucket string) (map[string]types.Object, error) {
	all := make(map[string]types.Object)
	pages := s3.NewListObjectsV2Paginator(s.direct, &s3.ListObjectsV2Input{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			all[aws.ToString(o.Key)] = o
		}
	}
	return all, nil
}

// read reads an object to its end. The SDK compares it with its checksum.
func (s *store) read(ctx context.Context, bucket, key string) (object, error) {
	out, err := s.direct.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		return object{}, err
	}
	defer out.Body.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, out.Body)
	if err != nil {
		return object{}, err
	}
	if n != aws.ToInt64(out.ContentLength) {
		return object{}, fmt.Errorf("%d bytes came of %d", n, aws.ToInt64(out.ContentLength))
	}
	o := object{size: n, etag: aws.ToString(out.ETag), sha256: hex.EncodeToString(sum.Sum(nil))}
	var headers []string
	for _, h := range []struct {
		name  string
		value *string
	}{
		{"Content-Type", out.ContentType}, {"Content-Encoding", withoutChunked(out.ContentEncoding)},
		{"Content-Language", out.ContentLanguage}, {"Content-Disposition", out.ContentDisposition},
		{"Cache-Control", out.CacheControl}, {"Expires", out.ExpiresString},
	} {
		if h.value != nil {
			headers = append(headers, fmt.Sprintf("%s: %q", h.name, *h.value))
		}
	}
	for i, sum := range []*string{out.ChecksumCRC32, out.ChecksumCRC32C, out.ChecksumCRC64NVME, out.ChecksumSHA1, out.ChecksumSHA256} {
		o.checksums[i] = aws.ToString(sum)
	}
	o.headers = strings.Join(headers, ", ")
	for _, name := range slices.Sorted(maps.Keys(out.Metadata)) {
		value := out.Metadata[name]
		// MinIO gives what is not ASCII as RFC 2047 has it, versitygw as it came.
		if decoded, err := new(mime.WordDecoder).DecodeHeader(value); err == nil {
			value = decoded
		}
		o.metadata += fmt.Sprintf("%s: %q, ", strings.ToLower(name), value)
	}
	return o, nil
}

// withoutChunked takes away what was about the request and not about the object:
// S3 does not store "aws-chunked", versitygw does.
func withoutChunked(encoding *string) *string {
	var kept []string
	for coding := range strings.SplitSeq(aws.ToString(encoding), ",") {
		if coding = strings.TrimSpace(coding); coding != "" && coding != "aws-chunked" {
			kept = append(kept, coding)
		}
	}
	if kept == nil {
		return nil
	}
	return aws.String(strings.Join(kept, ","))
}

// uploads lists what was begun in parts and never ended.
func (s *store) uploads(t *testing.T, bucket string) []string {
	t.Helper()
	out, err := s.direct.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &bucket})
	if errorCode(err) == "NoSuchBucket" {
		return nil
	}
	if err != nil {
		t.Fatalf("%v: cannot list uploads of %s: %v", s, bucket, err)
	}
	var keys []string
	for _, u := range out.Uploads {
		keys = append(keys, aws.ToString(u.Key))
	}
	return keys
}

// errorCode is S3's word for what went wrong, or that of the network.
func errorCode(err error) string {
	var api smithy.APIError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &api):
		return api.ErrorCode()
	default:
		return err.Error()
	}
}
