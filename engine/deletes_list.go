package engine

import (
	"errors"
	"fmt"
	"io"

	"github.com/akubra/akubra/engine/content"
)

// maxDeleteBody: S3 allows 1,000 keys of 1,024 bytes, and backends allow 2 MB for them and their
// XML.
const maxDeleteBody = 2 * 1000 * 1024

// maxDeleteMemory bounds what all multi-object deletes in flight use together: their bodies, and
// deletionCost per object, most of it in the journal's table.
const (
	maxDeleteMemory = 96 << 20
	deletionCost    = 5 << 10
)

// chargeDelete takes n bytes of that for the request, until the request ends.
func (r *request) chargeDelete(n int64) *s3Error {
	r.ledger.take(n)
	if r.e.deleting.Add(n) > maxDeleteMemory {
		return errTooManyWrites
	}
	return nil
}

// deleteReader reads the body of a multi-object delete as it arrives and keeps all of it.
type deleteReader struct {
	r    *request
	from io.Reader
	data []byte
	err  error // why from gave no more; what the list's reader is told may be another one
}

func (b *deleteReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.from.Read(p)
	b.data = append(b.data, p[:n]...)
	switch {
	case n > 0 && b.r.chargeDelete(int64(n)) != nil:
		err = errTooManyWrites
	case len(b.data) > maxDeleteBody:
		err = errDeleteTooLarge
	}
	b.err = err
	return n, err
}

// rest reads what follows the list.
func (b *deleteReader) rest() error {
	var p [4096]byte
	for b.err == nil {
		_, _ = b.Read(p[:])
	}
	if b.err == io.EOF {
		return nil
	}
	return b.err
}

// readDeleteList reads the body and parses the list in it. A problem is an answer for the client.
func (r *request) readDeleteList(body io.Reader) (data []byte, objects []content.Object, conditional map[string]bool, err error) {
	b := &deleteReader{r: r, from: body}
	objects, conditional, err = content.ParseDeletes(b, r.head.awsChunked)
	if problem := problemOfList(err); problem != nil {
		return nil, nil, nil, problem
	}
	if err := b.rest(); err != nil {
		return nil, nil, nil, err
	}
	if err != nil { // a backend might read it, and nobody would know what was deleted
		return nil, nil, nil, errDeleteMalformed
	}
	if !r.head.chunked && int64(len(b.data)) < r.head.contentLength {
		return nil, nil, nil, fmt.Errorf("%w: the list", io.ErrUnexpectedEOF)
	}
	return b.data, objects, conditional, nil
}

// problemOfList is what the client is told of a list that is out of bounds (R23, R24).
func problemOfList(err error) *s3Error {
	var problem *s3Error // the reader's
	switch {
	case errors.As(err, &problem):
		return problem
	case errors.Is(err, content.ErrTooMany):
		return errDeleteTooMany
	case errors.Is(err, content.ErrKeyTooLong):
		return errDeleteKeyTooLong
	case errors.Is(err, content.ErrMalformed):
		return errDeleteMalformed
	}
	return nil
}
