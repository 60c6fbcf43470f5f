package interop

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// The far store's link.
const (
	farRate      = 12_500_000 // bytes a second: 100 Mbit/s
	farRoundTrip = 30 * time.Millisecond
)

// TestR10SyncToNearAndFar is the main job of two data centres: a folder of mixed files is synchronised to a
// near store and to a far one behind a narrow link, in about the time that the near one alone takes; and
// when the far one has caught up, which takes as long as the bytes do, both hold the same.
//
// With INTEROP_FULL it is 2,000 files of 1.2 GB, the largest of 256 MiB, and the times have to be as the contract has them. Else
// it is a few of them, and the times are only told: so short they say little.
func TestR10SyncToNearAndFar(t *testing.T) {
	files := 100
	if full() {
		files = 2000
	}
	f := &farSync{T: t, world: newStores(t, [2]string{versitygw, versitygw}), cli: awsCLIs(t)[0]}
	f.dir = filepath.Join(f.world.dir, "files")
	f.generate(files)
	f.relays = []string{f.stores[0].addr, newFarLink(f.T, f.stores[1].addr, "-round-trip", farRoundTrip.String(), "-rate", fmt.Sprint(farRate)).addr}
	d := newDivergenceIn(t, f.world, fmt.Sprintf("ReadPolicy: prefer\nReadFrom: {\"http://%s\": 10, \"http://%s\": 1}\nRepair: {Enabled: true}\n",
		f.relays[0], f.relays[1]))
	d.bucket = "far-sync"
	for _, to := range []struct {
		bucket string
		client *s3.Client
	}{{d.bucket, d.sdk}, {"near-alone", f.stores[0].direct}, {"near-again", f.stores[0].direct}} {
		if _, err := to.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &to.bucket}); err != nil {
			t.Fatal(err)
		}
	}
	// Before and after, since the machine may have other things to do meanwhile.
	alone := f.sync("http://"+f.stores[0].addr, "near-alone")
	both := f.sync(f.plain.url, d.bucket)
	owed := f.bytes - f.held(f.stores[1], d.bucket)
	needed := time.Duration(float64(owed) / farRate * float64(time.Second))
	begun := time.Now()
	f.plain.awaitFor(t, 2*needed+2*patience, "the far store has caught up", func(s status) bool { return s.Journal.Pending == 0 && s.InFlight == 0 })
	behind := time.Since(begun)
	again := f.sync("http://"+f.stores[0].addr, "near-again")
	if r := d.command("verify", "--bucket", d.bucket); r.code != 0 {
		t.Errorf("they differ:\n%s", r.output)
	}
	t.Logf("%d files, %.0f MB: %.1f s to both, %.1f and %.1f s to the near one alone; then %.0f MB were owed, which took %.1f s and need %.1f s",
		files, float64(f.bytes)/1e6, both.Seconds(), alone.Seconds(), again.Seconds(), float64(owed)/1e6, behind.Seconds(), needed.Seconds())
	if !full() {
		return
	}
	if most := max(alone, again) * 115 / 100; both > most {
		t.Errorf("to both it took %v, which may be %v", both, most)
	}
	// A tenth more is what it may need; of the link a busy machine makes up to another tenth less.
	if most := needed*12/10 + 2*time.Second; behind > most {
		t.Errorf("the far one caught up after %v, which may be %v", behind, most)
	}
}

type farSync struct {
	*testing.T
	*world
	cli   awsCLI
	dir   string
	bytes int64
}

// generate makes the folder, the same each time: most files are small, most bytes are in large ones.
func (f *farSync) generate(files int) {
	random := rand.New(rand.NewPCG(19, uint64(files)))
	for i := range files {
		var size int
		switch {
		case i == 1999:
			size = 256 * mib
		case i%1000 == 999:
			size = 64 * mib
		case i%250 == 249:
			size = 16*mib + random.IntN(16*mib)
		case i%22 == 21:
			size = mib + random.IntN(7*mib)
		case i%4 == 3:
			size = 64*kib + random.IntN(960*kib)
		case i%50 == 0:
			size = 0
		default:
			size = random.IntN(64 * kib)
		}
		mustWrite(f.T, filepath.Join(f.dir, fmt.Sprintf("dir %02d/%d/file-%04d", i%37, i%5, i)), content(uint64(i), size))
		f.bytes += int64(size)
	}
}

// sync runs the client, and returns how long that took.
func (f *farSync) sync(url, bucket string) time.Duration {
	f.Helper()
	begun := time.Now()
	mustExecute(f.T, awsEnvironment(f.world.dir), f.cli.path, "--endpoint-url", url, "s3", "sync", f.dir, "s3://"+bucket, "--no-progress", "--only-show-errors")
	return time.Since(begun)
}

// held is how many bytes of objects a store has.
func (f *farSync) held(s *store, bucket string) (n int64) {
	f.Helper()
	keys, err := s.keys(f.Context(), bucket)
	if err != nil {
		f.Fatal(err)
	}
	for _, o := range keys {
		n += *o.Size
	}
	return n
}
