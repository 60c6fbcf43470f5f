package client

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/akubra/akubra/s3"
)

// maxErrorBody bounds what is read of an answer that says no more than an error.
const maxErrorBody = 64 << 10

// Error is a storage's answer that is no 2xx, or an error in a 200 (R25).
type Error struct {
	Backend, Method string
	Status          int
	Code, Message   string // as the document has them; may be empty, as after a HEAD
	Header          http.Header
}

func (e *Error) Error() string {
	s := fmt.Sprintf("backend %q answered %d to %s", e.Backend, e.Status, e.Method)
	if e.Code != "" {
		s += ": " + e.Code
	}
	if e.Message != "" {
		s += " (" + e.Message + ")"
	}
	return s
}

// TransportError is a request without an answer, or an answer without its end.
type TransportError struct {
	Backend string
	Err     error
}

func (e *TransportError) Error() string {
	return fmt.Sprintf("cannot reach backend %q: %v", e.Backend, e.Err)
}

func (e *TransportError) Unwrap() error { return e.Err }

// SourceError is the error of a Stream's own, as opposed to the storage's that it
// was sent to.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return e.Err.Error() }

func (e *SourceError) Unwrap() error { return e.Err }

func readError(backend, method string, res *http.Response) *Error {
	e := &Error{Backend: backend, Method: method, Status: res.StatusCode, Header: res.Header}
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxErrorBody)) // what there is of it
	_ = res.Body.Close()
	e.Code, e.Message = s3.ParseError(body)
	return e
}

// ErrorIn finds the error in the body of a 200 (R25).
func (c *Client) ErrorIn(method string, body []byte) error {
	code, message := s3.ParseError(body)
	if code == "" {
		return nil
	}
	return &Error{Backend: c.o.Name, Method: method, Status: http.StatusOK, Code: code, Message: message}
}

// Status is that of an *Error, else 0.
func Status(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// HasCode reports whether err is an answer with one of these codes.
func HasCode(err error, codes ...string) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range codes {
		if strings.EqualFold(e.Code, c) {
			return true
		}
	}
	return false
}

// Unsupported reports whether the storage does not know what it was asked for.
func Unsupported(err error) bool {
	switch Status(err) {
	case http.StatusNotImplemented, http.StatusMethodNotAllowed:
		return true
	}
	return HasCode(err, "NotImplemented", "NotSupported", "MethodNotAllowed", "XNotImplemented")
}

// AsError is the *Error that err is or wraps, else nil.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}
