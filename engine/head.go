package engine

import (
	"bytes"
	"net"
	"strconv"

	"github.com/akubra/akubra/http1"
	"github.com/akubra/akubra/synclog/task"
)

// head is what the proxy reads from a request's head. Its slices point into the client's head and
// are valid while the handler runs.
type head struct {
	contentLength int64 // -1 if there is none
	chunked       bool
	unknownCoding bool // Transfer-Encoding is something else than chunked
	expect        bool
	partial       bool         // Range, If-Range or If-Match is there
	copySource    bool         // x-amz-copy-source is there (CopyObject, UploadPartCopy)
	condition     bool         // If-Match, If-None-Match or one of the x-amz-if- fields (R29)
	carried       task.Carried // what it brings beside content
	forced        bool         // x-minio-force-delete: a bucket goes with all that is in it
	bypass        task.Carried // what a delete carries: x-amz-bypass-governance-retention, or nothing
	host          []byte
	userAgent     []byte
	decodedLength int64 // x-amz-decoded-content-length, or -1
	awsChunked    bool  // x-amz-content-sha256 says that the body is aws-chunked
}

// headers are the configured ones, in a fixed order.
type headers []header

type header struct{ name, value string }

// fieldKind says what the proxy does with a request's header field.
type fieldKind uint8

const (
	fieldPlain      fieldKind = iota // sent on as it is
	fieldHop                         // hop-by-hop, or the proxy's own: not sent on (R2)
	fieldConnection                  // hop-by-hop, and names more such fields
	fieldFraming                     // never hop-by-hop, whatever Connection says
)

