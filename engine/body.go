package engine

import (
	"errors"
	"io"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/engine/body"
	"github.com/akubra/akubra/s3"
)

// readBody brings the request's body from the client into the ring, and starts
// the legs on the way. A problem means that the client is gone, or that what it
// sends is no body: the request has to be aborted. Where every leg has ended
// before the body did (R9), there is no problem, but bodyRead stays false.
func (r *request) readBody(ctx *fasthttp.RequestCtx) *s3Error {
	if r.race.isRead() {
		return nil
	}
	src := ctx.RequestBodyStream()
	if r.head.chunked {
		src = newStrictChunks(src)
	}
	if r.head.is(s3.KindDelete) {
		return r.readDeletes(ctx, src)
	}
	src = r.watch(src)
	switch {
	case r.head.hidesKeys(): // until its key is known, see startForm
		r.progress(farFuture)
		r.client.beginBody(nil)
	case r.head.chunked:
		r.message.Start()
		r.client.beginBody(nil)
	case r.message.Started():
		r.client.beginBody(nil)
	default:
		r.client.beginBody(r.startFn)
	}
	defer r.client.endBody()
	if r.head.chunked {
		return r.bodyEnded(r.copyChunked(ctx, src))
	}
	return r.bodyEnded(r.message.Fill(src))
}

// bodyEnded says what the end of a body means.
func (r *request) bodyEnded(err error) *s3Error {
	if err == nil {
		r.endBody()
		return nil
	}
	var problem *s3Error
	switch {
	case r.isDecided(), errors.Is(err, body.ErrNoReaders):
		return nil
	case errors.As(err, &problem):
		return problem
	case isTimeout(err):
		return errRequestTimeout
	case errors.Is(err, body.ErrPipes):
		r.e.o.Log.Warn("cannot go on with a body", "error", err.Error(), "id", r.head.name())
		return errInternal
	case errors.Is(err, body.ErrCanceled):
		return errInternal
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errIncompleteBody
	}
	return errMalformedBody
}

// A chunk's frame has a fixed size, so that its data can be read into the ring
// right where it belongs: six digits, CR LF before, CR LF behind.
const (
	chunkDigits = 6
	chunkFrame  = chunkDigits + 2 + 2
	minChunk    = 64 // less room than this is filled by way of a buffer
	maxChunk    = 1<<(4*chunkDigits) - 1
)

// copyChunked copies a body without a length: decoded by the server, framed
// anew for the backends, trailer fields passed on (RFC 9112 §7.1).
func (r *request) copyChunked(ctx *fasthttp.RequestCtx, body io.Reader) error {
	limit := r.o.MaxBodySize
	if r.head.decodedLength >= 0 { // a backend that counts need not wait for the last chunk
		r.message.MayEnd()
	}
	for {
		if !r.message.Started() && r.message.IsNearlyFull() {
			r.message.Start() // only the legs make room
		}
		room, err := r.message.Reserve()
		if err != nil {
			return err
		}
		n, err := r.copyChunk(room, body)
		if size := r.message.AddBody(n); limit > 0 && size > limit {
			return errEntityTooLarge
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	return r.endChunks(ctx)
}

// endChunks writes the last chunk and the client's trailer fields.
func (r *request) endChunks(ctx *fasthttp.RequestCtx) error {
	r.message.MayEnd()
	if _, err := r.message.Write([]byte("0\r\n")); err != nil {
		return err
	}
	trailer := ctx.Request.Header.TrailerHeader()
	if len(trailer) == 0 {
		trailer = []byte("\r\n")
	}
	_, err := r.message.Write(trailer)
	return err
}

// copyChunk reads once from body, and publishes what came as one chunk.
func (r *request) copyChunk(room []byte, body io.Reader) (int, error) {
	if len(room) < chunkFrame+minChunk {
		var small [minChunk]byte
		n, err := body.Read(small[:])
		if n > 0 {
			var frame [chunkFrame + minChunk]byte
			copy(frame[chunkDigits+2:], small[:n])
			if _, werr := r.message.Write(frame[:frameChunk(frame[:], n)]); werr != nil {
				return n, werr
			}
		}
		return n, err
	}
	room = room[:min(len(room), maxChunk)]
	n, err := body.Read(room[chunkDigits+2 : len(room)-2])
	if n > 0 {
		r.message.Publish(frameChunk(room, n))
	}
	return n, err
}

// frameChunk writes the frame around n bytes of data in b, and returns the size
// of it all.
func frameChunk(b []byte, n int) int {
	const hex = "0123456789abcdef"
	for i := chunkDigits - 1; i >= 0; i-- {
		b[i] = hex[n>>(4*(chunkDigits-1-i))&15]
	}
	copy(b[chunkDigits:], "\r\n")
	copy(b[chunkDigits+2+n:], "\r\n")
	return n + chunkFrame
}

// readDeletes takes the body of a multi-object delete, which has to be known
// when the answers come (R24), and is bounded as S3 bounds it.
func (r *request) readDeletes(ctx *fasthttp.RequestCtx, body io.Reader) *s3Error {
	r.client.beginBody(nil)
	defer r.client.endBody()
	if r.head.contentLength > maxDeleteBody {
		return errDeleteTooLarge
	}
	r.progress(farFuture) // waiting for the client, or for other writes, is not the backends' fault (R13)
	data, objects, conditional, err := r.readDeleteList(body)
	if err != nil {
		return r.bodyEnded(err)
	}
	if problem := r.beginDeletes(objects, conditional); problem != nil {
		return problem
	}
	if problem := r.chooseDeletesDecider(conditional); problem != nil {
		return problem
	}
	r.message.AddBody(len(data))
	r.message.MayEnd()
	r.progress(r.e.now())
	r.message.Start()
	if r.head.chunked {
		if len(data) > 0 {
			_, err = r.message.Write([]byte(strconv.FormatInt(int64(len(data)), 16) + "\r\n" + string(data) + "\r\n"))
		}
		if err == nil {
			err = r.endChunks(ctx)
		}
	} else {
		_, err = r.message.Write(data)
	}
	return r.bodyEnded(err)
}

// progress tells the limiter of every leg, before they start, when it has made progress.
func (r *request) progress(at int64) {
	for i := range r.legs {
		l := &r.legs[i]
		r.e.o.Limiter.Progress(l.backend, l.slot, at)
	}
}
