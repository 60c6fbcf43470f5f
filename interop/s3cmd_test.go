package interop

import (
	"path/filepath"
	"strings"
	"testing"
)

func s3cmdSteps(t *testing.T, w *world) {
	config := filepath.Join(w.dir, "s3cfg")
	mustWrite(t, config, []byte(strings.Join([]string{
		"[default]", "access_key = " + accessKey, "secret_key = " + secretKey, "bucket_location = " + region,
		"host_base = " + w.plain.addr, "host_bucket = " + w.plain.addr, "use_https = False", "signature_v2 = False",
		"multipart_chunk_size_mb = 5", "max_retries = 1", "", // no retry hides a failure
	}, "\n")))
	run := func(s *step, args ...string) string {
		s.Helper()
		return mustExecute(s.T, nil, "s3cmd", append([]string{"-c", config, "--no-progress"}, args...)...)
	}

	w.step(t, "put, get, ls, del", func(s *step) {
		dir := s.TempDir()
		file, back := filepath.Join(dir, "file"), filepath.Join(dir, "back")
		data := content(1, 300*kib)
		mustWrite(s.T, file, data)
		for _, key := range []string{"plain", "ü€ %2F+;=&", "gone"} {
			run(s, "put", file, "s3://"+s.bucket+"/"+key, "--add-header", "x-amz-meta-colour: blue")
		}
		s.settle(s.T)
		if out := run(s, "ls", "s3://"+s.bucket); strings.Count(out, "307200") != 3 || !strings.Contains(out, "/ü€ %2F+;=&") {
			s.Errorf("ls: %s", out)
		}
		run(s, "get", "s3://"+s.bucket+"/ü€ %2F+;=&", back)
		sameFile(s.T, data, back)
		run(s, "del", "s3://"+s.bucket+"/gone")
		s.settle(s.T)
		if out := run(s, "ls", "s3://"+s.bucket); strings.Contains(out, "gone") {
			s.Errorf("ls after del: %s", out)
		}
	})
	w.step(t, "put 20 MB", func(s *step) {
		dir := s.TempDir()
		file, back := filepath.Join(dir, "file"), filepath.Join(dir, "back")
		data := content(2, 20*mib)
		mustWrite(s.T, file, data)
		run(s, "put", file, "s3://"+s.bucket+"/in parts")
		s.inParts("in parts")
		s.settle(s.T)
		run(s, "get", "s3://"+s.bucket+"/in parts", back)
		sameFile(s.T, data, back)
	})
	w.step(t, "sync, cp, del --recursive", func(s *step) {
		up, down := filepath.Join(s.TempDir(), "up"), mustMkdir(t, filepath.Join(s.TempDir(), "down"))
		writeFiles(s.T, up, oddNames)
		run(s, "sync", up+"/", "s3://"+s.bucket+"/")
		s.settle(s.T)
		run(s, "sync", "s3://"+s.bucket+"/", down+"/")
		sameFiles(s.T, up, down)
		if !w.all(minio) && !w.all(versitygw) {
			s.differs("copy of plain.txt", "the client sets its ACL, which MinIO does not have")
		}
		run(s, "cp", "s3://"+s.bucket+"/plain.txt", "s3://"+s.bucket+"/copy of plain.txt")
		s.settle(s.T)
		run(s, "del", "--recursive", "--force", "s3://"+s.bucket+"/deep/")
	})
	if w.all(minio) { // versitygw does not know them
		w.step(t, "signature version 2", func(s *step) {
			dir := s.TempDir()
			file, back := filepath.Join(dir, "file"), filepath.Join(dir, "back")
			data := content(3, 1000)
			mustWrite(s.T, file, data)
			run(s, "--signature-v2", "put", file, "s3://"+s.bucket+"/ü+ old")
			run(s, "--signature-v2", "get", "s3://"+s.bucket+"/ü+ old", back)
			sameFile(s.T, data, back)
		})
	}
}
