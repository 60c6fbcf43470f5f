package health

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
)

// Cause is a kind of failure, as metrics label it.
type Cause string

// The causes.
const (
	Refused     Cause = "refused"     // nobody listens at its address
	Name        Cause = "name"        // its host name cannot be resolved
	Unreachable Cause = "unreachable" // no connection is possible, for any other reason
	TLS         Cause = "tls"         // no TLS connection is possible
	Timeout     Cause = "timeout"     // no answer, or no progress
	Reset       Cause = "reset"       // the connection ended before the response
	Answer      Cause = "answer"      // what it sends is not a response
	Denied      Cause = "denied"      // 401, 403
	Refuses     Cause = "refuses"     // another 3xx or 4xx, to what another backend takes
	Unsupported Cause = "unsupported" // 501, to what another backend takes
	Overloaded  Cause = "overloaded"  // 503, 429
	Full        Cause = "full"        // 507
	Error       Cause = "error"       // any other 5xx, or an error in a 200
	Slow        Cause = "slow"        // requests wait for it
)

// Causes are all causes, in the order in which they are shown.
var Causes = []Cause{Refused, Name, Unreachable, TLS, Timeout, Reset, Answer, Denied, Refuses, Unsupported, Overloaded, Full, Error, Slow}

func (c Cause) index() int { return slices.Index(Causes, c) }

// connecting reports whether the cause is over as soon as a connection succeeds.
func (c Cause) connecting() bool {
	return c == Refused || c == Name || c == Unreachable || c == TLS
}

// transport reports whether the backend may not answer anything at all.
func (c Cause) transport() bool {
	return c.connecting() || c == Timeout || c == Reset || c == Answer
}

var meanings = map[Cause]string{
	Refused:     "it refuses connections: does it run, and is the port right?",
	Name:        "its name cannot be resolved: is it spelled correctly, and does DNS answer?",
	Unreachable: "it cannot be connected to: is it up, and is the network or a firewall in the way?",
	TLS:         "no TLS connection to it can be made",
	Timeout:     "it accepts connections but does not answer",
	Reset:       "it closes connections before answering",
	Answer:      "what it sends is not an HTTP response: is it an S3 backend, on the right port, and http:// rather than https://?",
	Denied:      "it denies access: are the clients' keys and policies the same as on the other backends?",
	Refuses:     "it refuses what another backend takes: are both set up alike?",
	Unsupported: "it does not support what clients ask for and another backend supports",
	Overloaded:  "it reports that it is overloaded or not ready",
	Full:        "it reports that it has no room left",
	Error:       "it answers with an error of its own",
	Slow:        "it lags behind: requests wait for it",
}

// Explain returns the cause of a failed request, and what it means in an operator's words.
func Explain(err error) (c Cause, means string) { return ofError(err) }

// ofError classifies what prevented a response.
func ofError(err error) (c Cause, means string) {
	c = causeOf(err)
	means = meanings[c]
	if c == TLS {
		means = meaningOfTLS(err)
	}
	return c, means
}

func causeOf(err error) Cause {
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &dns):
		return Name
	case isTLS(err):
		return TLS
	case errors.As(err, &op) && op.Op == "dial":
		if errors.Is(err, syscall.ECONNREFUSED) {
			return Refused
		}
		return Unreachable
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Reset
	case isTimeout(err):
		return Timeout
	}
	return Answer
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

func isTLS(err error) bool {
	var alert tls.AlertError
	var header tls.RecordHeaderError
	var verification *tls.CertificateVerificationError
	return errors.As(err, &alert) || errors.As(err, &header) || errors.As(err, &verification) ||
		strings.Contains(err.Error(), "tls: ") || strings.Contains(err.Error(), "x509: ")
}

