package engine

import (
	"strconv"
	"time"

	"github.com/akubra/akubra/engine/content"
	"github.com/akubra/akubra/http1"
	"github.com/akubra/akubra/s3"
)

// requestHead is what the client asks for. It is set before the legs start and does not change
// afterwards, except for the key found in a form (beginForm).
type requestHead struct {
	head

	id     requestID
	begun  time.Time
	method string
	kind   s3.Kind
	write  bool
	tried  uint64    // backends that have failed at this CreateMultipartUpload
	buf    []byte    // the head as it is sent, then Host and User-Agent
	length int       // of the head in buf
	raw    []byte    // the request target, in buf
	target s3.Target // in buf
	source s3.CopySource
	form   *content.Form // of an upload by form, else nil
}

// requestID is a request's name in logs, records and errors.
type requestID uint64

func (id requestID) String() string { return strconv.FormatUint(uint64(id), 16) }

// before reports whether the request began before another one of this process.
func (id requestID) before(other requestID) bool { return int32(uint32(id)-uint32(other)) < 0 } //nolint:gosec // they wrap

// newID returns an id that is unique in this process, and most likely everywhere.
func (e *Engine) newID() requestID { return requestID(e.idBase | e.nextID.Add(1)&0xffffffff) }

// keptHead is the largest buffer, for a head or for an answer, that goes back to the pool.
const keptHead = 64 << 10

// reset clears everything but the buffer.
func (h *requestHead) reset() {
	buf := h.buf[:0]
	if cap(buf) > keptHead {
		buf = nil
	}
	*h = requestHead{buf: buf}
}

// keep copies what outlives the handler into buf, behind the head, and makes the slices point
// there.
func (h *requestHead) keep(rawLen int) {
	h.length = len(h.buf)
	h.buf = append(h.buf, h.host...)
	hostEnd := len(h.buf)
	h.buf = append(h.buf, h.userAgent...)
	start := len(h.method) + 1
	h.raw = h.buf[start : start+rawLen]
	h.host = h.buf[h.length:hostEnd]
	h.userAgent = h.buf[hostEnd:]
}

// bytes is the head as it goes to the backends.
func (h *requestHead) bytes() []byte { return h.buf[:h.length] }

// is reports whether the request is of this kind.
func (h *requestHead) is(k s3.Kind) bool { return h.kind == k }

func (h *requestHead) isOptions() bool { return h.method == "OPTIONS" }

// isRead reports whether it reads an object or a listing (R17).
func (h *requestHead) isRead() bool { return h.method == "GET" || h.method == "HEAD" }

// isPartCopy: UploadPartCopy.
func (h *requestHead) isPartCopy() bool { return h.kind == s3.KindPart && h.copySource }

// copies reports whether it has a source (R15).
func (h *requestHead) copies() bool { return h.kind == s3.KindCopy || h.isPartCopy() }

// isUploadsOwn reports whether it concerns a multipart upload in progress, which is one backend's
// own (R26).
func (h *requestHead) isUploadsOwn() bool {
	return h.kind == s3.KindPart || h.kind == s3.KindUpload || h.kind == s3.KindComplete
}

// isLate reports whether its answer may take minutes (hold.go).
func (h *requestHead) isLate() bool { return h.copies() || h.kind == s3.KindComplete }

// wantsWhole reports whether its answers must be read to their end before they count (R24, R25,
// R26, R28).
func (h *requestHead) wantsWhole() bool {
	return h.isLate() || h.kind == s3.KindInitiate || h.kind == s3.KindDelete || h.deletesVersion()
}

// isAnsweredShortly reports whether its answer is most likely short, and comes soon.
func (h *requestHead) isAnsweredShortly() bool {
	return h.kind == s3.KindPlain && h.method != "GET" && !h.target.Selects && h.method != "OPTIONS"
}

// isSwift reports whether a backend has so little to do for it that the time it takes says
// something about the path to the backend.
func (h *requestHead) isSwift() bool { return h.kind == s3.KindPlain && !h.chunked }

// isOneKey reports whether it writes the one key that it names, so that it may overlap with
// another write (R19).
func (h *requestHead) isOneKey() bool {
	return h.write && len(h.target.Key) > 0 && !h.target.Sub && h.target.UploadID == "" || h.kind == s3.KindComplete
}

// isPart reports whether it writes only a part of the object that it names: its tags or its ACL.
func (h *requestHead) isPart() bool {
	return h.write && len(h.target.Key) > 0 && h.target.Sub && h.target.UploadID == ""
}

// isListing reports whether the answer may name a next page.
func (h *requestHead) isListing() bool {
	return h.method == "GET" && len(h.target.Key) == 0 && len(h.target.Bucket) > 0
}

// hasETag reports whether the object that it writes has an ETag that depends on its content only
// (R18).
func (h *requestHead) hasETag() bool {
	return h.method == "PUT" && !h.target.Sub && len(h.target.Key) > 0 || h.kind == s3.KindForm
}

// isRepeatable reports whether doing it twice has the same effect as once (RFC 9110 §9.2.2).
func (h *requestHead) isRepeatable() bool {
	switch h.method {
	case "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE":
		return true
	}
	return false
}

// bodyLength is the length of the body, or -1 if it is not known.
func (h *requestHead) bodyLength() int64 {
	if h.chunked {
		return -1
	}
	return max(h.contentLength, 0)
}

// isWatched reports whether the body has to be examined as it passes (watch).
func (h *requestHead) isWatched() bool { return h.kind == s3.KindForm || h.kind == s3.KindComplete }

// hidesKeys reports whether the keys that it writes stand in its body: its legs do not start before
// they are known (R19).
func (h *requestHead) hidesKeys() bool { return h.kind == s3.KindDelete || h.kind == s3.KindForm }

// hasBody reports whether the client sends a body.
func (h *requestHead) hasBody() bool { return h.chunked || h.contentLength > 0 }

// takesBody reports whether it matters to backends that the whole body comes. Else S3 has none: many act by the
// head, answer, and close the connection (R9).
func (h *requestHead) takesBody() bool {
	if h.isConditional() { // and is kept from followers by the body's end
		return true
	}
	switch h.method {
	case "GET", "HEAD", "DELETE", "OPTIONS":
		return false
	}
	return h.kind != s3.KindInitiate && !h.copies()
}

// bodyless reports whether an answer with this status has no body.
func (h *requestHead) bodyless(status int) bool { return http1.Bodyless(h.method, status) }

// age is the time since it arrived.
func (h *requestHead) age() time.Duration { return time.Since(h.begun) }

// name is what logs and errors call it.
func (h *requestHead) name() string { return h.id.String() }

func (h *requestHead) bucket() []byte { return h.target.Bucket }

// uploadID is that of a multipart upload, or "".
func (h *requestHead) uploadID() string { return h.target.UploadID }

// resource is the target as error documents name it.
func (h *requestHead) resource() string { return string(h.raw) }
