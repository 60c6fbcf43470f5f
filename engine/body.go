package engine

import (
	"errors"
	"io"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/engine/ring"
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
	body := ctx.RequestBodyStream()
	if r.head.chunked {
		body = newStrictChunks(body)
	}
	if r.head.is(s3.KindDelete) {
		return r.readDeletes(ctx, body)
	}
	body = r.watch(body)
	if !r.launched && r.head.chunked {
		r.launch()
	}
	if r.launched {
		r.client.beginBody(nil)
	} else {
		r.client.beginBody(r.launchFn)
	}
	defer r.client.endBody()
	var err error
	if r.head.chunked {
		err = r.copyChunked(ctx, body)
	} else {
		err = r.copyFixed(body)
	}
	return r.bodyEnded(err)
}

// bodyEnded says what the end of a body means.
func (r *request) bodyEnded(err error) *s3Error {
	if err == nil {
		r.endBody()
		return nil
	}
	var problem *s3Error
	switch {
	case r.isDecided(), errors.Is(err, ring.ErrNoReaders):
		return nil
	case errors.As(err, &problem):
		return problem
	case isTimeout(err):
		return errRequestTimeout
	case errors.Is(err, ring.ErrCanceled):
		return errInternal
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errIncompleteBody
	}
	return errMalformedBody
}

// copyFixed copies a body with a length. An end of the stream before that is an
// error: io.EOF is how a client that has gone looks.
func (r *request) copyFixed(body io.Reader) error {
	left := r.head.contentLength
	if r.gathers() {
		n, err := r.gather(body)
		if err != nil {
			return err
		}
		left -= n
		if r.message.isPassing() {
			return r.spliceBody(body, 0, left)
		}
	}
	for left > 0 {
		// A ring that is full is emptied by legs alone.
		came := r.head.contentLength - left
		if !r.launched && (came >= lazyStart || int64(r.head.length)+came >= int64(r.message.Size())) {
			r.launch()
		}
		room, err := r.message.Reserve()
		if err != nil {
			return err
		}
		room = room[:min(int64(len(room)), left)]
		n, spliced, err := r.readOrSplice(body, room, left >= minSpliced && r.takePipes())
		if n == 1 && came == 0 && n < len(room) && err == nil { // the server has it from before (MaxRequestBodySize)
			var more int
			more, spliced, err = r.readOrSplice(body, room[1:], false)
			n += more
		}
		r.message.came.Add(int64(n))
		left -= int64(n)
		switch {
		case spliced:
		case left == 0 && !r.launched: // no leg is there that might end too early (endBody)
			r.message.PublishLast(n)
		default:
			r.message.Publish(n)
		}
		if err != nil && left > 0 {
			return err
		}
		if spliced {
			return r.spliceBody(body, n, left)
		}
	}
	return nil
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
	limit := r.e.o.MaxBodySize
	for {
		room, err := r.message.Reserve()
		if err != nil {
			return err
		}
		n, err := r.copyChunk(room, body)
		if size := r.message.came.Add(int64(n)); limit > 0 && size > limit {
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
	data, objects, err := r.readDeleteList(body)
	if err != nil {
		return r.bodyEnded(err)
	}
	if problem := r.beginDeletes(objects); problem != nil {
		return problem
	}
	r.message.came.Store(int64(len(data)))
	if !r.launched {
		r.launch()
	}
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
