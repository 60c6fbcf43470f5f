package demo

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3afero"
)

// Backend is an S3 server of the demo. It keeps its objects as plain files, checks no signatures,
// and can be stopped and started. Only one goroutine may call its methods.
type Backend struct {
	Name    string
	Addr    string // the same after a restart, and also in the next demo if it is free
	kept    string // the file that stores addr
	objects string // the directory of the bucket's objects
	handler http.Handler
	server  *http.Server // nil while stopped
}

// NewBackend makes the backend, with its bucket, under dir. It is not started yet.
func NewBackend(name, dir, bucket string) (*Backend, error) {
	files, err := newFileBackend(filepath.Join(dir, name))
	if err == nil {
		err = files.CreateBucket(bucket)
		if gofakes3.HasErrorCode(err, gofakes3.ErrBucketAlreadyExists) { // left from an earlier demo
			err = nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot create backend %q: %w", filepath.Join(dir, name), err)
	}
	s3 := gofakes3.New(files, gofakes3.WithTimeSkewLimit(0), gofakes3.WithLogger(gofakes3.DiscardLog()))
	kept := filepath.Join(dir, name, "address")
	addr, err := os.ReadFile(kept)
	if err != nil || !addrOf(string(addr)).IsLoopback() {
		addr = []byte("127.0.0.1:0")
	}
	return &Backend{
		Name:    name,
		Addr:    string(addr),
		kept:    kept,
		objects: filepath.Join(dir, name, "buckets", bucket),
		handler: DecodeChunks(withType(s3.Server())),
	}, nil
}

// addrOf is the address without its port, or none.
func addrOf(addr string) netip.Addr {
	ap, _ := netip.ParseAddrPort(addr)
	return ap.Addr()
}

// firstStart chooses the address: the last one, by which the journal knows the backend, or a free
// one.
func (s *Backend) firstStart() error {
	if s.Start() != nil {
		s.Addr = "127.0.0.1:0"
		if err := s.Start(); err != nil {
			return err
		}
	}
	if err := os.WriteFile(s.kept, []byte(s.Addr), 0o600); err != nil {
		return fmt.Errorf("cannot save the address of the %s backend: %w", s.Name, err)
	}
	return nil
}

// Start listens at the same address as before.
func (s *Backend) Start() error {
	listener, err := net.Listen("tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("cannot start the %s backend: %w", s.Name, err)
	}
	s.Addr = listener.Addr().String()
	// gofakes3 responds twice if a connection was cut, and net/http would log that.
	s.server = &http.Server{Handler: s.handler, ErrorLog: log.New(io.Discard, "", 0)}
	go func(server *http.Server) { _ = server.Serve(listener) }(s.server) // ends with Close
	return nil
}

// Stop is as abrupt as a power cut: connections are cut, and no new ones are accepted.
func (s *Backend) Stop() {
	if s.server != nil {
		_ = s.server.Close()
		s.server = nil
	}
}

func (s *Backend) running() bool { return s.server != nil }

// fileBackend is gofakes3's storage on disk, except that it does not read an object straight from
// the network. gofakes3 would hold its only lock meanwhile, so two uploads at a time, each holding
// the lock of one backend and waiting for the other's, would never end; and it would keep half of
// an object whose client went away (R6).
type fileBackend struct {
	*s3afero.MultiBucketBackend
	incoming string // a directory for objects being uploaded
}

func newFileBackend(dir string) (*fileBackend, error) {
	incoming := filepath.Join(dir, "incoming")
	if err := os.MkdirAll(incoming, 0o700); err != nil {
		return nil, err
	}
	fs, err := s3afero.FsPath(dir, s3afero.FsPathCreateAll)
	if err != nil {
		return nil, err
	}
	backend, err := s3afero.MultiBucket(fs)
	if err != nil {
		return nil, err
	}
	return &fileBackend{backend, incoming}, nil
}

func (b *fileBackend) PutObject(bucket, key string, meta map[string]string, input io.Reader, size int64,
	conditions *gofakes3.PutConditions,
) (gofakes3.PutObjectResult, error) {
	f, err := os.CreateTemp(b.incoming, "")
	if err != nil {
		return gofakes3.PutObjectResult{}, err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil { // it exists until it is closed
		return gofakes3.PutObjectResult{}, err
	}
	n, err := io.Copy(f, input)
	switch {
	case err != nil:
	case n != size:
		err = gofakes3.ErrIncompleteBody
	default:
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return gofakes3.PutObjectResult{}, err
	}
	return b.MultiBucketBackend.PutObject(bucket, key, meta, f, size, conditions)
}

// DecodeChunks decodes the chunks of signed bodies and bodies with trailers: gofakes3 knows only
// one of these codings and would take the framing of the others for the object.
func DecodeChunks(next http.Handler) http.Handler {
	const sha, length = "X-Amz-Content-Sha256", "X-Amz-Decoded-Content-Length"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get(sha), "STREAMING-") {
			// chunk-size;chunk-signature=… is an HTTP/1.1 chunk with an extension.
			r.Body = struct {
				io.Reader
				io.Closer
			}{httputil.NewChunkedReader(r.Body), r.Body}
			r.Header.Set(sha, "UNSIGNED-PAYLOAD")
			r.Header.Set("Content-Length", r.Header.Get(length))
			r.ContentLength, _ = strconv.ParseInt(r.Header.Get(length), 10, 64) // gofakes3 refuses a wrong one
			r.Header.Del(length)
			if coding := strings.TrimPrefix(r.Header.Get("Content-Encoding"), "aws-chunked"); coding == "" {
				r.Header.Del("Content-Encoding")
			} else {
				r.Header.Set("Content-Encoding", strings.TrimPrefix(coding, ","))
			}
		}
		next.ServeHTTP(w, r)
	})
}

// withType gives an object S3's default type if its client has sent none. Otherwise the server
// would guess one for a GET and have none for a HEAD.
func withType(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const name = "Content-Type"
		if (r.Method == http.MethodPut || r.Method == http.MethodPost) && r.Header.Get(name) == "" && r.Header.Get("X-Amz-Copy-Source") == "" {
			r.Header.Set(name, "binary/octet-stream")
		}
		next.ServeHTTP(w, r)
	})
}