// alerts are the library's words for what has no type of its own, and what they mean.
var alerts = [][2]string{
	{"certificate required", "it wants a client certificate (TLS.Backends.ClientCertFile)"},
	{"remote error: tls: bad certificate", "it does not accept the proxy's client certificate (TLS.Backends.ClientCertFile)"},
	{"remote error: tls: unknown certificate", "it does not accept the proxy's client certificate (TLS.Backends.ClientCertFile)"},
	{"remote error: tls: expired certificate", "the proxy's client certificate has expired (TLS.Backends.ClientCertFile)"},
	{"protocol version", "it speaks only versions of TLS that are older than MinVersion, or none that it has in common with the proxy"},
}

func meaningOfTLS(err error) string {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &authority):
		return "its certificate is not signed by a trusted authority (TLS.Backends.CAFile)"
	case errors.As(err, &host):
		return "its certificate is for another name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate has expired or is not valid yet, or this machine's clock is wrong"
	case errors.As(err, &header):
		return "it does not speak TLS on this port: is it http:// rather than https://?"
	}
	for _, words := range alerts {
		if strings.Contains(err.Error(), words[0]) {
			return words[1]
		}
	}
	return meanings[TLS]
}

// meaningOfAnswer is what an error response means in an operator's words.
func meaningOfAnswer(c Cause, status int, code string) string {
	switch {
	case code == "RequestTimeTooSkewed":
		return "its clock and the clients' are further apart than S3 allows: which one is wrong?"
	case code == "SignatureDoesNotMatch":
		return "it does not accept the clients' signatures: are their secret keys and its region the same as on the other backends?"
	case c == Refuses && status < 400:
		return "it redirects writes to another address: are its URL and region right?"
	case c == Refuses && code == noSuchBucket:
		return "it lacks a bucket that another backend has"
	case c == Refuses && code == wrongRegion:
		return "it expects another region in the clients' signatures than the other backends"
	case c == Refuses && code == "":
		return "it refuses what another backend takes, and not in S3's words: is it an S3 backend, at the right address, and https:// rather than http://?"
	}
	return meanings[c]
}

const (
	noSuchBucket = "NoSuchBucket"
	wrongRegion  = "AuthorizationHeaderMalformed"

	notImplemented = "NotImplemented"
)

// ofRefusal classifies a refusal of what another backend took; ok is false if it may be about the
// object alone: it is there or not, or not as the request demands.
func ofRefusal(status int, code string) (c Cause, ok bool) {
	switch {
	case status == 401 || status == 403:
		return Denied, true
	case status == 501 || code == notImplemented:
		return Unsupported, true
	case status == 404:
		return Refuses, code == noSuchBucket || code == "" // S3 has a code for what is not there
	case status == 409 || status == 412 || status == 416:
		return "", false
	}
	return Refuses, status >= 300 && status < 500
}

// ofAnswer classifies an error response; ok is false if the client is at fault.
func ofAnswer(status int, code string) (c Cause, ok bool) {
	switch {
	case status == 507 || strings.Contains(code, "StorageFull") || strings.Contains(code, "Insufficient") || strings.Contains(code, "QuotaExceeded"):
		return Full, true
	case status == 401 || status == 403 || status < 300 && slices.Contains(refusals, code):
		return Denied, true
	case status == 503 || status == 429 || status < 300 && (code == "SlowDown" || code == "ServiceUnavailable"):
		return Overloaded, true
	case status == 501:
		return "", false // it lacks the requested feature, as the others may
	case status >= 500:
		return Error, true
	}
	return Error, status < 300 && !slices.Contains(clientsFault, code)
}

var refusals = []string{"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled", "AccountProblem", "ExpiredToken", "InvalidToken"}

// clientsFault are the codes in a 200 that say nothing about the backend (R25).
var clientsFault = []string{
	"NoSuchKey", "NoSuchBucket", "NoSuchUpload", "NoSuchVersion", "InvalidPart", "InvalidPartOrder", "EntityTooSmall", "EntityTooLarge",
	"PreconditionFailed", "ConditionalRequestConflict", "InvalidRequest", "InvalidArgument", "InvalidDigest", "BadDigest", "MalformedXML",
	"InvalidObjectState", "XAmzContentSHA256Mismatch", notImplemented,
}
