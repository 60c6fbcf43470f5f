package interop

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// upload is a multipart upload, request by request, each of which may go through
// another proxy.
type upload struct {
	s       *step
	key     string
	id      *string
	checked bool // each part with its CRC32
	parts   []types.CompletedPart
}

func (s *step) beginUpload(c *s3.Client, key string) *upload {
	s.Helper()
	return s.beginUploadWith(c, key, types.ChecksumAlgorithmCrc32)
}

func (s *step) beginUploadWith(c *s3.Client, key string, algorithm types.ChecksumAlgorithm) *upload {
	s.Helper()
	out, err := c.CreateMultipartUpload(s.Context(), &s3.CreateMultipartUploadInput{Bucket: &s.bucket, Key: &key,
		ContentType: aws.String("text/odd"), Metadata: map[string]string{"colour": "blue"},
		ChecksumAlgorithm: algorithm})
	if err != nil {
		s.Fatalf("CreateMultipartUpload: %v", err)
	}
	return &upload{s: s, key: key, id: out.UploadId, checked: algorithm != ""}
}

func (u *upload) part(c *s3.Client, data []byte) {
	u.s.Helper()
	number := aws.Int32(int32(len(u.parts) + 1))
	out, err := c.UploadPart(u.s.Context(), &s3.UploadPartInput{Bucket: &u.s.bucket, Key: &u.key, UploadId: u.id, PartNumber: number, Body: bytes.NewReader(data)})
	if err != nil {
		u.s.Fatalf("UploadPart %d of %q: %v", *number, u.key, err)
	}
	u.add(out.ETag, out.ChecksumCRC32)
}

func (u *upload) add(etag, crc32 *string) {
	if !u.checked {
		crc32 = nil
	}
	u.parts = append(u.parts, types.CompletedPart{PartNumber: aws.Int32(int32(len(u.parts) + 1)), ETag: etag, ChecksumCRC32: crc32})
}

func (u *upload) complete(c *s3.Client) {
	u.s.Helper()
	_, err := c.CompleteMultipartUpload(u.s.Context(), &s3.CompleteMultipartUploadInput{Bucket: &u.s.bucket, Key: &u.key, UploadId: u.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts}})
	if err != nil {
		u.s.Fatalf("CompleteMultipartUpload of %q: %v", u.key, err)
	}
	u.s.inParts(u.key)
}

// uploadSteps are about R26.
func uploadSteps(t *testing.T, w *world) {
	plain, secure := newSDK(w.plain.url, nil), newSDK(w.tls.url, w.trust)
	first, last := content(1, 5*mib), content(2, 1000)
	both := append(append([]byte(nil), first...), last...)

	w.step(t, "each request, until it is complete", func(s *step) {
		for i := range 6 { // whose uploads belong to either store
			u := s.beginUpload(plain, fmt.Sprintf("ü+ %d", i))
			u.part(plain, first)
			u.part(plain, last)
			listed, err := plain.ListParts(s.Context(), &s3.ListPartsInput{Bucket: &s.bucket, Key: &u.key, UploadId: u.id})
			if err != nil || len(listed.Parts) != 2 {
				s.Errorf("ListParts: %+v, %v", listed, err)
			}
			u.complete(plain)
			s.sameRead(plain, u.key, "", both)
		}
	})
	w.step(t, "abort", func(s *step) {
		for i := range 4 {
			u := s.beginUpload(plain, fmt.Sprint(i))
			u.part(plain, first)
			if _, err := plain.AbortMultipartUpload(s.Context(), &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: &u.key, UploadId: u.id}); err != nil {
				s.Errorf("AbortMultipartUpload: %v", err)
			}
		}
	})
	w.step(t, "through another proxy", func(s *step) { // which does not know the id
		for i := range 4 {
			u := s.beginUpload(plain, fmt.Sprint(i))
			u.part(secure, first)
			u.part(plain, last)
			u.complete(secure)
			s.sameRead(secure, u.key, "", both)
		}
		u := s.beginUpload(plain, "aborted")
		if _, err := secure.AbortMultipartUpload(s.Context(), &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: &u.key, UploadId: u.id}); err != nil {
			s.Errorf("AbortMultipartUpload: %v", err)
		}
	})
	w.step(t, "small object, then in parts, then small", func(s *step) {
		put := func(body string) {
			if _, err := plain.PutObject(s.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: aws.String("k"), Body: strings.NewReader(body)}); err != nil {
				s.Fatal(err)
			}
			s.settle(s.T)
		}
		put("first")
		u := s.beginUpload(plain, "k")
		u.part(plain, last)
		u.complete(plain)
		s.settle(s.T)
		put("last")
		delete(s.multipart, "k")
		s.differs("k", "it was written in parts in between")
		s.sameRead(plain, "k", "", []byte("last"))
	})
	w.step(t, "UploadPartCopy", func(s *step) {
		if _, err := plain.PutObject(s.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: aws.String("from"), Body: bytes.NewReader(first)}); err != nil {
			s.Fatal(err)
		}
		s.settle(s.T)
		u := s.beginUploadWith(plain, "to", "") // MinIO copies no part of an upload with checksums
		out, err := plain.UploadPartCopy(s.Context(), &s3.UploadPartCopyInput{Bucket: &s.bucket, Key: &u.key, UploadId: u.id, PartNumber: aws.Int32(1),
			CopySource: aws.String(s.bucket + "/from")})
		if err != nil {
			s.Fatalf("UploadPartCopy: %v", err)
		}
		u.add(out.CopyPartResult.ETag, nil)
		u.part(plain, last)
		u.complete(plain)
		s.sameRead(plain, "to", "", both)
	})
}
