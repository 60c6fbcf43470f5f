package s3

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
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

type errorDocument struct {
	XMLName xml.Name
	Code    string
	Message string
}

func readError(backend, method string, res *http.Response) *Error {
	e := &Error{Backend: backend, Method: method, Status: res.StatusCode, Header: res.Header}
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxErrorBody)) // what there is of it
	_ = res.Body.Close()
	e.read(body)
	return e
}

func (e *Error) read(body []byte) {
	var doc errorDocument
	if xml.Unmarshal(body, &doc) == nil && doc.XMLName.Local == "Error" {
		e.Code, e.Message = doc.Code, doc.Message
	}
}

// ErrorIn finds the error in the body of a 200 (R25).
func (c *Client) ErrorIn(method string, body []byte) error {
	e := &Error{Backend: c.o.Name, Method: method, Status: http.StatusOK}
	e.read(body)
	if e.Code == "" {
		return nil
	}
	return e
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
