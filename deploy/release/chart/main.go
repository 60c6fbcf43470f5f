// Command chart packs the Helm chart, as `helm package` does, but so that the same chart gives the
// same bytes: all times are SOURCE_DATE_EPOCH.
//
//	chart -version 1.2.3 -app v1.2.3 -out FOLDER CHART
package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

var (
	version = flag.String("version", "", "the chart's version")
	app     = flag.String("app", "", "the proxy's version, which is the image's tag")
	out     = flag.String("out", ".", "the folder to write to")
)

func main() {
	flag.Parse()
	if err := pack(flag.Arg(0)); err != nil {
		fmt.Fprintf(os.Stderr, "chart: %v\n", err)
		os.Exit(1)
	}
}

func pack(dir string) error {
	if dir == "" || *version == "" || *app == "" {
		return errors.New("usage: chart -version VERSION -app VERSION -out FOLDER CHART")
	}
	epoch, err := strconv.ParseInt(cmp.Or(os.Getenv("SOURCE_DATE_EPOCH"), "0"), 10, 64)
	if err != nil {
		return fmt.Errorf("cannot use SOURCE_DATE_EPOCH: %w", err)
	}
	name := filepath.Base(dir)
	var b bytes.Buffer
	zip, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is valid
	w := tar.NewWriter(zip)
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		in, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		if in == "Chart.yaml" {
			content = set(set(content, "version", *version), "appVersion", *app)
		}
		err = w.WriteHeader(&tar.Header{Name: path.Join(name, filepath.ToSlash(in)), Mode: 0o644, Size: int64(len(content)), ModTime: time.Unix(epoch, 0), Typeflag: tar.TypeReg})
		if err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	if err := errors.Join(err, w.Close(), zip.Close()); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(*out, name+"-"+*version+".tgz"), b.Bytes(), 0o644)
}

// set replaces a key's value.
func set(content []byte, key, value string) []byte {
	line := regexp.MustCompile(`(?m)^` + key + `:.*$`)
	return line.ReplaceAllLiteral(content, fmt.Appendf(nil, "%s: %q", key, value))
}
