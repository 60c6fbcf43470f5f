package stub

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/akubra/akubra/s3"
)

// answer is the response to a request before it is distorted by a Behaviour.
type answer struct {
	status  int
	headers Headers
	body    []byte
	length  int64 // of the body, for a HEAD that has none at hand; else -1
}

// errorAnswer is an answer with S3's error document, if the status is an error.
func errorAnswer(status int) answer {
	a := answer{status: status, length: -1}
	if status >= 400 {
		a.headers = H("Content-Type", "application/xml")
		a.body = errorDocument(errorCode(status))
	}
	return a
}

func errorDocument(code string) []byte {
	return []byte(s3.ErrorDocument(code, "on command", "", "stub"))
}

func errorCode(status int) string {
	switch status {
	case 400:
		return "InvalidRequest"
	case 403:
		return "AccessDenied"
	case 404:
		return "NoSuchKey"
	case 405:
		return "MethodNotAllowed"
	case 409:
		return "OperationAborted"
	case 412:
		return "PreconditionFailed"
	case 416:
		return "InvalidRange"
	case 503:
		return "SlowDown"
	}
	return "InternalError"
}

func statusLine(status int) string {
	reason := "Status"
	switch status {
	case 100:
		reason = "Continue"
	case 102:
		reason = "Processing"
	case 103:
		reason = "Early Hints"
	case 200:
		reason = "OK"
	case 204:
		reason = "No Content"
	case 206:
		reason = "Partial Content"
	case 304:
		reason = "Not Modified"
	case 400:
		reason = "Bad Request"
	case 403:
		reason = "Forbidden"
	case 404:
		reason = "Not Found"
	case 412:
		reason = "Precondition Failed"
	case 500:
		reason = "Internal Server Error"
	case 503:
		reason = "Service Unavailable"
	}
	return strconv.Itoa(status) + " " + reason
}

// override applies what b says, except for the status.
func override(a answer, b *Behaviour) answer {
	if b.Body != nil {
		a.body, a.length = b.Body, -1
	}
	kept := make(Headers, 0, len(a.headers)+len(b.Headers))
	for _, h := range a.headers {
		if !b.Headers.Has(h.Name) {
			kept = append(kept, h)
		}
	}
	kept = append(kept, b.Headers...)
	a.headers = kept
	return a
}

// work does what the request asks for, as far as b lets it, and returns the response.
func (c *conn) work(b *Behaviour) answer {
	good := b.Status == 0 || b.Status/100 == 2
	reads := c.req.Method == "GET" || c.req.Method == "HEAD"
	var a answer
	switch {
	case good && (reads || b.Store != StoreNever):
		a = c.s.store.do(c.req, c.sink)
	case good: // it lies
		a = answer{status: 200, headers: H("ETag", c.sink.content().ETag), length: -1}
	case b.Store == StoreAlways:
		c.s.store.do(c.req, c.sink)
		fallthrough
	default:
		a = errorAnswer(b.Status)
	}
	if b.Status != 0 {
		a.status = b.Status
	}
	return override(a, b)
}

// headOf writes the head of the answer.
func (a *answer) headOf(b *Behaviour, chunked, closes bool) string {
	var h strings.Builder
	proto := "HTTP/1.1 "
	if b.NoLength {
		proto = "HTTP/1.0 "
	}
	h.WriteString(proto + statusLine(a.status) + "\r\n")
	for _, header := range a.headers {
		fmt.Fprintf(&h, "%s: %s\r\n", header.Name, header.Value)
	}
	length := a.length
	if length < 0 {
		length = int64(len(a.body))
	}
	switch {
	case a.headers.Has("Content-Length") || a.headers.Has("Transfer-Encoding"):
	case b.NoLength || a.status == 204 || a.status == 304:
	case chunked:
		h.WriteString("Transfer-Encoding: chunked\r\n")
	default:
		fmt.Fprintf(&h, "Content-Length: %d\r\n", length)
	}
	if closes && !a.headers.Has("Connection") {
		h.WriteString("Connection: close\r\n")
	}
	h.WriteString("\r\n")
	return h.String()
}
