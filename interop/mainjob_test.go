package interop

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// The main job's input and its course.
const (
	jobFiles     = 3000
	jobStopAt    = 900  // files told to be stored when one store is killed
	jobRestartAt = 1900 // and when it is started again
	jobTime      = 8 * time.Minute
)

// TestMainJob is what the proxy is for, on real input: a folder of mixed files is
// synchronised to two stores, one of which dies in the middle and comes back. In
// the end both stores and the synclog add up, file by file.
func TestMainJob(t *testing.T) {
	cli := awsCLIs(t)[0]
	for _, kind := range []string{versitygw, minio} {
		t.Run("two "+kind, func(t *testing.T) {
			w := newWorld(t, [2]string{kind, kind})
			j := &job{T: t, world: w, bucket: "main-job", dir: filepath.Join(w.dir, "files"), sums: make(map[string]string)}
			j.generate(jobFiles)
			if _, err := newSDK(w.plain.url, nil).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &j.bucket}); err != nil {
				t.Fatal(err)
			}
			w.settle(t)
			victim := w.stores[1]
			j.sync(cli, map[int]func(){
				jobStopAt: func() {
					victim.process.kill()
					j.says("killed %v", victim)
				},
				jobRestartAt: func() {
					victim.run(t)
					j.says("%v runs again", victim)
					w.plain.await(t, "the store is back in the pool", status.active)
					j.back = len(j.told)
					j.says("it is back in the pool")
				},
			})
			w.settle(t)
			w.plain.await(t, "both stores are in the pool again", status.active)
			j.addUp()
		})
	}
}

type job struct {
	*testing.T
	*world
	bucket string
	dir    string
	sums   map[string]string // SHA-256 of each file, by its path below dir
	bytes  int64
	told   map[string]int // files that the client was told are stored, in order
	failed int            // files that the client gave up
	back   int            // how many had been told when the store was back in the pool
	begun  time.Time
}

// says tells of what was done meanwhile.
func (j *job) says(format string, args ...any) {
	j.Helper()
	j.Logf("%6.1f s: %d files were told to be stored; %s", time.Since(j.begun).Seconds(), len(j.told), fmt.Sprintf(format, args...))
}

// generate makes the folder, the same each time.
func (j *job) generate(files int) {
	random := rand.New(rand.NewPCG(2, 3000))
	for i := range files {
		var size int
		switch {
		case i%600 == 599:
			size = 20*mib + random.IntN(mib) // in parts
		case i%50 == 49:
			size = mib + random.IntN(8*mib) // in parts from 8 MiB on
		case i%20 == 19:
			size = 0
		case i%10 == 8:
			size = 48*kib + random.IntN(208*kib) // in one go through pipes
		case i%3 == 0:
			size = random.IntN(200)
		default:
			size = random.IntN(64 * kib)
		}
		name := fmt.Sprintf("folder %02d/%d/file-%04d.bin", i%37, i%5, i)
		if i%10 == 3 {
			name = fmt.Sprintf("%s/%04d %s", "odd ü€ %2F+;=&", i, strings.ReplaceAll(oddNames[i/10%len(oddNames)], "/", "_"))
		}
		data := content(uint64(i), size)
		mustWrite(j.T, filepath.Join(j.dir, name), data)
		sum := sha256.Sum256(data)
		j.sums[name] = hex.EncodeToString(sum[:])
		j.bytes += int64(size)
	}
}

// sync runs the client, and does what is to be done once so many files were told to
// be stored.
func (j *job) sync(cli awsCLI, at map[int]func()) {
	j.told = make(map[string]int)
	j.begun = time.Now()
	cmd := exec.CommandContext(j.Context(), cli.path, "--endpoint-url", j.plain.url, "s3", "sync", j.dir, "s3://"+j.bucket, "--no-progress")
	cmd.Env = append(append(environment(), awsEnvironment(j.world.dir)...), "PYTHONUNBUFFERED=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	output, err := cmd.StdoutPipe()
	if err != nil {
		j.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		j.Fatal(err)
	}
	watchdog := time.AfterFunc(jobTime, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()

	var rest []string
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		line := lines.Text()
		_, key, ok := strings.Cut(line, " to s3://"+j.bucket+"/")
		switch {
		case ok && strings.HasPrefix(line, "upload: "):
			j.told[key] = len(j.told)
		case ok && strings.HasPrefix(line, "upload failed: "):
			j.failed++
			rest = append(rest, line)
			continue
		default:
			rest = append(rest, line)
			continue
		}
		if do := at[len(j.told)]; do != nil {
			do()
		}
	}
	err = cmd.Wait()
	j.says("%s ended: %v; it said, beside the uploads: %.4000q", cli.name, err, rest)
	if last := slices.Max(slices.Collect(maps.Keys(at))); len(j.told) < last {
		j.Fatalf("only %d of %d files were told to be stored", len(j.told), len(j.sums))
	}
	if len(j.told)+j.failed != len(j.sums) {
		j.Errorf("%d files told to be stored and %d failed, of %d", len(j.told), j.failed, len(j.sums))
	}
}

// addUp accounts for each file.
func (j *job) addUp() {
	var held [2]map[string]object
	for i, store := range j.stores {
		held[i] = store.snapshot(j.T, j.bucket)
		for key, o := range held[i] {
			if j.sums[key] == "" {
				j.Errorf("%v has %q, which was never sent", store, key)
			} else if o.sha256 != j.sums[key] {
				j.Errorf("%v has %q with other bytes than the file: %+v", store, key, o)
			}
		}
	}
	named := make(map[string]bool) // store and key
	reasons := make(map[string]int)
	for _, r := range j.records(j.T) {
		if r.Key == "" {
			continue // the bucket's
		}
		if j.sums[r.Key] == "" || r.Bucket != j.bucket {
			j.Errorf("a record names what was never sent: %v", r)
		}
		named[r.FailedHost+" "+r.Key] = true
		reasons[anyAddr.ReplaceAllString(r.Error, "…")]++
	}
	var both, one, none, lost, equal, late int
	for _, key := range slices.Sorted(maps.Keys(j.sums)) {
		order, told := j.told[key]
		copies := 0
		for i, store := range j.stores {
			_, has := held[i][key]
			isNamed := named[store.addr+" "+key]
			switch {
			case has && isNamed:
				equal++ // it got there, but its answer did not come back
			case has:
			case told && !isNamed, !isNamed && hasKey(held[1-i], key):
				j.Errorf("%q is not on %v, and no record names it (told stored: %v)", key, store, told)
			}
			if has {
				copies++
			}
		}
		switch {
		case copies == 2:
			both++
			if told && order > j.back {
				late++
			}
		case copies == 1:
			one++
		case told:
			lost++
			j.Errorf("%q was told to be stored, and is on no store", key)
		default:
			none++
		}
	}
	if j.back == 0 || late == 0 {
		j.Errorf("after the store's return no file came to both")
	}
	j.Logf(`
%6d files, %d MiB
%6d told to be stored, %d given up by the client
%6d on both stores
%6d on one, and named in the synclog for the other
%6d on none, and the client knows
%6d told to be stored and lost
%6d named for a store that has them all the same
%6d written to both after the store's return
records: %v`, jobFiles, j.bytes>>20, len(j.told), j.failed, both, one, none, lost, equal, late, reasons)
}

// anyAddr is what is different in errors of one kind.
var anyAddr = regexp.MustCompile(`[0-9.]+:[0-9]+`)

func hasKey(m map[string]object, key string) bool {
	_, ok := m[key]
	return ok
}
