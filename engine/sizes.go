package engine

import (
	"bytes"
	"hash/maphash"
	"io"
	"strconv"

	"github.com/akubra/akubra/engine/content"
	"github.com/akubra/akubra/engine/recent"
	"github.com/akubra/akubra/s3"
)

// maxPartSizes bounds how many parts' sizes are remembered, at some 40 bytes each. An upload with
// an unknown part is recorded without a size.
const maxPartSizes = 1 << 16

// partSizes remembers the sizes of the parts of multipart uploads, which are not part of the
// request that completes an upload (R16).
type partSizes struct {
	seed  maphash.Seed
	sizes *recent.Map[partKey, int64]
}

// partKey identifies a part of an upload, by its hash.
type partKey struct {
	upload uint64
	number int
}

func newPartSizes(limit int) *partSizes {
	return &partSizes{seed: maphash.MakeSeed(), sizes: recent.New[partKey, int64](limit)}
}

// put records a part's size; a negative one is not known.
func (s *partSizes) put(uploadID string, number int, size int64) {
	s.sizes.Put(partKey{maphash.String(s.seed, uploadID), number}, size)
}

// sum is the size of an object made from these parts, or 0 if it is not known.
func (s *partSizes) sum(uploadID string, numbers []int) (sum int64) {
	upload := maphash.String(s.seed, uploadID)
	for _, n := range numbers {
		size, known := s.sizes.Get(partKey{upload, n})
		if !known || size < 0 {
			return 0
		}
		sum += size
	}
	return sum
}

// learnPart records the size of a part that a backend has taken.
func (r *request) learnPart() {
	number, err := strconv.Atoi(queryValue(r.head.target.Query, "partNumber"))
	if err != nil {
		return
	}
	size := r.contentSize()
	if r.head.copySource {
		size = r.head.source.Length
	}
	r.e.parts.put(r.head.target.UploadID, number, size)
}

// queryValue returns a parameter's value in a raw query, undecoded.
func queryValue(query []byte, name string) string {
	for len(query) > 0 {
		var param []byte
		param, query, _ = bytes.Cut(query, []byte("&"))
		if n, value, _ := bytes.Cut(param, []byte("=")); string(n) == name {
			return string(value)
		}
	}
	return ""
}

// contentSize is the size of the content that the client has sent, without the framing of signed
// chunks.
func (r *request) contentSize() int64 {
	if r.head.decodedLength >= 0 {
		return r.head.decodedLength
	}
	return r.message.BodySize()
}

// objectSize is the size of what the request writes, for records: 0 if it is not known, like that
// of a copy (R16).
func (r *request) objectSize() int64 {
	switch r.head.kind {
	case s3.KindComplete, s3.KindForm:
		return r.ledger.madeSize()
	case s3.KindCopy, s3.KindDelete:
		return 0
	}
	return r.contentSize()
}

// watch examines a body as it passes, if its content has to be known.
func (r *request) watch(body io.Reader) io.Reader {
	switch r.head.kind {
	case s3.KindForm:
		r.head.form.Src = body
		return r.head.form
	case s3.KindComplete:
		return content.NewPartList(body, r.head.contentLength, func(numbers []int) {
			r.ledger.setMade(r.e.parts.sum(r.head.target.UploadID, numbers))
		})
	}
	return body
}
