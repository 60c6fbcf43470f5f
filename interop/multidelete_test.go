package interop

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// TestR24MultiDeleteStays: what a multi-object delete has deleted, repair must not
// bring back, however the writes to the two backends have overlapped, and also if
// one of them was away.
func TestR24MultiDeleteStays(t *testing.T) {
	const keys = 60
	for _, tt := range []struct {
		name   string
		jitter time.Duration
		away   bool // the second backend, from after the first PUT until all is deleted
		bulk   int  // keys in one delete
	}{
		{"jitter", 40 * time.Millisecond, false, 1},
		{"jitter, keys together", 40 * time.Millisecond, false, 5},
		{"a backend away", 0, true, 1},
		{"a backend away, keys together", 0, true, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newStores(t, [2]string{versitygw, versitygw})
			if tt.jitter > 0 {
				for _, store := range w.stores {
					w.relays = append(w.relays, relay(t, store.addr, tt.jitter))
				}
			}
			d := newDivergenceIn(t, w, "")
			if tt.away {
				for i := range keys {
					d.put(&s3.PutObjectInput{Key: aws.String(deletedKey(i))}, []byte("v1"))
				}
				d.stopStore()
			}
			each(keys/tt.bulk, func(n int) {
				var list []types.ObjectIdentifier
				for i := n * tt.bulk; i < (n+1)*tt.bulk; i++ {
					key := deletedKey(i)
					if !tt.away || i%2 == 0 {
						d.put(&s3.PutObjectInput{Key: &key}, []byte("v2"))
					}
					list = append(list, types.ObjectIdentifier{Key: &key})
				}
				out, err := d.sdk.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{Bucket: &d.bucket, Delete: &types.Delete{Objects: list}})
				if err != nil || len(out.Errors) > 0 {
					t.Errorf("DeleteObjects: %+v, %v", out, err)
				}
			})
			d.settle(t)
			if tt.away {
				d.startStore()
			}
			pending := d.journaled()
			d.untilRepaired()
			undone := 0
			for _, store := range d.stores {
				held, err := store.keys(t.Context(), d.bucket)
				if err != nil {
					t.Fatal(err)
				}
				undone = max(undone, len(held))
			}
			t.Logf("%d keys put and deleted, %d of them in the journal, %d deletes undone", keys, pending, undone)
			if undone > 0 {
				t.Errorf("%d of %d acknowledged deletes were undone by repair", undone, keys)
			}
		})
	}
}

func deletedKey(i int) string { return fmt.Sprintf("deleted/%d", i) }
