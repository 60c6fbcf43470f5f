package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func rcloneSteps(t *testing.T, w *world) {
	config := filepath.Join(w.dir, "rclone.conf")
	mustWrite(t, config, fmt.Appendf(nil, "[s3]\ntype = s3\nprovider = Other\naccess_key_id = %s\nsecret_access_key = %s\nregion = %s\nendpoint = %s\nforce_path_style = true\n",
		accessKey, secretKey, region, w.plain.url))
	run := func(s *step, args ...string) string {
		s.Helper()
		return mustExecute(s.T, nil, "rclone", append([]string{"--config", config, "--retries", "1", "--low-level-retries", "1"}, args...)...)
	}

	w.step(t, "copy, check, sync, delete", func(s *step) {
		up, down := filepath.Join(s.TempDir(), "up"), filepath.Join(s.TempDir(), "down")
		writeFiles(s.T, up, oddNames)
		run(s, "copy", up, "s3:"+s.bucket+"/folder")
		s.settle(s.T)
		if out := run(s, "check", up, "s3:"+s.bucket+"/folder"); !strings.Contains(out, "0 differences found") {
			s.Errorf("check: %s", out)
		}
		run(s, "check", "--download", up, "s3:"+s.bucket+"/folder")
		run(s, "copy", "s3:"+s.bucket+"/folder", down)
		sameFiles(s.T, up, down)
		run(s, "copyto", "s3:"+s.bucket+"/folder/plain.txt", "s3:"+s.bucket+"/copy/ü.txt") // on the server
		s.settle(s.T)
		run(s, "delete", "s3:"+s.bucket+"/folder/deep")
		s.settle(s.T)
		if out := run(s, "lsf", "-R", "s3:"+s.bucket); strings.Contains(out, "deeper/x") || !strings.Contains(out, "copy/ü.txt") {
			s.Errorf("lsf: %s", out)
		}
	})
	w.step(t, "copy in parts", func(s *step) {
		dir := s.TempDir()
		data := content(2, 12*mib)
		mustWrite(s.T, filepath.Join(dir, "up", "big"), data)
		run(s, "copy", "--s3-upload-cutoff", "5Mi", "--s3-chunk-size", "5Mi", filepath.Join(dir, "up"), "s3:"+s.bucket)
		s.inParts("big")
		s.settle(s.T)
		run(s, "copyto", "s3:"+s.bucket+"/big", filepath.Join(dir, "back"))
		sameFile(s.T, data, filepath.Join(dir, "back"))
	})
	w.step(t, "purge", func(s *step) {
		up := filepath.Join(s.TempDir(), "up")
		writeFiles(s.T, up, oddNames)
		run(s, "copy", up, "s3:"+s.bucket)
		s.settle(s.T)
		// The client deletes the bucket as soon as one store has deleted the last object.
		s.differs("", "the bucket's deletion overtook an object's")
		run(s, "purge", "s3:"+s.bucket)
	})
}
