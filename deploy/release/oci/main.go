// Command oci makes the container image, for several architectures, as one tar of an OCI layout.
// It needs no container engine, and the same input gives the same bytes: all times are
// SOURCE_DATE_EPOCH.
//
//	oci -out akubra-oci.tar -version v1.2.3 amd64=BINARY arm64=BINARY
//
// The image has the binary and nothing that could be run beside it: no shell, no libc. It is made of
// two layers: what is the same for all architectures (the user, DataDir, a configuration, the
// authorities that https:// backends are checked with), and the binary.
package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is nobody on any system's own list, and by its number no root for Kubernetes'
// runAsNonRoot.
const user = 65532

// configuration is completed by the environment (AKUBRA_BACKENDS=…), or replaced by a file that is
// mounted over it.
const configuration = `# Name the backends in the environment, as AKUBRA_BACKENDS=http://a:9000,http://b:9000, or mount
# a file of your own here.
DataDir: /var/lib/akubra
`

func main() {
	var o options
	flag.StringVar(&o.out, "out", "", "the tar to write")
	flag.StringVar(&o.version, "version", "", "the version, for labels and as the image's tag")
	flag.StringVar(&o.revision, "revision", "", "the commit, for labels")
	flag.StringVar(&o.license, "license", "", "the license's file")
	flag.StringVar(&o.licenses, "licenses", "", "the file with those of what is linked in")
	flag.Parse()
	if err := o.make(flag.Args()); err != nil {
		fmt.Fprintf(os.Stderr, "oci: %v\n", err)
		os.Exit(1)
	}
}

type options struct {
	out, version, revision, license, licenses string
	created                                   time.Time
}

func (o *options) make(binaries []string) error {
	if o.out == "" || o.version == "" || len(binaries) == 0 {
		return errors.New("usage: oci -out FILE -version VERSION ARCH=BINARY ...")
	}
	epoch, err := strconv.ParseInt(cmp.Or(os.Getenv("SOURCE_DATE_EPOCH"), "0"), 10, 64)
	if err != nil {
		return fmt.Errorf("cannot use SOURCE_DATE_EPOCH: %w", err)
	}
	o.created = time.Unix(epoch, 0).UTC()
	base, err := o.base()
	if err != nil {
		return err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, pair := range binaries {
		arch, file, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("cannot use %q: it is not ARCH=BINARY", pair)
		}
		image, err := o.image(base, arch, file)
		if err != nil {
			return fmt.Errorf("cannot make the image for %q: %w", arch, err)
		}
		platform := &v1.Platform{OS: "linux", Architecture: arch}
		if arch == "arm64" {
			platform.Variant = "v8"
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: platform}})
	}
	dir, err := os.MkdirTemp("", "akubra-oci-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	err = path.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "akubra:" + o.version}))
	if err != nil {
		return err
	}
	return o.pack(dir)
}

// base is the layer that all architectures share.
func (o *options) base() (v1.Layer, error) {
	var roots bytes.Buffer
	for root := range bundle.Roots() {
		_ = pem.Encode(&roots, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // to memory
	}
	files := []file{
		{name: "etc/", mode: 0o755},
		{name: "etc/akubra/", mode: 0o755},
		{name: "etc/akubra/akubra.yaml", mode: 0o644, content: []byte(configuration)},
		{name: "etc/group", mode: 0o644, content: fmt.Appendf(nil, "root:x:0:\nakubra:x:%d:\n", user)},
		{name: "etc/passwd", mode: 0o644, content: fmt.Appendf(nil, "root:x:0:0::/:/nologin\nakubra:x:%d:%[1]d::/var/lib/akubra:/nologin\n", user)},
		{name: "etc/ssl/", mode: 0o755},
		{name: "etc/ssl/certs/", mode: 0o755},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, content: roots.Bytes()},
		{name: "usr/", mode: 0o755},
		{name: "usr/share/", mode: 0o755},
		{name: "usr/share/doc/", mode: 0o755},
		{name: "usr/share/doc/akubra/", mode: 0o755},
	}
	for _, doc := range []struct{ name, from string }{{"LICENSE", o.license}, {"third-party-licenses", o.licenses}} {
		if doc.from == "" {
			continue
		}
		content, err := os.ReadFile(doc.from)
		if err != nil {
			return nil, err
		}
		files = append(files, file{name: "usr/share/doc/akubra/" + doc.name, mode: 0o644, content: content})
	}
	return o.layer(append(files,
		file{name: "var/", mode: 0o755},
		file{name: "var/lib/", mode: 0o755},
		// A new volume gets the owner and the mode of what it is mounted on.
		file{name: "var/lib/akubra/", mode: 0o700, owner: user},
	))
}

func (o *options) image(base v1.Layer, arch, binary string) (v1.Image, error) {
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	layer, err := o.layer([]file{{name: "usr/", mode: 0o755}, {name: "usr/bin/", mode: 0o755}, {name: "usr/bin/akubra", mode: 0o755, content: content}})
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	made := v1.Time{Time: o.created}
	image, err = mutate.Append(image,
		mutate.Addendum{Layer: base, MediaType: types.OCILayer, History: v1.History{Created: made, CreatedBy: "user, authorities, configuration"}},
		mutate.Addendum{Layer: layer, MediaType: types.OCILayer, History: v1.History{Created: made, CreatedBy: "akubra " + o.version}},
	)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", arch, made
	if arch == "arm64" {
		config.Variant = "v8"
	}
	config.Config = v1.Config{
		User:         fmt.Sprintf("%d:%[1]d", user),
		Entrypoint:   []string{"/usr/bin/akubra"},
		Cmd:          []string{"-c", "/etc/akubra/akubra.yaml"},
		Env:          []string{"PATH=/usr/bin"},
		WorkingDir:   "/var/lib/akubra",
		Volumes:      map[string]struct{}{"/var/lib/akubra": {}},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		StopSignal:   "SIGTERM",
		Labels: map[string]string{
			"org.opencontainers.image.title":       "akubra",
			"org.opencontainers.image.description": "S3 proxy that keeps several backends in sync",
			"org.opencontainers.image.licenses":    "Apache-2.0",
			"org.opencontainers.image.source":      "https://github.com/akubra/akubra",
			"org.opencontainers.image.version":     o.version,
			"org.opencontainers.image.revision":    o.revision,
			"org.opencontainers.image.created":     o.created.Format(time.RFC3339),
		},
	}
	return mutate.ConfigFile(image, config)
}

// file is one of a layer; a directory if its name ends in a slash.
type file struct {
	name    string
	mode    int64
	owner   int
	content []byte
}

func (o *options) layer(files []file) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Uid: f.owner, Gid: f.owner, Size: int64(len(f.content)), ModTime: o.created, Typeflag: tar.TypeReg}
		if strings.HasSuffix(f.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
}

// pack writes the layout's files, in the order of their names.
func (o *options) pack(dir string) (err error) {
	out, err := os.Create(o.out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	w := tar.NewWriter(out)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return w.WriteHeader(&tar.Header{Name: filepath.ToSlash(name) + "/", Mode: 0o755, ModTime: o.created, Typeflag: tar.TypeDir})
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		err = w.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Mode: 0o644, Size: int64(len(content)), ModTime: o.created, Typeflag: tar.TypeReg})
		if err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	return errors.Join(err, w.Close())
}
