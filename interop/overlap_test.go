package interop

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestR19TagsThatOverlap: clients put an object and change its tags at the same time, so that these land in another
// order on each backend now and then. At rest both have the same tags, and they are one client's.
func TestR19TagsThatOverlap(t *testing.T) {
	const rounds = 150
	for _, topology := range topologies {
		t.Run(topology.name, func(t *testing.T) {
			d := newDivergence(t, topology.kinds, "")
			for n := range rounds {
				key := fmt.Sprint("k", n)
				if _, err := d.sdk.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &d.bucket, Key: &key, Body: bytes.NewReader([]byte("first"))}); err != nil {
					t.Fatal(err)
				}
				var clients sync.WaitGroup
				clients.Go(func() {
					in := &s3.PutObjectInput{Bucket: &d.bucket, Key: &key, Body: bytes.NewReader([]byte("second")), Tagging: aws.String("id=1")}
					if _, err := d.sdk.PutObject(t.Context(), in); err != nil {
						t.Error(err)
					}
				})
				for id := range int64(2) {
					clients.Go(func() {
						in := &s3.PutObjectTaggingInput{Bucket: &d.bucket, Key: &key, Tagging: tagging(2 + id)}
						if _, err := d.sdk.PutObjectTagging(t.Context(), in); err != nil {
							t.Error(err)
						}
					})
				}
				clients.Wait()
			}
			d.settle(t)
			pending := d.journaled()
			d.untilRepaired()
			differ := 0
			for n := range rounds {
				var tags [2]string
				for i, store := range d.stores {
					var err error
					if tags[i], err = store.tags(t.Context(), d.bucket, fmt.Sprint("k", n)); err != nil {
						t.Fatal(err)
					}
				}
				if tags[0] != tags[1] || tags[0] == "" {
					differ++
					t.Errorf("k%d has the tags %q", n, tags)
				}
			}
			t.Logf("%d of %d keys were pending; %d differ", pending, rounds, differ)
			if r := d.command("verify", "--bucket", d.bucket, "--deep"); r.code != 0 {
				t.Errorf("akubra verify --deep: exit code %d: %.4000s", r.code, r.output)
			}
		})
	}
}