// buildHead appends to dst the head of the request as every backend gets it (R2): the request
// line, the client's fields byte for byte and in their order except for the hop-by-hop ones, then
// the configured fields that the client did not send. It refuses ambiguous framing (R8): problem
// says what is wrong, or is "".
//
// raw are the client's header lines, up to and including the blank line. The
// server has refused more already (see fasthttp's header parser): two lengths,
// two Hosts, unknown codings, space before a colon, control bytes in values.
//
// Inlined, as the profile for PGO asks, it makes its caller's frame so large that parsing a query takes the
// connection's goroutine past 4 KiB of stack, and that keeps the stack that it has grown to.
//
//go:noinline
func buildHead(dst []byte, method string, target, raw []byte, additional headers) (out []byte, h head, problem string) {
	h.contentLength, h.decodedLength = -1, -1
	if problem := checkRequestLine(method, target); problem != "" {
		return dst, h, problem
	}
	start := len(dst)
	dst = append(dst, method...)
	dst = append(dst, ' ')
	dst = append(dst, target...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	var nominated http1.Nominees // by Connection
	var sent uint64              // additional fields that the client sent itself
	for rest := raw; len(rest) > 0; {
		line, name, value, tail, problem := http1.CutField(rest)
		if problem != "" {
			return dst[:start], h, problem
		}
		rest = tail
		if name == nil {
			break
		}
		for i := range additional {
			if http1.EqualFold(name, additional[i].name) {
				sent |= 1 << i
			}
		}
		switch h.note(name, value) {
		case fieldConnection:
			if !nominated.Add(value) {
				return dst[:start], h, "too many names in Connection"
			}
		case fieldPlain, fieldFraming:
			dst = append(dst, line...)
		case fieldHop:
		}
	}
	if bytes.IndexByte(h.host, '@') >= 0 {
		return dst[:start], h, "user information in Host" // RFC 9110 §7.2 has no place for it
	}
	if h.chunked && h.contentLength >= 0 {
		return dst[:start], h, "both Content-Length and Transfer-Encoding"
	}
	if h.unknownCoding {
		return dst[:start], h, "a Transfer-Encoding other than chunked"
	}
	if len(h.host) == 0 { // what HTTP/1.0 may do without was added, see addHost
		return dst[:start], h, "no Host"
	}
	if authority := http1.AuthorityOf(target); authority != nil && !sameAuthority(target, authority, h.host) {
		return dst[:start], h, "a request target whose authority is not the Host"
	}
	if nominated.Any() {
		dst = dropFields(dst, start, &nominated)
	}
	for i := range additional {
		// A client's field that has been dropped makes way for the operator's.
		if sent&(1<<i) == 0 || nominated.Has([]byte(additional[i].name)) {
			dst = appendField(dst, additional[i].name, additional[i].value)
		}
	}
	if h.chunked {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	if h.endsConn() {
		dst = append(dst, "Connection: close\r\n"...)
	}
	if h.expect {
		dst = append(dst, "Expect: 100-continue\r\n"...)
	}
	return append(dst, "\r\n"...), h, ""
}

// endsConn reports whether a backend should close the connection after its answer. versitygw does
// not always read a chunked body to its end (when it refuses the request, when what it is asked
// for has no body, or when it has reached the end of the aws-chunked body inside); it then takes
// the rest for another request, and answers that too (R32). Told to close, it does neither.
func (h *head) endsConn() bool { return h.chunked }

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

func checkRequestLine(method string, target []byte) string {
	for i := 0; i < len(method); i++ {
		if method[i] < 'A' || method[i] > 'Z' {
			return "a method that is not all capital letters"
		}
	}
	for _, b := range target {
		if b <= ' ' || b == 0x7f {
			return "a control byte or space in the request target"
		}
		if b == '#' { // a fragment, which some backends cut off: another key (RFC 9112 §3.2)
			return "a # in the request target"
		}
	}
	return ""
}

// sameAuthority reports whether the authority of an absolute target is host, with or without the
// default port of its scheme.
func sameAuthority(target, authority, host []byte) bool {
	if bytes.EqualFold(authority, host) {
		return true
	}
	port := ""
	switch scheme, _, _ := bytes.Cut(target, []byte("://")); {
	case http1.EqualFold(scheme, "http"):
		port = ":80"
	case http1.EqualFold(scheme, "https"):
		port = ":443"
	}
	return bytes.EqualFold(bytes.TrimSuffix(authority, []byte(port)), bytes.TrimSuffix(host, []byte(port)))
}

// addHost adds the Host that a client of HTTP/1.0 may leave out (RFC 9112 §3.2), because what is
// sent on is HTTP/1.1, which backends refuse without it. Its value is what an absolute target
// says, or else the address that the client has connected to, which is what it would have sent in
// HTTP/1.1 (HAProxy's health check sends none).
func addHost(fields, target []byte, local net.Addr) []byte {
	host := http1.AuthorityOf(target)
	if len(host) == 0 {
		host = []byte(local.String())
	}
	out := make([]byte, 0, len("Host: \r\n\r\n")+len(host)+len(fields))
	out = append(append(append(out, "Host: "...), host...), "\r\n"...)
	if out = append(out, fields...); len(fields) == 0 {
		out = append(out, "\r\n"...)
	}
	return out
}

// note reads what the proxy needs from a field, and returns what is to be done with it.
func (h *head) note(name, value []byte) fieldKind {
	switch name[0] | 0x20 {
	case 'c':
		switch {
		case http1.EqualFold(name, "Content-Length"):
			if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
				h.contentLength = n
			}
			return fieldFraming
		case http1.EqualFold(name, "Connection"):
			return fieldConnection
		case http1.EqualFold(name, "Cache-Control"):
			if len(value) > 0 {
				h.carried |= task.CarriedMetadata
			}
		}
	case 'e':
		if http1.EqualFold(name, "Expect") {
			h.expect = h.expect || http1.EqualFold(value, "100-continue")
			return fieldHop
		}
	case 'h':
		if http1.EqualFold(name, "Host") {
			if len(value) == 0 { // of HTTP/1.0: as good as none
				return fieldHop
			}
			h.host = value
			return fieldFraming
		}
	case 'i':
		match := http1.EqualFold(name, "If-Match")
		if match || http1.EqualFold(name, "If-None-Match") {
			h.condition = true
		}
		if match || http1.EqualFold(name, "If-Range") {
			h.partial = true
		}
	case 'r':
		if http1.EqualFold(name, "Range") {
			h.partial = true
		}
	case 'k':
		if http1.EqualFold(name, "Keep-Alive") {
			return fieldHop
		}
	case 'p':
		if http1.EqualFold(name, "Proxy-Connection") {
			return fieldHop
		}
	case 't':
		switch {
		case http1.EqualFold(name, "Transfer-Encoding"):
			h.chunked = true
			h.unknownCoding = h.unknownCoding || !http1.EqualFold(value, "chunked")
			return fieldHop
		case http1.EqualFold(name, "TE"):
			return fieldHop
		}
	case 'u':
		switch {
		case http1.EqualFold(name, "User-Agent"):
			h.userAgent = value
		case http1.EqualFold(name, "Upgrade"):
			return fieldHop
		}
	case 'x':
		switch {
		case http1.EqualFold(name, "X-Amz-Copy-Source"):
			h.copySource = true
		case len(name) > len("X-Amz-If-") && http1.EqualFold(name[:len("X-Amz-If-")], "X-Amz-If-"):
			h.condition = true
		case len(name) > len("X-Amz-Meta-") && http1.EqualFold(name[:len("X-Amz-Meta-")], "X-Amz-Meta-"):
			if len(value) > 0 { // some storages keep no empty ones
				h.carried |= task.CarriedMetadata
			}
		case http1.EqualFold(name, "X-Amz-Tagging"):
			if len(value) > 0 {
				h.carried |= task.CarriedTags
			}
		case http1.EqualFold(name, "X-Amz-Object-Lock-Legal-Hold"):
			if http1.EqualFold(value, "ON") {
				h.carried |= task.CarriedLock
			}
		case http1.EqualFold(name, "X-Amz-Object-Lock-Mode"):
			h.carried |= task.CarriedLock
		case http1.EqualFold(name, "X-Amz-Bypass-Governance-Retention"):
			h.bypass = 0
			if http1.EqualFold(value, "true") {
				h.bypass = task.CarriedBypass
			}
		case http1.EqualFold(name, "X-Minio-Force-Delete"):
			h.forced = http1.EqualFold(value, "true")
		case http1.EqualFold(name, "X-Amz-Decoded-Content-Length"):
			if n, err := strconv.ParseInt(string(value), 10, 64); err == nil && n >= 0 {
				h.decodedLength = n
			}
		case http1.EqualFold(name, "X-Amz-Content-Sha256"):
			h.awsChunked = bytes.HasPrefix(value, []byte("STREAMING-"))
		}
	}
	return fieldPlain
}

// dropFields removes the nominated fields from the head that starts at start, but never those that
// frame or route the message.
func dropFields(dst []byte, start int, nominated *http1.Nominees) []byte {
	at := start + bytes.IndexByte(dst[start:], '\n') + 1
	rest := dst[at:]
	dst = dst[:at]
	for len(rest) > 0 {
		line, name, value, tail, _ := http1.CutField(rest)
		rest = tail
		if !nominated.Has(name) || new(head).note(name, value) == fieldFraming {
			dst = append(dst, line...)
		}
	}
	return dst
}
