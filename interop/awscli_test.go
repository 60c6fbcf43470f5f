package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// awsCLI is one installed aws-cli. There may be more than one on PATH, and they
// differ in what they send: the later ones add checksums by default.
type awsCLI struct{ name, path string }

func awsCLIs(t *testing.T) []awsCLI {
	t.Helper()
	var found []awsCLI
	seen := make(map[string]bool)
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path := filepath.Join(dir, "aws")
		if info, err := os.Stat(path); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			continue
		}
		r := execute(t, nil, path, "--version")
		name, _, _ := strings.Cut(r.output, " ")
		if r.code == 0 && !seen[name] {
			seen[name] = true
			found = append(found, awsCLI{strings.ReplaceAll(name, "/", " "), path})
		}
	}
	if found == nil {
		t.Fatal("no aws on PATH: interop/run.sh installs it")
	}
	return found
}

// run runs the client against the proxy.
func (c awsCLI) run(s *step, args ...string) string {
	s.Helper()
	return mustExecute(s.T, awsEnvironment(s.dir), c.path, append([]string{"--endpoint-url", s.plain.url}, args...)...)
}

func awsEnvironment(dir string) []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey, "AWS_DEFAULT_REGION=" + region,
		"AWS_CONFIG_FILE=" + filepath.Join(dir, "aws-config"), "AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(dir, "no-aws-credentials"),
		"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
	}
}

func (c awsCLI) steps(t *testing.T, w *world) {
	// Version 1 presigns with signature version 2, which versitygw does not know.
	mustWrite(t, filepath.Join(w.dir, "aws-config"), []byte("[default]\ns3 =\n  signature_version = s3v4\n"))
	w.step(t, "cp small, ls, rm", func(s *step) {
		dir := s.TempDir()
		file, back := filepath.Join(dir, "small"), filepath.Join(dir, "back")
		data := content(1, 12345)
		mustWrite(s.T, file, data)
		c.run(s, "s3", "cp", file, "s3://"+s.bucket+"/folder/small", "--content-type", "text/x-odd", "--metadata", "one=1,two=zwei", "--cache-control", "max-age=5")
		c.run(s, "s3", "cp", file, "s3://"+s.bucket+"/folder/gone")
		s.settle(s.T)
		if out := c.run(s, "s3", "ls", "s3://"+s.bucket+"/folder/"); !strings.Contains(out, "12345 small") || !strings.Contains(out, "12345 gone") {
			s.Errorf("ls: %s", out)
		}
		c.run(s, "s3", "cp", "s3://"+s.bucket+"/folder/small", back)
		sameFile(s.T, data, back)
		c.run(s, "s3", "rm", "s3://"+s.bucket+"/folder/gone")
		s.settle(s.T)
		if out := c.run(s, "s3", "ls", "s3://"+s.bucket, "--recursive"); strings.Contains(out, "gone") {
			s.Errorf("ls after rm: %s", out)
		}
	})
	w.step(t, "cp 100 MB", func(s *step) {
		dir := s.TempDir()
		file, back := filepath.Join(dir, "big"), filepath.Join(dir, "back")
		data := content(2, 100*mib)
		mustWrite(s.T, file, data)
		c.run(s, "s3", "cp", file, "s3://"+s.bucket+"/big", "--no-progress")
		s.inParts("big")
		c.run(s, "s3", "cp", "s3://"+s.bucket+"/big", back, "--no-progress")
		sameFile(s.T, data, back)
	})
	w.step(t, "sync up and down", func(s *step) {
		up, down := filepath.Join(s.TempDir(), "up"), filepath.Join(s.TempDir(), "down")
		writeFiles(s.T, up, oddNames)
		writeFiles(s.T, filepath.Join(up, "again"), oddNames)
		c.run(s, "s3", "sync", up, "s3://"+s.bucket+"/mirror", "--no-progress")
		s.settle(s.T)
		if out := c.run(s, "s3", "sync", up, "s3://"+s.bucket+"/mirror", "--no-progress"); strings.TrimSpace(out) != "" {
			s.Errorf("a second sync has something to do: %s", out)
		}
		c.run(s, "s3", "sync", "s3://"+s.bucket+"/mirror", down, "--no-progress")
		sameFiles(s.T, up, down)
		if err := os.Remove(filepath.Join(up, "plain.txt")); err != nil {
			s.Fatal(err)
		}
		if out := c.run(s, "s3", "sync", up, "s3://"+s.bucket+"/mirror", "--delete"); !strings.Contains(out, "delete: s3://"+s.bucket+"/mirror/plain.txt") {
			s.Errorf("sync --delete: %s", out)
		}
	})
	w.step(t, "mv, rm --recursive", func(s *step) {
		up := filepath.Join(s.TempDir(), "up")
		writeFiles(s.T, up, oddNames)
		c.run(s, "s3", "cp", "--recursive", up, "s3://"+s.bucket+"/a")
		s.settle(s.T)
		// The client deletes the source as soon as one store has copied it.
		s.differs("b/plain.txt", "the source's deletion overtook the copy")
		c.run(s, "s3", "mv", "s3://"+s.bucket+"/a/plain.txt", "s3://"+s.bucket+"/b/plain.txt")
		s.settle(s.T)
		c.run(s, "s3", "rm", "--recursive", "s3://"+s.bucket+"/a")
	})
	w.step(t, "presign", func(s *step) {
		dir := s.TempDir()
		file, back := filepath.Join(dir, "file"), filepath.Join(dir, "back")
		data := content(4, 54321)
		mustWrite(s.T, file, data)
		key := "to all/ü+%20&=.bin"
		c.run(s, "s3", "cp", file, "s3://"+s.bucket+"/"+key)
		s.settle(s.T)
		url := strings.TrimSpace(c.run(s, "s3", "presign", "s3://"+s.bucket+"/"+key, "--expires-in", "300"))
		curl(s.T, "-o", back, url)
		sameFile(s.T, data, back)
		curl(s.T, "-o", back, "-r", "100-199", url)
		sameFile(s.T, data[100:200], back)
	})
	w.step(t, "rb, mb, rb --force", func(s *step) {
		file := filepath.Join(s.TempDir(), "file")
		mustWrite(s.T, file, content(5, 1000))
		c.run(s, "s3", "rb", "s3://"+s.bucket)
		s.settle(s.T)
		c.run(s, "s3", "mb", "s3://"+s.bucket)
		s.settle(s.T)
		c.run(s, "s3", "cp", file, "s3://"+s.bucket+"/in/the/way")
		s.settle(s.T)
		if r := execute(s.T, awsEnvironment(s.dir), c.path, "--endpoint-url", s.plain.url, "s3", "rb", "s3://"+s.bucket); r.code == 0 || !strings.Contains(r.output, "BucketNotEmpty") {
			s.Errorf("rb of a bucket with an object: exit code %d, %s", r.code, r.output)
		}
		// The client deletes the bucket as soon as one store has deleted the last object.
		s.differs("", "the bucket's deletion overtook an object's")
		c.run(s, "s3", "rb", "--force", "s3://"+s.bucket)
	})
}
