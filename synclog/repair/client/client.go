// Package client is an S3 client for one backend, as repair needs it: nothing that it is
// given is changed on its way. Keys are bytes, not text, and go as they are (`..`,
// `//`, a leading slash, bytes that are no UTF-8); bodies are streamed unframed;
// nothing is repeated unless the storage cannot have seen it; no second request
// is made to find out something about the first. The well-known client libraries
// refuse such keys, or spell them in another way than they sign them.
//
// A Client may be used from any goroutine. It owns its idle connections, which
// Close closes.
package client

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what S3 wants
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/akubra/akubra/s3/sigv4"
)

// Options describe a storage.
type Options struct {
	Name string // in errors
	URL  string // scheme, host and port

	// Without an AccessKey nothing is signed.
	AccessKey, SecretKey, SessionToken string
	Region                             string // "" is us-east-1

	TLS *tls.Config // may be nil
	// Transport takes the requests; nil: sockets of the client's own.
	Transport http.RoundTripper
	// DialTimeout bounds a dial with its TLS handshake.
	DialTimeout time.Duration
	// Timeout bounds the wait for progress: for an answer, for the next bytes.
	Timeout time.Duration
	// Connections is how many idle ones are kept.
	Connections int
}

// Client sends requests to one storage.
type Client struct {
	o         Options
	scheme    string
	host      string
	signer    *sigv4.Signer // nil: unsigned
	transport http.RoundTripper
}

// New makes a client; nothing is dialled yet.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("cannot use backend %q: its URL has to be http://host or https://host", o.Name)
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	c := &Client{o: o, scheme: u.Scheme, host: u.Host}
	if o.AccessKey != "" {
		c.signer = sigv4.New(o.AccessKey, o.SecretKey, o.SessionToken, o.Region)
	}
	if c.transport = o.Transport; c.transport != nil {
		return c, nil
	}
	d := &dialer{Dialer: net.Dialer{Timeout: o.DialTimeout}, tls: o.TLS}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	c.transport = &http.Transport{
		// Backends are dialled as the proxy dials them.
		Proxy:                 nil,
		DialContext:           d.dial,
		DialTLSContext:        d.dialTLS,
		DisableCompression:    true, // content is to come as it is stored
		MaxIdleConnsPerHost:   max(o.Connections, 2),
		IdleConnTimeout:       15 * time.Second, // below what servers do
		ExpectContinueTimeout: time.Second,
		WriteBufferSize:       16 << 10,
		ReadBufferSize:        16 << 10,
		Protocols:             protocols,
	}
	return c, nil
}

// Name is the backend's name.
func (c *Client) Name() string { return c.o.Name }

// Region is the region that requests are signed for.
func (c *Client) Region() string { return c.o.Region }

// Close closes the idle connections.
func (c *Client) Close() { (&http.Client{Transport: c.transport}).CloseIdleConnections() }

// Request is one request. The zero value of a field is none of it.
type Request struct {
	Method      string
	Bucket, Key string
	Query       []Param
	Header      http.Header // in any case; the Client keeps and adds to it
	// Body is a small body, which is signed, and sent again where a kept-alive
	// connection turns out to be closed.
	Body []byte
	// Once: it is not sent again, for its first answer is what counts.
	Once bool
	// Stream is a body of Length bytes that is sent once and is not signed.
	Stream io.Reader
	Length int64
	// Wait, unless 0, is how long an answer may take in place of Timeout.
	Wait time.Duration
}

// Param is a query parameter; without a value it is sent without "=".
type Param struct{ Name, Value string }

// expectFrom is the length from which a body is held back until the storage has
// said that it wants it: a refused condition costs no transfer then.
const expectFrom = 1 << 20

// Do sends a request. What is not 2xx comes back as an *Error; a transport's error
// as a *TransportError. The caller closes the response's body, whose reads fail
// where nothing comes for Timeout.
func (c *Client) Do(ctx context.Context, r *Request) (*http.Response, error) {
	watch := newWatchdog(ctx, max(c.o.Timeout, r.Wait))
	res, err := c.send(watch, r)
	if err != nil {
		err = watch.explain(err)
		watch.stop()
		return nil, &TransportError{Backend: c.o.Name, Err: err}
	}
	if res.StatusCode/100 != 2 {
		err := readError(c.o.Name, r.Method, res)
		watch.stop()
		return nil, err
	}
	watch.kick()
	watch.paused.Store(true) // until somebody reads
	res.Body = &watchedBody{body: res.Body, watch: watch, backend: c.o.Name}
	return res, nil
}

func (c *Client) send(watch *watchdog, r *Request) (*http.Response, error) {
	q := encodeQuery(r.Query, true)
	path := Path(r.Bucket, r.Key)
	header := r.Header
	if header == nil {
		header = make(http.Header, 8)
	}
	req := &http.Request{
		Method: r.Method,
		// Opaque is sent as it stands.
		URL:        &url.URL{Scheme: c.scheme, Host: c.host, Opaque: path, RawQuery: q},
		Host:       c.host,
		Header:     header,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
	}
	payload := sigv4.Empty
	switch {
	case r.Stream != nil && r.Length > 0:
		payload = sigv4.Unsigned
		req.Body = io.NopCloser(&watchedReader{r: r.Stream, watch: watch})
		req.ContentLength = r.Length
		if r.Length >= expectFrom {
			header.Set("Expect", "100-continue")
		}
	case len(r.Body) > 0:
		if c.signer != nil {
			payload = sigv4.Hash(r.Body)
		}
		req.ContentLength = int64(len(r.Body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.Body)), nil }
		req.Body, _ = req.GetBody()
	default:
		req.Body = http.NoBody
		// A PUT without a body: the transport is to send its length.
		req.GetBody = func() (io.ReadCloser, error) { return http.NoBody, nil }
	}
	header.Set("User-Agent", "akubra-repair")
	if c.signer != nil {
		c.signer.Sign(header, r.Method, c.host, path, q, payload, time.Now())
	}
	if req.GetBody != nil && !r.Once { // the transport is to know that it may send it again; it is not sent itself
		header["X-Idempotency-Key"] = nil
	}
	return c.transport.RoundTrip(req.WithContext(watch.ctx))
}

// Document sends a request and returns the answer's body, at most limit bytes.
func (c *Client) Document(ctx context.Context, r *Request, limit int64) ([]byte, http.Header, error) {
	res, err := c.Do(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(body)) > limit {
		return nil, nil, fmt.Errorf("cannot read the answer of backend %q to %s: it is longer than %d bytes", c.o.Name, r.Method, limit)
	}
	return body, res.Header, nil
}

// Discard sends a request whose answer's body says nothing, other than that of a write, which may be an error (R25).
func (c *Client) Discard(ctx context.Context, r *Request) (http.Header, error) {
	res, err := c.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	// Read to its end, so that the connection can be used again.
	body, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	_ = res.Body.Close()
	switch {
	case r.Method == http.MethodHead:
		return res.Header, nil
	case err == nil && r.Method != http.MethodGet:
		err = c.ErrorIn(r.Method, body)
	}
	if err != nil {
		return nil, err
	}
	return res.Header, nil
}

// MD5 is the Content-MD5 of a small body, which several documents must have.
func MD5(body []byte) string {
	sum := md5.Sum(body) //nolint:gosec // what S3 wants
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Int is a number as a parameter's value.
func Int(n int) string { return strconv.Itoa(n) }
