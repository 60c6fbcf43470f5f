package engine

import (
	"bytes"
	"math/bits"

	"github.com/akubra/akubra/s3"
)

// A page of a listing says where the next one begins, in some listings with a token of the
// backend's own, for which another backend would begin anywhere. So such pages are answered by the
// backend that gave the token, as parts are by the owner of their upload (R26). First pages, and
// pages whose token was never seen here, are asked of every backend.

// maxPages bounds how many tokens are remembered.
const maxPages = 1 << 16

// maxToken bounds a token with its element, in bytes.
const maxToken = 4 << 10

// pageKey is the key under which a token is remembered.
func (r *request) pageKey(token string) string { return string(r.head.target.Bucket) + "/" + token }

// pageScanner finds the tokens in an answer as it passes. Its zero value is ready to use.
type pageScanner struct{ carry []byte }

// feed scans the next piece of the answer.
func (s *pageScanner) feed(piece []byte, found func(token string)) {
	s.carry = append(s.carry, piece...)
	for _, p := range s3.PageTokens {
		if token := s3.Text(s.carry, p.Element); len(token) > 0 {
			found(s3.UnescapeText(token))
		}
	}
	if n := len(s.carry) - maxToken; n > 0 {
		s.carry = s.carry[:copy(s.carry, s.carry[n:])]
	}
}

// learnPages remembers the tokens in a piece of the listing that the backend sends.
func (r *request) learnPages(s *pageScanner, piece []byte, backend int) {
	if bytes.IndexByte(piece, '<') < 0 && len(s.carry) == 0 {
		return
	}
	s.feed(piece, func(token string) { r.e.pages.Put(r.pageKey(token), backend) })
}

// owedIn counts what each backend owes of a bucket, and gives those that owe something.
func (r *request) owedIn(counts []int) (owed uint64) {
	r.e.o.Journal.OwedIn(r.head.target.Bucket, counts)
	for late := r.e.ofBuckets.late(r.head.target.Bucket); late != 0; late &= late - 1 {
		counts[bits.TrailingZeros64(late)]++
	}
	for b, n := range counts {
		if n > 0 {
			owed |= 1 << b
		}
	}
	return owed
}
