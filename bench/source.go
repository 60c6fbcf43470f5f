package main

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// A production mix: log-normal sizes around mixMedian.
const (
	mixMedian  = 50 << 10
	mixSigma   = 1.2
	mixLargest = 16 << 20
)

// mixSizes are 256 quantiles of the distribution: the same for every peer, few
// enough for their hashes to be worked out beforehand.
var mixSizes = func() []int64 {
	sizes := make([]int64, 256)
	for i := range sizes {
		p := (float64(i) + .5) / float64(len(sizes))
		z := math.Sqrt2 * math.Erfinv(2*p-1)
		sizes[i] = min(int64(mixMedian*math.Exp(mixSigma*z)), mixLargest)
	}
	return sizes
}()

// payload is what bodies consist of: noise, so that no backend packs it.
var payload = func() []byte {
	b := make([]byte, 1<<20)
	r := rand.NewChaCha8([32]byte{'b', 'e', 'n', 'c', 'h'})
	_, _ = r.Read(b)
	return b
}()

// pick is a case's next operation and size.
func pick(r *rand.Rand, c *Case, m *mix) (op string, size int64) {
	if c.Method != methodMix {
		return c.Method, c.Size
	}
	return m.pick(r)
}

// stubSource makes requests for our own backends, which have every object of any
// size and believe every signature. Keys are random: writes must not overlap.
type stubSource struct {
	c      *Case
	mix    *mix
	host   string
	random *rand.Rand
	buf    []byte
}

func newStubSource(c *Case, host string, conn int) source {
	return &stubSource{c: c, mix: mixOf(c), host: host, random: rand.New(rand.NewPCG(rand.Uint64(), uint64(conn)))}
}

// stubAuth has the length of a real one.
const stubAuth = "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20240101/us-east-1/s3/aws4_request, " +
	"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=fe5f80f77d5fa3beca038a248ff027d0445342fe2855ddc963176630326f1024\r\n" +
	"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\nX-Amz-Date: 20240101T000000Z\r\nUser-Agent: bench\r\n"

func (s *stubSource) next(r *request) {
	op, size := pick(s.random, s.c, s.mix)
	method := op
	if op == "LIST" {
		method = "GET"
	}
	*r = request{method: method, operation: op, answer: -1}
	key := s.random.Uint64()
	if s.c.OneKey {
		key = 0
	}
	if op == "LIST" {
		s.buf = fmt.Appendf(s.buf[:0], "GET /bench%s&prefix=%04x", listParam, uint16(key))
	} else {
		s.buf = fmt.Appendf(s.buf[:0], "%s /bench/%016x", method, key)
	}
	if s.c.Missing {
		size = missingSize
		r.status = 404
	}
	switch op {
	case "PUT":
		r.size, r.body = size, payload
	case "GET", "HEAD":
		s.buf = fmt.Appendf(s.buf, "%s%d", sizeParam, size)
		r.answer = size
	}
	s.buf = fmt.Appendf(s.buf, " HTTP/1.1\r\nHost: %s\r\n%s", s.host, stubAuth)
	if method == "PUT" {
		s.buf = fmt.Appendf(s.buf, "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", size)
	}
	if s.c.NoAlive {
		s.buf = append(s.buf, "Connection: close\r\n"...)
	}
	s.buf = append(s.buf, "\r\n"...)
	r.head = s.buf
}

func (s *stubSource) done(*request, error) {}
