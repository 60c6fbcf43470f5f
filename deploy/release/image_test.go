package release

import (
	"archive/tar"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// TestImage unpacks the image and runs it as a container engine would, but for the namespaces: with
// its files and nothing else, as its user.
func TestImage(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Open(mustFind(t, "akubra-*-oci.tar"))
	must(t, err)
	defer f.Close()
	unpack(t, f, dir)

	top, err := layout.ImageIndexFromPath(dir)
	must(t, err, validate.Index(top))
	manifest, err := top.IndexManifest()
	must(t, err)
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].MediaType != types.OCIImageIndex {
		t.Fatalf("%+v, want one index over all architectures", manifest.Manifests)
	}
	index, err := top.ImageIndex(manifest.Manifests[0].Digest)
	must(t, err)
	manifest, err = index.IndexManifest()
	must(t, err)
	var seen []string
	for _, d := range manifest.Manifests {
		image, err := index.Image(d.Digest)
		must(t, err)
		config, err := image.ConfigFile()
		must(t, err)
		checkImage(t, config)
		if config.Architecture != d.Platform.Architecture || config.OS != d.Platform.OS || config.OS != "linux" {
			t.Errorf("%s/%s is listed as %s", config.OS, config.Architecture, d.Platform)
		}
		seen = append(seen, config.Architecture)
		if config.Architecture == runtime.GOARCH {
			runImage(t, image, config)
		}
	}
	if slices.Sort(seen); !slices.Equal(seen, []string{"amd64", "arm64"}) {
		t.Errorf("images for %v", seen)
	}
}

func checkImage(t *testing.T, config *v1.ConfigFile) {
	t.Helper()
	c := config.Config
	if c.User != "65532:65532" || !slices.Equal(c.Entrypoint, []string{"/usr/bin/akubra"}) || !slices.Equal(c.Cmd, []string{"-c", "/etc/akubra/akubra.yaml"}) {
		t.Errorf("user %q, entrypoint %q, cmd %q", c.User, c.Entrypoint, c.Cmd)
	}
	if volumes := slices.Collect(maps.Keys(c.Volumes)); !slices.Equal(volumes, []string{"/var/lib/akubra"}) {
		t.Errorf("volumes %q", volumes)
	}
	for _, label := range []string{"title", "description", "licenses", "source", "version", "revision", "created"} {
		if c.Labels["org.opencontainers.image."+label] == "" {
			t.Errorf("no label %s", label)
		}
	}
}

// runImage has its root made of the layers, and nothing that could run but the proxy.
func runImage(t *testing.T, image v1.Image, config *v1.ConfigFile) {
	t.Helper()
	root := t.TempDir()
	must(t, os.Chmod(root, 0o755), os.Chmod(filepath.Dir(root), 0o755)) // the user has to get there
	files := mutate.Extract(image)
	defer files.Close()
	unpack(t, files, root)
	var programs []string
	must(t, filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			programs = append(programs, strings.TrimPrefix(path, root))
		}
		return err
	}))
	if !slices.Equal(programs, []string{"/usr/bin/akubra"}) {
		t.Errorf("programs %q, want the proxy alone", programs)
	}
	inside := func(env []string, args ...string) (string, error) {
		cmd := exec.Command("chroot", append([]string{"--userspec=" + config.Config.User, root}, args...)...)
		cmd.Env = append(config.Config.Env, env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := inside(nil, "/usr/bin/akubra", "version"); err != nil || !strings.Contains(out, config.Config.Labels["org.opencontainers.image.version"]) {
		t.Errorf("version: %v %q", err, out)
	}
	// Its own configuration is complete but for the backends, which the environment can name; and
	// DataDir is its user's.
	check := append(append(slices.Clone(config.Config.Entrypoint), "check"), config.Config.Cmd...)
	if out, err := inside(nil, check...); err == nil || !strings.Contains(out, "Backends") {
		t.Errorf("check without backends: %v %q", err, out)
	}
	if out, err := inside([]string{"AKUBRA_BACKENDS=http://one.example:9000,http://two.example:9000"}, check...); err != nil {
		t.Errorf("check: %v %q", err, out)
	}
	if roots, err := os.ReadFile(filepath.Join(root, "etc/ssl/certs/ca-certificates.crt")); err != nil || strings.Count(string(roots), "BEGIN CERTIFICATE") < 50 {
		t.Errorf("no authorities for https:// backends: %v", err)
	}
}

func unpack(t *testing.T, from io.Reader, dir string) {
	t.Helper()
	for r := tar.NewReader(from); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		must(t, err)
		path := filepath.Join(dir, h.Name)
		if !filepath.IsLocal(h.Name) {
			t.Fatalf("%q leads out of the layer", h.Name)
		}
		if h.Typeflag == tar.TypeDir {
			must(t, os.MkdirAll(path, 0o755))
		} else {
			content, err := io.ReadAll(r)
			must(t, err, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o600))
		}
		must(t, os.Lchown(path, h.Uid, h.Gid), os.Chmod(path, h.FileInfo().Mode().Perm()))
	}
}
