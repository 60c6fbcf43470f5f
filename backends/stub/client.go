package stub

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/http1"
)

// clientWithin bounds every read and write of a Client, so that a test that went wrong ends.
const clientWithin = 2 * time.Minute

// Client is a raw HTTP client: it sends exact bytes and sees exact bytes. One
// goroutine may send while another one reads.
type Client struct {
	t  testing.TB
	nc *net.TCPConn
	br *bufio.Reader
}

// Answer is one response as it was received.
type Answer struct {
	Proto    string
	Status   int
	Reason   string
	RawHead  []byte // exactly as received, including the blank line
	Headers  Headers
	Framing  Framing // Unframed with a body runs to the end of the connection
	Length   int64   // the Content-Length, or -1
	Body     []byte  // what has been received
	Trailers Headers
	Interim  []*Answer // the 1xx before it

	body bodyReader
}

// Dial connects to addr ("host:port"). The connection is closed when the test ends, if not before.
func Dial(t testing.TB, addr string) *Client {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, clientWithin)
	if err != nil {
		t.Fatal(err)
	}
	return NewClient(t, nc.(*net.TCPConn))
}

// NewClient makes a Client from a connection, which it closes when the test ends.
func NewClient(t testing.TB, nc *net.TCPConn) *Client {
	c := &Client{t: t, nc: nc, br: bufio.NewReader(nc)}
	t.Cleanup(func() { c.nc.Close() })
	return c
}

// Write sends p; it is for tests that expect an error, or send a lot.
func (c *Client) Write(p []byte) (int, error) {
	c.nc.SetWriteDeadline(time.Now().Add(clientWithin))
	return c.nc.Write(p)
}

// Send sends the strings exactly as they are, in one piece, and ends the test if that fails.
func (c *Client) Send(raw ...string) {
	c.t.Helper()
	if _, err := io.WriteString(c, strings.Join(raw, "")); err != nil {
		c.t.Fatalf("cannot send: %v", err)
	}
}

// Do sends a request and reads the response, and ends the test if either fails.
func (c *Client) Do(raw ...string) *Answer {
	c.t.Helper()
	c.Send(raw...)
	method := ""
	if len(raw) > 0 {
		method, _, _ = strings.Cut(raw[0], " ")
	}
	return c.answerTo(method)
}

// Answer reads the response to a request other than HEAD, and ends the test if that fails.
func (c *Client) Answer() *Answer {
	c.t.Helper()
	return c.answerTo("")
}

func (c *Client) answerTo(method string) *Answer {
	c.t.Helper()
	a, err := c.ReadAnswerTo(method)
	if err != nil {
		c.t.Fatalf("cannot read the answer: %v", err)
	}
	return a
}

// ReadAnswer reads the complete final response to a request other than HEAD. On an error it returns
// what had arrived, or nil if not even a head had.
func (c *Client) ReadAnswer() (*Answer, error) { return c.ReadAnswerTo("") }

// ReadAnswerTo is ReadAnswer to a request of this method.
func (c *Client) ReadAnswerTo(method string) (*Answer, error) {
	var interim []*Answer
	for {
		a, err := c.ReadHeadTo(method)
		if err != nil {
			return nil, err
		}
		if a.Status/100 == 1 {
			interim = append(interim, a)
			continue
		}
		a.Interim = interim
		return a, c.ReadBody(a)
	}
}

// ReadHeadTo reads one head, even of an interim response, and nothing of its body.
func (c *Client) ReadHeadTo(method string) (*Answer, error) {
	c.nc.SetReadDeadline(time.Now().Add(clientWithin))
	raw, err := readHead(c.br)
	if err != nil {
		if len(raw) > 0 {
			err = http1.Unexpected(err)
		}
		return nil, err
	}
	a := &Answer{RawHead: raw}
	first, headers, err := parseHead(raw)
	if err != nil {
		return nil, err
	}
	a.Headers = headers
	proto, rest, _ := strings.Cut(first, " ")
	status, reason, _ := strings.Cut(rest, " ")
	a.Proto, a.Reason = proto, reason
	a.Status, err = strconv.Atoi(status)
	if err != nil || !strings.HasPrefix(proto, "HTTP/1.") || len(status) != 3 {
		return nil, fmt.Errorf("%w: status line %q", ErrMalformed, first)
	}
	if a.Framing, a.Length, err = parseFraming(headers); err != nil {
		return nil, err
	}
	a.body = bodyReader{br: c.br, framing: a.Framing, left: max(a.Length, 0), toClose: true}
	a.body.ended = method == "HEAD" || a.Status/100 == 1 || a.Status == 204 || a.Status == 304
	return a, nil
}

// ReadBody reads the (rest of the) body into a.Body. A truncated response gives
// io.ErrUnexpectedEOF, or a reset.
func (c *Client) ReadBody(a *Answer) error {
	for {
		if err := c.pull(a, int(min(max(a.body.left, 512), 64<<10))); errors.Is(err, io.EOF) {
			a.Trailers = a.body.trailers
			return nil
		} else if err != nil {
			return err
		}
	}
}

// ReadSome reads the next n bytes of the body, appends them to a.Body and returns them, for a
// response that arrives bit by bit. io.EOF means that there were fewer.
func (c *Client) ReadSome(a *Answer, n int) ([]byte, error) {
	start := len(a.Body)
	for want := start + n; len(a.Body) < want; {
		if err := c.pull(a, want-len(a.Body)); err != nil {
			return a.Body[start:], err
		}
	}
	return a.Body[start:], nil
}

// pull appends up to n bytes of the body to a.Body.
func (c *Client) pull(a *Answer, n int) error {
	a.Body = slices.Grow(a.Body, n)
	c.nc.SetReadDeadline(time.Now().Add(clientWithin))
	m, err := a.body.Read(a.Body[len(a.Body) : len(a.Body)+n])
	a.Body = a.Body[:len(a.Body)+m]
	return err
}

// Rest reads until the peer closes and returns what arrived; nil and a nil error mean a clean
// close.
func (c *Client) Rest() ([]byte, error) {
	c.nc.SetReadDeadline(time.Now().Add(clientWithin))
	rest, err := io.ReadAll(c.br)
	if len(rest) == 0 {
		rest = nil
	}
	return rest, err
}

// CloseWrite sends a FIN; reading is still possible.
func (c *Client) CloseWrite() { c.nc.CloseWrite() }

// Close closes the connection.
func (c *Client) Close() { c.nc.Close() }

// Reset closes the connection with a reset.
func (c *Client) Reset() {
	c.nc.SetLinger(0)
	c.nc.Close()
}

// Addr is the client's own address.
func (c *Client) Addr() string { return c.nc.LocalAddr().String() }
