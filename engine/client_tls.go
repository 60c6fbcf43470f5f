package engine

import (
	"crypto/tls"
	"errors"
	"io"
	"strings"
)

// Read is tls.Conn's. A client that speaks HTTP without TLS is told so in a way that it
// understands: a broken connection would look like an outage.
func (c *tlsConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil || n > 0 || c.client == nil {
		return n, err
	}
	notTLS, ok := errors.AsType[tls.RecordHeaderError](err)
	if !ok || notTLS.Conn == nil {
		return n, err
	}
	if method := plainMethod(string(notTLS.RecordHeader[:])); method != "" {
		c.client.refusePlain(method)
		return 0, io.EOF // for the server there was no request
	}
	return n, err
}

// plainMethod is the method of a request of which only the beginning of the line is known; "" if
// it does not look like one.
func plainMethod(start string) string {
	for _, method := range []string{"GET", "PUT", "HEAD", "POST", "DELETE", "OPTIONS", "PATCH"} {
		if line := method + " /"; strings.HasPrefix(line, start) || strings.HasPrefix(start, line) {
			return method
		}
	}
	return ""
}

var errPlain = badRequest("this port speaks TLS, and the request came without: use https://")

// refusePlain answers a request that did not come over TLS (R8). The rest of it is discarded, so
// that the answer arrives.
func (c *clientConn) refusePlain(method string) {
	e := c.door.e
	id := e.newID().String()
	answer, size := e.telling(errPlain).append(nil, id, "/", method, true)
	c.linger = true
	if _, err := c.Write(answer); err == nil {
		e.told(c.RemoteAddr(), id, method, "", errPlain.status, size)
	}
}
