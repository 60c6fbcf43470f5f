package interop

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestR32TwoEnds uploads bodies that are chunked twice, as SDKs send streams whose length they do not know,
// over connections that have been used before: versitygw takes the outer end for another request.
func TestR32TwoEnds(t *testing.T) {
	for _, topology := range []struct {
		name string
		new  func(t *testing.T) *world
	}{{"two versitygw", two(versitygw)}, {"two versitygw over TLS", newSecureStores}, {"two MinIO", two(minio)}} {
		t.Run(topology.name, func(t *testing.T) {
			w, bucket := topology.new(t), "two-ends"
			for _, store := range w.stores {
				if _, err := store.direct.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
					t.Fatal(err)
				}
			}
			p := w.newProxy(t, "two-ends", "", "FailureLimit: 0\n")
			p.await(t, "it is ready with all backends", func(s status) bool { return s.Ready && s.active() })
			for _, size := range []int{100, 60_000, 300_000, 5_000_000} {
				for _, style := range []string{byHeader, byChunks} { // the first one leaves a connection
					key := fmt.Sprintf("%s %d", style, size)
					u, err := newUpload(p.addr, style, bucket, key, "", content(uint64(size), size))
					if err != nil {
						t.Fatal(err)
					}
					if status, err := u.whole(); status != 200 || err != nil {
						t.Errorf("%s: answered %d, %v", key, status, err)
					}
					p.await(t, "nothing is in flight", func(s status) bool { return s.InFlight == 0 })
				}
			}
			for _, r := range readSynclog(t, p.synclog) {
				t.Errorf("recorded as a divergence: %v", r)
			}
		})
	}
}
