package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestR30MoveUploaded: an object that was uploaded in parts is at first on one
// backend only (R26). Moving it copies it in parts, which the other one cannot do
// before repair, which is slow here, has brought it the object; the client must be
// told to try again, and succeed.
func TestR30MoveUploaded(t *testing.T) {
	const moves = 6
	cli := awsCLIs(t)[0]
	d := newDivergence(t, [2]string{versitygw, versitygw}, "Repair: {Enabled: true, BytesPerSecond: 12MiB}\n")
	dir := t.TempDir()
	failed := 0
	begun := time.Now()
	for i := range moves {
		file, back := filepath.Join(dir, "file"), filepath.Join(dir, "back")
		data := content(uint64(i), 20*mib+i)
		mustWrite(t, file, data)
		from, to := fmt.Sprintf("s3://%s/from-%d", d.bucket, i), fmt.Sprintf("s3://%s/to-%d", d.bucket, i)
		cli.run(d.step, "s3", "cp", file, from, "--no-progress")
		if r := execute(t, awsEnvironment(d.dir), cli.path, "--endpoint-url", d.plain.url, "s3", "mv", from, to, "--no-progress"); r.code != 0 {
			failed++
			t.Errorf("aws s3 mv, no. %d: exit code %d: %s", i, r.code, strings.TrimSpace(r.output))
			continue
		}
		cli.run(d.step, "s3", "cp", to, back, "--no-progress")
		sameFile(t, data, back)
	}
	t.Logf("%d of %d moves of 20 MiB failed, in %.0f s", failed, moves, time.Since(begun).Seconds())
}
