package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/akubra/akubra/s3/sigv4"
)

// s3Target is a user's own endpoint, from -target and the flags that go with it. Buckets are
// addressed path-style.
type s3Target struct {
	name, url, accessKey, secretKey, region, bucket string
	insecure                                        bool

	host string // as in Host
	addr string // host:port to connect to
	tls  bool

	prefix string // of all keys
}

// flags defines the flags for what all targets have in common, and for the URLs of each.
func (t *s3Target) flags(fs *flag.FlagSet, urls *[]string) {
	fs.Func("target", "drive the S3 endpoint at this `URL` instead of starting backends; may be given again: all are driven in turn and compared with the first (NAME=URL names one)", func(s string) error {
		*urls = append(*urls, s)
		return nil
	})
	fs.StringVar(&t.accessKey, "access-key", os.Getenv("AWS_ACCESS_KEY_ID"), "access `key` for -target (default $AWS_ACCESS_KEY_ID)")
	fs.StringVar(&t.secretKey, "secret-key", "", "secret `key` for -target (default $AWS_SECRET_ACCESS_KEY)")
	fs.StringVar(&t.region, "region", "us-east-1", "`region` for -target's signatures")
	fs.StringVar(&t.bucket, "bucket", "", "`bucket` on -target (default: one of its own, removed at the end)")
	fs.BoolVar(&t.insecure, "insecure", false, "take any certificate from -target")
}

// targets are the targets on the command line. All have the same keys.
func (t *s3Target) targets(urls []string) ([]*s3Target, error) {
	var all []*s3Target
	for _, url := range urls {
		one := *t
		one.url = url
		if name, rest, ok := strings.Cut(url, "="); ok && !strings.ContainsAny(name, ":/") {
			one.name, one.url = name, rest
		}
		if err := one.check(); err != nil {
			return nil, err
		}
		if one.name == "" && len(urls) > 1 {
			one.name = one.host
		}
		one.name = cmp.Or(one.name, "target")
		if slices.ContainsFunc(all, func(o *s3Target) bool { return o.name == one.name }) {
			return nil, fmt.Errorf("cannot use two -target %s: name one of them, as in -target other=%s", one.name, hideSecret(one.url))
		}
		all = append(all, &one)
	}
	return all, nil
}

func (t *s3Target) check() error {
	if t.secretKey == "" {
		t.secretKey = os.Getenv("AWS_SECRET_ACCESS_KEY")
	}
	u, err := url.Parse(t.url)
	if err != nil || u.User != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		// It may contain a password.
		return fmt.Errorf("cannot use -target %q: want http://HOST:PORT or https://HOST", hideSecret(t.url))
	}
	if t.accessKey == "" || t.secretKey == "" {
		return errors.New("cannot sign for -target: -access-key and -secret-key are needed")
	}
	t.host, t.tls = u.Host, u.Scheme == "https"
	port := u.Port()
	if port == "" {
		port = map[bool]string{false: "80", true: "443"}[t.tls]
	}
	t.addr = net.JoinHostPort(u.Hostname(), port)
	return nil
}

// s3Request signs a request and writes its head.
func (t *s3Target) s3Request(buf []byte, s *sigv4.Signer, method, target string, size int64, hash string, fresh bool) []byte {
	header := make(http.Header, 4)
	path, query, _ := strings.Cut(target, "?")
	s.Sign(header, method, t.host, path, query, hash, time.Now())
	buf = fmt.Appendf(buf[:0], "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: akubra-bench\r\n", method, target, t.host)
	for name, values := range header {
		buf = fmt.Appendf(buf, "%s: %s\r\n", name, values[0])
	}
	if method == "PUT" {
		buf = fmt.Appendf(buf, "Content-Length: %d\r\n", size)
	}
	if fresh {
		buf = append(buf, "Connection: close\r\n"...)
	}
	return append(buf, "\r\n"...)
}

func (t *s3Target) signer() *sigv4.Signer {
	return sigv4.New(t.accessKey, t.secretKey, "", t.region)
}

// s3Source makes signed requests for the keys of one connection, so that no two connections write the
// same key at once. There are as many keys as keep all objects together within keptBytes; after the
// last one the first is written again.
type s3Source struct {
	t      *s3Target
	c      *Case
	mix    *mix
	signer *sigv4.Signer
	hashes map[int64]string // of payloads, by size
	prefix string
	sizes  []int64 // of the objects there are, by key; -1 is none, or nobody knows

	touched []bool // which keys were ever written to
	turn    int
	key     int // of the request on its way
	random  *rand.Rand
	buf     []byte
}

const (
	keptBytes = 1 << 30
	keptKeys  = 1000 // on each connection, at most
)

func (t *s3Target) newSource(c *Case, hashes map[int64]string, conn int) *s3Source {
	s := &s3Source{t: t, c: c, mix: mixOf(c), signer: t.signer(), hashes: hashes, random: rand.New(rand.NewPCG(1, uint64(conn)))}
	s.prefix = fmt.Sprintf("/%s/%s/%04d/", t.bucket, t.prefix, conn)
	size := c.Size
	if c.Method == methodMix {
		size = 2 * mixMedian
	}
	s.sizes = make([]int64, min(keptKeys, max(1, keptBytes/int64(c.Conns)/max(1, size))))
	for i := range s.sizes {
		s.sizes[i] = -1
	}
	s.touched = make([]bool, len(s.sizes))
	return s
}

func (s *s3Source) path() string { return fmt.Sprintf("%s%06d", s.prefix, s.key) }

func (s *s3Source) next(r *request) {
	method, size := pick(s.random, s.c, s.mix)
	if method == "LIST" {
		*r = request{method: "GET", operation: method, answer: -1}
		// The connection's own keys, so that every listing has about as many.
		target := fmt.Sprintf("/%s%s&prefix=%s", s.t.bucket, listParam, url.QueryEscape(strings.TrimPrefix(s.prefix, "/"+s.t.bucket+"/")))
		s.buf = s.t.s3Request(s.buf, s.signer, "GET", target, 0, sigv4.Empty, s.c.NoAlive)
		r.head = s.buf
		return
	}
	s.turn = (s.turn + 1) % len(s.sizes)
	s.key = s.turn
	if method != "PUT" {
		if s.key = s.existing(); s.key < 0 {
			method, s.key = "PUT", s.turn // there is nothing to read or delete yet
			if s.c.Method == "GET" || s.c.Method == "HEAD" {
				size = s.c.Size
			} else {
				size = mixSizes[s.random.IntN(len(mixSizes))]
			}
		}
	}
	*r = request{method: method, answer: -1}
	hash := sigv4.Empty
	switch method {
	case "PUT":
		r.size, r.body, hash = size, payload, s.hashes[size]
		s.touched[s.key] = true
	case "GET", "HEAD":
		r.answer = s.sizes[s.key]
	}
	s.buf = s.t.s3Request(s.buf, s.signer, method, s.path(), r.size, hash, s.c.NoAlive)
	r.head = s.buf
}

// existing is the next key from this turn's on that has an object, or -1.
func (s *s3Source) existing() int {
	for i := range s.sizes {
		if key := (s.turn + i) % len(s.sizes); s.sizes[key] >= 0 {
			return key
		}
	}
	return -1
}

func (s *s3Source) done(r *request, err error) {
	switch {
	case r.method == "PUT" && err == nil:
		s.sizes[s.key] = r.size
	case r.method == "DELETE" && err == nil:
		s.sizes[s.key] = -1
	case r.method == "PUT":
		s.sizes[s.key] = -1
	}
}
