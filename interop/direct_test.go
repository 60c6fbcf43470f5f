package interop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/transport/http"
)

// sameEverywhere does something about one key at each store itself first, in a
// bucket of its own, and then through the proxy: it must come to the same. Where
// the stores do not agree, the proxy's answer must be that of one of them, and the
// synclog must tell of it, if something was written.
func sameEverywhere(s *step, what, key string, do func(ctx context.Context, at, bucket string) string) {
	s.Helper()
	direct := s.direct()
	var want []string
	for _, store := range s.stores {
		if _, err := store.direct.CreateBucket(s.Context(), &s3.CreateBucketInput{Bucket: &direct}); err != nil && errorCode(err) != "BucketAlreadyOwnedByYou" {
			s.Fatalf("%v: cannot make a bucket: %v", store, err)
		}
		want = append(want, do(s.Context(), store.addr, direct))
	}
	if want[0] != want[1] {
		s.differs(key, fmt.Sprintf("%s: %s says %.50q, %s %.50q", what, s.stores[0].kind, want[0], s.stores[1].kind, want[1]))
	}
	got := do(s.Context(), s.plain.addr, s.bucket)
	s.settle(s.T)
	if want[0] != want[1] {
		s.Logf("%s: %s says %.200s, %s %.200s, the proxy %.200s", what, s.stores[0].kind, want[0], s.stores[1].kind, want[1], got)
	}
	if !slices.Contains(want, got) {
		s.Errorf("%s: the stores say %q, the proxy %q", what, want, got)
	}
}

// direct is the bucket that each store has for itself.
func (s *step) direct() string { return s.bucket + "-direct" }

// likeDirect checks that each store holds what it holds of the same done to it
// directly: what it makes of a key is its own business, but the proxy has no part
// in it. From here on, stores of different kinds are not compared with each other.
func (s *step) likeDirect() {
	s.Helper()
	s.settle(s.T)
	for _, store := range s.stores {
		want, got := store.snapshot(s.T, s.direct()), store.snapshot(s.T, s.bucket)
		if !maps.EqualFunc(want, got, func(a, b object) bool { return !a.differs(b) }) {
			s.Errorf("%v holds %+v, and through the proxy %+v", store, want, got)
		}
	}
	s.apart = s.stores[0].kind != s.stores[1].kind
}

// sameSDK is sameEverywhere with aws-sdk-go-v2.
func sameSDK(s *step, what, key string, do func(ctx context.Context, c *s3.Client, bucket string) string) {
	s.Helper()
	sameEverywhere(s, what, key, func(ctx context.Context, at, bucket string) string {
		return do(ctx, newSDK("http://"+at, nil), bucket)
	})
}

// outcome is an answer as far as it must be the same: status and error code.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	var response *http.ResponseError
	if errors.As(err, &response) {
		return fmt.Sprintf("%d %s", response.HTTPStatusCode(), errorCode(err))
	}
	return "no answer: " + err.Error()
}
