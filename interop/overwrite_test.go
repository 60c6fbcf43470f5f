package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// TestR30ReadsBehindOverwrites: an object that both backends have is overwritten by an upload
// in parts, which one of them has (R26) until repair, slow here, has brought it to the other.
// Clients that read it right behind that, in several streams and in parts, get the new one
// and nothing else.
// INTEROP_OVERWRITES is how many times each client does it.
func TestR30ReadsBehindOverwrites(t *testing.T) {
	runs := 3
	if full() {
		runs = 50
	}
	if v := os.Getenv("INTEROP_OVERWRITES"); v != "" {
		var err error
		if runs, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	cli := awsCLIs(t)[0]
	for i, policy := range []string{"all", "prefer", "fastest"} {
		pairs := topologies
		if !full() {
			pairs = topologies[i%len(topologies):][:1]
		}
		for _, topology := range pairs {
			t.Run(policy+" "+topology.name, func(t *testing.T) {
				d := newDivergence(t, topology.kinds, "ReadPolicy: "+policy+"\nRepair: {Enabled: true, BytesPerSecond: 12MiB}\n")
				rclone := filepath.Join(d.dir, "rclone.conf")
				mustWrite(t, rclone, fmt.Appendf(nil, "[s3]\ntype = s3\nprovider = Other\naccess_key_id = %s\nsecret_access_key = %s\nregion = %s\nendpoint = %s\nforce_path_style = true\n",
					accessKey, secretKey, region, d.plain.url))
				o := &overwrites{divergence: d, cli: cli, rclone: rclone, dir: t.TempDir()}
				for i := range runs {
					for name, read := range map[string]func(key, to string){"rclone": o.byRclone, "cp": o.byCopy, "sync": o.bySync, "mv": o.byMove} {
						o.run(fmt.Sprintf("%s-%d/file", name, i), uint64(i), read)
					}
				}
				t.Logf("%d of %d reads behind an overwrite gave something else", o.wrong, o.all)
			})
		}
	}
}

type overwrites struct {
	*divergence
	cli         awsCLI
	rclone, dir string
	all, wrong  int
}

// run overwrites an object, and has a client read it.
func (o *overwrites) run(key string, seed uint64, read func(key, to string)) {
	o.Helper()
	dir := filepath.Join(o.dir, key)
	first, second, to := filepath.Join(dir, "first"), filepath.Join(dir, "second"), filepath.Join(dir, "to")
	was, is := content(2*seed, 20*mib), content(2*seed+1, 20*mib)
	mustWrite(o.T, first, was)
	mustWrite(o.T, second, is)
	o.cli.run(o.step, "s3", "cp", first, "s3://"+o.bucket+"/"+key, "--no-progress")
	o.settle(o.T)
	o.plain.awaitFor(o.T, repairTime, "nothing is pending", func(s status) bool { return s.Journal.Pending == 0 && s.Journal.Open == 0 && s.InFlight == 0 })
	o.cli.run(o.step, "s3", "cp", second, "s3://"+o.bucket+"/"+key, "--no-progress")
	read(key, filepath.Join(to, "file"))
	o.all++
	got, err := os.ReadFile(filepath.Join(to, "file"))
	if err != nil {
		o.Fatal(err)
	}
	if string(got) != string(is) {
		o.wrong++
		o.Errorf("%q: %d bytes came that are not the newest object (they are the old one: %t)", key, len(got), string(got) == string(was))
	}
	if err := os.RemoveAll(dir); err != nil {
		o.Fatal(err)
	}
}

func (o *overwrites) byRclone(key, to string) {
	mustExecute(o.T, nil, "rclone", "--config", o.rclone, "copyto", "--multi-thread-streams", "4", "--multi-thread-cutoff", "5Mi",
		"s3:"+o.bucket+"/"+key, to)
}

func (o *overwrites) byCopy(key, to string) {
	o.cli.run(o.step, "s3", "cp", "s3://"+o.bucket+"/"+key, to, "--no-progress")
}

func (o *overwrites) bySync(key, to string) {
	o.cli.run(o.step, "s3", "sync", "s3://"+o.bucket+"/"+filepath.Dir(key), filepath.Dir(to), "--no-progress")
}

func (o *overwrites) byMove(key, to string) {
	o.cli.run(o.step, "s3", "mv", "s3://"+o.bucket+"/"+key, to, "--no-progress")
}
