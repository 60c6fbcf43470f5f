package interop

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// versionSteps: each store makes up version ids of its own, so a request that
// names one can only be meant for that store.
func versionSteps(t *testing.T, w *world) {
	plain := newSDK(w.plain.url, nil)
	w.step(t, "put, overwrite, delete, read each", func(s *step) {
		if _, err := plain.PutBucketVersioning(s.Context(), &s3.PutBucketVersioningInput{Bucket: &s.bucket,
			VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}); err != nil {
			s.Fatal(err)
		}
		s.settle(s.T)
		key := aws.String("k")
		for i := range 3 {
			if _, err := plain.PutObject(s.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: key, Body: strings.NewReader(fmt.Sprint("version ", i))}); err != nil {
				s.Fatal(err)
			}
			s.settle(s.T)
		}
		if _, err := plain.DeleteObject(s.Context(), &s3.DeleteObjectInput{Bucket: &s.bucket, Key: key}); err != nil {
			s.Fatal(err)
		}
		s.settle(s.T)
		for _, store := range s.stores {
			out, err := store.direct.ListObjectVersions(s.Context(), &s3.ListObjectVersionsInput{Bucket: &s.bucket})
			if err != nil || len(out.Versions) != 3 || len(out.DeleteMarkers) != 1 {
				s.Fatalf("%v has %+v, %v", store, out, err)
			}
			for i, v := range out.Versions { // the latest first
				got, err := plain.GetObject(s.Context(), &s3.GetObjectInput{Bucket: &s.bucket, Key: key, VersionId: v.VersionId})
				if err != nil {
					s.Errorf("%v: version %d: %v", store, i, err)
					continue
				}
				data, err := io.ReadAll(got.Body)
				if want := fmt.Sprint("version ", 2-i); err != nil || string(data) != want {
					s.Errorf("%v: version %d is %q, %v, want %q", store, i, data, err, want)
				}
			}
		}
		_, err := plain.GetObject(s.Context(), &s3.GetObjectInput{Bucket: &s.bucket, Key: key})
		if errorCode(err) != "NoSuchKey" {
			s.Errorf("the deleted object: %v", err)
		}
	})
	w.step(t, "suspended", func(s *step) {
		for _, status := range []types.BucketVersioningStatus{types.BucketVersioningStatusEnabled, types.BucketVersioningStatusSuspended} {
			if _, err := plain.PutBucketVersioning(s.Context(), &s3.PutBucketVersioningInput{Bucket: &s.bucket,
				VersioningConfiguration: &types.VersioningConfiguration{Status: status}}); err != nil {
				s.Fatal(err)
			}
			s.settle(s.T)
			if _, err := plain.PutObject(s.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: aws.String("k"), Body: strings.NewReader(string(status))}); err != nil {
				s.Fatal(err)
			}
			s.settle(s.T)
		}
	})
	w.step(t, "delete one version", func(s *step) {
		if _, err := plain.PutBucketVersioning(s.Context(), &s3.PutBucketVersioningInput{Bucket: &s.bucket,
			VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}); err != nil {
			s.Fatal(err)
		}
		s.settle(s.T)
		if _, err := plain.PutObject(s.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: aws.String("k"), Body: strings.NewReader("only")}); err != nil {
			s.Fatal(err)
		}
		s.settle(s.T)
		out, err := s.stores[0].direct.ListObjectVersions(s.Context(), &s3.ListObjectVersionsInput{Bucket: &s.bucket})
		if err != nil || len(out.Versions) != 1 {
			s.Fatalf("%+v, %v", out, err)
		}
		// The other store knows no such version, and answers 204 all the same.
		s.differs("k", "the version's id is one store's own")
		if _, err := plain.DeleteObject(s.Context(), &s3.DeleteObjectInput{Bucket: &s.bucket, Key: aws.String("k"), VersionId: out.Versions[0].VersionId}); err != nil {
			s.Errorf("DeleteObject: %v", err)
		}
	})
}
