package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
)

var errSource = errors.New("the source broke off")

// half is a body that breaks off in its middle.
func half() io.Reader {
	return io.MultiReader(strings.NewReader(strings.Repeat("x", 300<<10)), failing{})
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errSource }

// TestR31CopyThatBreaksOffIsReset: the backend must not take what has come for the object.
func TestR31CopyThatBreaksOffIsReset(t *testing.T) {
	t.Run("plain", func(t *testing.T) {
		s := stub.New(t)
		c := newClient(t, s, nil)
		_, err := c.Discard(t.Context(), &Request{Method: "PUT", Bucket: "b", Key: "k", Stream: half(), Length: 600 << 10})
		if !errors.Is(err, errSource) {
			t.Fatalf("the copy ended with %v", err)
		}
		for _, q := range s.WaitDone(t, 1) {
			if !errors.Is(q.Err, syscall.ECONNRESET) {
				t.Errorf("no reset: %s", q)
			}
		}
	})
	t.Run("TLS", func(t *testing.T) {
		ended, u := tlsSink(t)
		c := mustClient(t, u)
		_, err := c.Discard(t.Context(), &Request{Method: "PUT", Bucket: "b", Key: "k", Stream: half(), Length: 600 << 10})
		if !errors.Is(err, errSource) {
			t.Fatalf("the copy ended with %v", err)
		}
		if err := testkit.Receive(t, "the end", ended); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the backend's read says %v in place of a reset", err)
		}
	})
	t.Run("TLS, canceled", func(t *testing.T) {
		ended, u := tlsSink(t)
		c := mustClient(t, u)
		ctx, cancel := context.WithCancel(t.Context())
		body := io.MultiReader(strings.NewReader(strings.Repeat("x", 300<<10)), waiting{ctx, cancel})
		if _, err := c.Discard(ctx, &Request{Method: "PUT", Bucket: "b", Key: "k", Stream: body, Length: 600 << 10}); err == nil {
			t.Fatal("the copy did not fail")
		}
		if err := testkit.Receive(t, "the end", ended); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the backend's read says %v in place of a reset", err)
		}
	})
}

// waiting cancels the request in the middle of its body.
type waiting struct {
	ctx    context.Context //nolint:containedctx // of one request
	cancel context.CancelFunc
}

func (w waiting) Read([]byte) (int, error) {
	w.cancel()
	<-w.ctx.Done()
	return 0, w.ctx.Err()
}

func mustClient(t *testing.T, url string) *Client {
	t.Helper()
	c, err := New(Options{
		Name: "store", URL: url, DialTimeout: 10 * time.Second, Timeout: 10 * time.Second,
		TLS: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the test's own server
	})
	testkit.MustDo(t, err)
	t.Cleanup(c.Close)
	return c
}

// tlsSink reads what comes on one connection over TLS, after it has asked for a body, and
// tells what ended it.
func tlsSink(t *testing.T) (ended <-chan error, url string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testkit.MustDo(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	testkit.MustDo(t, err)
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}} //nolint:gosec // a test's
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.MustDo(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	end := make(chan error, 1)
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			end <- err
			return
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(20 * time.Second)) // no test hangs for ever
		_, err = io.Copy(io.Discard, tls.Server(nc, config))
		end <- err
	}()
	return end, "https://" + ln.Addr().String()
}
