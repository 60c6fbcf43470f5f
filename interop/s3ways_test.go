package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	miniogo "github.com/minio/minio-go/v7"
)

// TestR34Forms uploads by form while one store is away: what was acknowledged is under
// the form's key on both in the end, also where the answer was a redirection.
func TestR34Forms(t *testing.T) {
	for _, topology := range repairTopologies {
		t.Run(topology.name, func(t *testing.T) {
			d := newDivergence(t, topology.kinds, "Repair: {Enabled: true}\n")
			file := filepath.Join(t.TempDir(), "the file.bin")
			data := content(7, 300*kib)
			mustWrite(t, file, data)
			const done = "http://www.test/done?key=mine"
			d.form(file, "both", "success_action_redirect="+done, 303)
			d.stopStore()
			d.form(file, "by redirection/ü+ 1", "success_action_redirect="+done, 303)
			d.form(file, "created", "success_action_status=201", 201)
			d.form(file, "as ever", "", 204)
			d.form(file, "named/${filename}", "success_action_redirect="+done, 303)
			d.startStore()
			d.plain.awaitFor(t, repairTime, "nothing is pending", func(s status) bool { return s.Journal.Pending == 0 && s.InFlight == 0 })
			named := "named/the file.bin"
			if d.stores[0].kind == versitygw { // it takes that for a key as it stands
				named = "named/${filename}"
			}
			for _, key := range []string{"both", "by redirection/ü+ 1", "created", "as ever", named} {
				for _, s := range d.stores {
					out, err := s.direct.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &d.bucket, Key: &key})
					if err != nil {
						t.Errorf("%v has no %q: %v", s, key, err)
						continue
					}
					got, err := io.ReadAll(out.Body)
					_ = out.Body.Close()
					if err != nil || !bytes.Equal(got, data) {
						t.Errorf("%v has %d other bytes of %q, %v", s, len(got), key, err)
					}
				}
			}
			for _, r := range d.lines() {
				if r.Size != int64(len(data)) || r.Key == "" {
					t.Errorf("the synclog says %+v", r)
				}
			}
		})
	}
}

// form uploads a file by form, with one more field.
func (d *divergence) form(file, key, more string, status int) {
	d.Helper()
	policy := miniogo.NewPostPolicy()
	for _, err := range []error{
		policy.SetBucket(d.bucket), policy.SetKeyStartsWith(strings.TrimSuffix(key, "${filename}")), policy.SetExpires(time.Now().Add(time.Minute)),
	} {
		if err != nil {
			d.Fatal(err)
		}
	}
	name, value, _ := strings.Cut(more, "=")
	if name != "" {
		if err := policy.SetUserData("unused", "x"); err != nil {
			d.Fatal(err)
		}
	}
	switch name {
	case "success_action_redirect":
		_ = policy.SetSuccessActionRedirect(value)
	case "success_action_status":
		_ = policy.SetSuccessStatusAction(value)
	}
	to, fields, err := newMinioGo(d.T, d.plain.addr, false, false, directTransport).PresignedPostPolicy(d.Context(), policy)
	if err != nil {
		d.Fatal(err)
	}
	fields["key"] = key
	args := []string{"--output", filepath.Join(d.TempDir(), "answer"), "--write-out", "%{http_code}"}
	for name, value := range fields {
		args = append(args, "--form-string", name+"="+value)
	}
	if got := curl(d.T, append(args, "-F", "file=@"+file, to.String())...); got != fmt.Sprint(status) {
		d.Fatalf("the form of %q was answered %s, want %d", key, got, status)
	}
	d.settle(d.T)
}

// line is what the tests read of the synclog.
type line struct {
	Op, Method, Bucket, Key, Error string
	Size                           int64
}

// lines are those about objects of the divergence's bucket.
func (d *divergence) lines() (lines []line) {
	d.Helper()
	f, err := os.Open(d.plain.synclog)
	if err != nil {
		d.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var l line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			d.Fatal(err)
		}
		if l.Bucket == d.bucket && l.Method != "" {
			lines = append(lines, l)
		}
	}
	return lines
}

// TestR30Move moves objects that were themselves uploaded in parts, each of which is on one
// store alone until it has been repaired.
func TestR30Move(t *testing.T) {
	for _, topology := range repairTopologies {
		t.Run(topology.name, func(t *testing.T) {
			d := newDivergence(t, topology.kinds, "Repair: {Enabled: true}\n")
			cli := awsCLIs(t)[0]
			mustWrite(t, filepath.Join(d.dir, "aws-config"), []byte("[default]\ns3 =\n  signature_version = s3v4\n"))
			file, back := filepath.Join(t.TempDir(), "file"), filepath.Join(t.TempDir(), "back")
			data := content(9, 20*mib)
			mustWrite(t, file, data)
			for i := range 6 {
				from, to := fmt.Sprintf("s3://%s/from %d", d.bucket, i), fmt.Sprintf("s3://%s/to %d", d.bucket, i)
				cli.run(d.step, "s3", "cp", file, from, "--no-progress")
				cli.run(d.step, "s3", "mv", from, to, "--no-progress")
				cli.run(d.step, "s3", "cp", to, back, "--no-progress")
				sameFile(t, data, back)
			}
			d.plain.awaitFor(t, repairTime, "nothing is pending", func(s status) bool { return s.Journal.Pending == 0 && s.InFlight == 0 })
			for i := range 6 {
				key := fmt.Sprintf("to %d", i)
				for _, s := range d.stores {
					out, err := s.direct.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &d.bucket, Key: &key})
					if err != nil || *out.ContentLength != int64(len(data)) {
						t.Errorf("%v has %+v of %q, %v", s, out, key, err)
					}
				}
			}
			resolved := 0
			for _, l := range d.lines() {
				switch {
				case l.Method == "DELETE":
				case l.Op == "resolved" && strings.HasPrefix(l.Key, "to "):
					resolved++
					fallthrough
				case l.Op == "storing" && l.Error == errorMultipart:
					if l.Size != int64(len(data)) {
						t.Errorf("the synclog says %+v", l)
					}
				}
			}
			if resolved != 6 {
				t.Errorf("%d of the moved objects were resolved", resolved)
			}
		})
	}
}
