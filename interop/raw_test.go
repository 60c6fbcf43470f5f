package interop

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// What stands for the body's SHA-256 where a client does not sign it: a storage then
// has no other word than the framing's for whether a body is whole.
const (
	unsigned = "UNSIGNED-PAYLOAD"
	trailing = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// The ways to send a body that is not signed.
const (
	byHeader    = "header"    // a signature in the head
	byPresigned = "presigned" // a URL that anybody may use
	byTrailer   = "trailer"   // aws-chunked with a checksum behind it, and Content-Length
	byChunks    = "chunks"    // the same, with Transfer-Encoding: chunked around it
)

var keys = aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}

// rawUpload is a PUT as it goes over the wire, so that it can be sent in pieces, or
// not to its end.
type rawUpload struct {
	addr string
	head []byte
	body []byte // as it is framed
}

// newSigned makes a request for the proxy, or store, at addr, whose body is not signed.
func newSigned(method, style, addr, bucket, key, query string, data []byte) (req *http.Request, body []byte, err error) {
	u := &url.URL{Scheme: "http", Host: addr, Path: "/" + bucket + "/" + key, RawQuery: query}
	u.RawPath = strings.NewReplacer("+", "%20", "%2F", "/").Replace(url.QueryEscape(u.Path)) // as storages do it to check
	req = &http.Request{Method: method, URL: u, Host: addr, Header: http.Header{}, ContentLength: int64(len(data))}
	payload := unsigned
	if style == byTrailer || style == byChunks {
		data, payload = awsChunked(data), trailing
		req.Header.Set("Content-Encoding", "aws-chunked")
		req.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(req.ContentLength))
		req.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
		req.ContentLength = int64(len(data))
	}
	if style == byChunks {
		req.ContentLength = -1
	}
	if len(data) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(data))
	}
	return req, data, sign(req, style, payload)
}

// newUpload signs a PUT.
func newUpload(addr, style, bucket, key, query string, data []byte) (*rawUpload, error) {
	req, body, err := newSigned(http.MethodPut, style, addr, bucket, key, query, data)
	if err != nil {
		return nil, err
	}
	framing := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	if style == byChunks {
		framing = "Transfer-Encoding: chunked\r\n"
		body = fmt.Appendf(nil, "%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "PUT %s HTTP/1.1\r\nHost: %s\r\n%s", req.URL.RequestURI(), addr, framing)
	if err := req.Header.WriteSubset(&head, map[string]bool{"Content-Length": true, "Host": true}); err != nil {
		return nil, err
	}
	head.WriteString("\r\n")
	return &rawUpload{addr: addr, head: head.Bytes(), body: body}, nil
}

// sign puts the signature into the request's head or URL.
func sign(req *http.Request, style, payload string) error {
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if style != byPresigned {
		req.Header.Set("X-Amz-Content-Sha256", payload)
		return signer.SignHTTP(context.Background(), keys, req, payload, "s3", region, time.Now())
	}
	q := req.URL.Query()
	q.Set("X-Amz-Expires", "600")
	req.URL.RawQuery = q.Encode()
	length := req.ContentLength
	req.ContentLength = 0 // whoever makes such a URL does not know it
	signedURL, _, err := signer.PresignHTTP(context.Background(), keys, req, payload, "s3", region, time.Now())
	if err != nil {
		return err
	}
	req.ContentLength = length
	req.URL, err = url.Parse(signedURL)
	return err
}

// awsChunked frames data as SDKs do that send the checksum behind it.
func awsChunked(data []byte) []byte {
	var b bytes.Buffer
	for rest := data; len(rest) > 0; {
		n := min(len(rest), 64*kib)
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, rest[:n])
		rest = rest[n:]
	}
	sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(data))
	fmt.Fprintf(&b, "0\r\nx-amz-checksum-crc32:%s\r\n\r\n", base64.StdEncoding.EncodeToString(sum))
	return b.Bytes()
}

// begin connects, and sends the head and the first n bytes of the body.
func (u *rawUpload) begin(n int) (*net.TCPConn, error) {
	conn, err := net.DialTimeout("tcp", u.addr, patience)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	message := append(append([]byte(nil), u.head...), u.body[:n]...)
	if _, err := conn.Write(message); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// whole sends all and returns the answer's status.
func (u *rawUpload) whole() (int, error) {
	conn, err := u.begin(len(u.body))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return answered(conn)
}

// answered reads an answer's status line.
func answered(conn net.Conn) (int, error) {
	line := make([]byte, len("HTTP/1.1 200"))
	if _, err := io.ReadFull(conn, line); err != nil {
		return 0, err
	}
	var status int
	if _, err := fmt.Sscanf(string(line), "HTTP/1.1 %d", &status); err != nil {
		return 0, fmt.Errorf("cannot parse %q: %w", line, err)
	}
	return status, nil
}

// cutReset ends a connection as a client does that dies; what is under way is lost.
func cutReset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

// cutFIN ends it in the ordinary way, in the middle of the body, and waits until the
// other side has done so, too. It returns the status if there was an answer.
func cutFIN(conn *net.TCPConn) (int, error) {
	defer conn.Close()
	_ = conn.CloseWrite()
	status, err := answered(conn)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isReset(err) {
		return 0, nil
	}
	return status, err
}

func isReset(err error) bool { return err != nil && strings.Contains(err.Error(), "reset by peer") }
