package interop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// sameRead reads an object, or a range of it, through the proxy.
func (s *step) sameRead(c *s3.Client, key, byteRange string, want []byte) {
	s.Helper()
	in := &s3.GetObjectInput{Bucket: &s.bucket, Key: &key}
	status := http.StatusOK
	if byteRange != "" {
		in.Range, status = &byteRange, http.StatusPartialContent
	} else {
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	var got []byte
	sent := watch(c, func(c *s3.Client) error {
		out, err := c.GetObject(s.Context(), in)
		if err != nil {
			return err
		}
		defer out.Body.Close()
		got, err = io.ReadAll(out.Body)
		return err
	})
	if sent.err != nil || sent.status != status || !bytes.Equal(got, want) {
		s.Errorf("GetObject %q %s: status %d, %d bytes that are not the %d asked for, %v", key, byteRange, sent.status, len(got), len(want), sent.err)
	}
}

func metadataOf(ctx context.Context, c *s3.Client, bucket, key string) string {
	out, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return ", HEAD " + outcome(err)
	}
	return fmt.Sprintf(", HEAD %q", out.Metadata)
}

// exchange is what went over the wire.
type exchange struct {
	header http.Header
	host   string
	status int
	err    error
}

// watch runs do with a client that notes what it sends.
func watch(c *s3.Client, do func(*s3.Client) error) *exchange {
	o := c.Options()
	e := &exchange{}
	inner := o.HTTPClient
	o.HTTPClient = doer(func(r *http.Request) (*http.Response, error) {
		e.header, e.host = r.Header.Clone(), r.Host
		if e.host == "" {
			e.host = r.URL.Host
		}
		res, err := inner.Do(r)
		if err == nil {
			e.status = res.StatusCode
		}
		return res, err
	})
	e.err = do(s3.New(o))
	return e
}

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

// want checks that the request went well, and was what the step is about.
func (e *exchange) want(s *step, name, value string) {
	s.Helper()
	if e.err != nil {
		s.Errorf("status %d: %v", e.status, e.err)
	}
	if got := e.header.Get(name); got == "" || value != "" && got != value {
		s.Errorf("the SDK sent %s %q, so this shows nothing: want %q", name, got, value)
	}
}
