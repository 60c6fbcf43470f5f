package interop

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestMainJobAmongHostileClients is the main job again, while one backend is frozen,
// the other one is killed, and a third of the clients cut their uploads of the very
// same files off: each object that was acknowledged is whole on both, after repair.
func TestMainJobAmongHostileClients(t *testing.T) {
	files, kinds := 600, []string{versitygw}
	if full() {
		files, kinds = jobFiles, []string{versitygw, minio}
	}
	cli := awsCLIs(t)[0]
	for _, kind := range kinds {
		t.Run("two "+kind, func(t *testing.T) {
			d := newDivergence(t, [2]string{kind, kind}, "ConnectionTimeout: 5s\nStallTimeout: 1s\n")
			j := &job{T: t, world: d.world, bucket: d.bucket, dir: filepath.Join(d.dir, "files"), sums: make(map[string]string)}
			j.generate(files)
			stop := make(chan struct{})
			var clients sync.WaitGroup
			var cut atomic.Int64
			for n := range 5 { // the other client sends 10 at a time
				clients.Go(func() { j.hostile(n, &cut, stop) })
			}
			frozen, killed := d.stores[0], d.stores[1]
			j.sync(cli, map[int]func(){
				files / 6: func() {
					frozen.process.freeze(t)
					j.says("froze %v", frozen)
				},
				files / 3: func() {
					frozen.process.thaw()
					j.says("thawed it")
					d.plain.await(t, "the backend is back in the pool", status.active)
				},
				files / 2: func() {
					killed.process.kill()
					j.says("killed %v", killed)
				},
				files * 2 / 3: func() {
					killed.run(t)
					j.says("%v runs again", killed)
				},
			})
			close(stop)
			clients.Wait()
			d.plain.await(t, "both backends are in the pool", status.active)
			d.settle(t)
			for _, store := range d.stores {
				store.awaitQuiet(t)
			}
			t.Logf("%d uploads were cut off", cut.Load())
			d.untilRepaired()
			j.wholeOnBoth()
			if r := d.command("verify", "--bucket", d.bucket, "--deep"); r.code != 0 {
				t.Errorf("akubra verify --deep: exit code %d: %.4000s", r.code, r.output)
			}
		})
	}
}

// hostile begins uploads of the files that it never sends to their end.
func (j *job) hostile(number int, cut *atomic.Int64, stop <-chan struct{}) {
	random := rand.New(rand.NewPCG(15, uint64(number)))
	names := slices.Sorted(maps.Keys(j.sums))
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(random.IntN(60)) * time.Millisecond): // as the client pleases
		}
		name := names[random.IntN(len(names))]
		data, err := os.ReadFile(filepath.Join(j.dir, name))
		if err != nil {
			j.Error(err)
			return
		}
		if len(data) == 0 {
			continue
		}
		u, err := newUpload(j.plain.addr, soakStyles[random.IntN(len(soakStyles))], j.bucket, name, "", data)
		if err != nil {
			j.Error(err)
			return
		}
		conn, err := u.begin(random.IntN(max(len(u.body)-chunkedEnd, 1)))
		if err != nil {
			continue // the proxy has refused it
		}
		cut.Add(1)
		if random.IntN(2) == 0 {
			time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond) // so that any part of it may have come through
			cutReset(conn)
		} else if status, _ := cutFIN(conn); status/100 == 2 {
			j.Errorf("%q: an upload that ended in its middle is answered %d", name, status)
		}
	}
}

// wholeOnBoth looks at each backend itself.
func (j *job) wholeOnBoth() {
	j.Helper()
	whole, wrong := 0, 0
	for _, store := range j.stores {
		held := store.snapshot(j.T, j.bucket)
		for name := range j.told {
			switch o, ok := held[name]; {
			case !ok:
				wrong++
				j.Errorf("%q was told to be stored, and is not on %v", name, store)
			case o.sha256 == j.sums[name]:
				whole++
			}
		}
		for name, o := range held {
			if o.sha256 != j.sums[name] {
				wrong++
				j.Errorf("%v has %q with other bytes than the file: %+v", store, name, o)
			}
		}
	}
	j.Logf("%d files, %d of them told to be stored, %d given up by the client; %d whole objects of them on the two backends, %d wrong",
		len(j.sums), len(j.told), j.failed, whole, wrong)
}
