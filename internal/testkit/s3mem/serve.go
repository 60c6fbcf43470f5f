package s3mem

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
)

// request is a parsed request.
type request struct {
	*http.Request
	bucket, key string
	query       url.Values
	body        []byte
}

// RoundTrip implements http.RoundTripper. If the sender gives up while the backend is frozen, the
// request may still be carried out later: every second one is.
func (s *Storage) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	req, err := parse(r, body)
	if err != nil {
		return nil, err
	}
	ctx := r.Context()
	if s.isDown() {
		return nil, s.refusal() // at once
	}
	there, back := s.delays()
	if err := await(ctx, there); err != nil {
		return nil, err // it never arrived
	}
	w, err := s.take(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := await(ctx, back); err != nil {
		return nil, err // it was carried out, but nobody learns of it
	}
	res := w.Result()
	res.Request = r
	if n := w.Header().Get("Content-Length"); r.Method == http.MethodHead && n != "" {
		_, _ = fmt.Sscan(n, &res.ContentLength)
	} else {
		res.ContentLength = int64(w.Body.Len())
	}
	return res, nil
}

func (s *Storage) refusal() error { return fmt.Errorf("dial %s: %w", s.Name, syscall.ECONNREFUSED) }

func (s *Storage) isDown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == Down
}

// take carries out a request, waiting until that is possible.
func (s *Storage) take(ctx context.Context, r *request) (*httptest.ResponseRecorder, error) {
	for {
		s.mu.Lock()
		thawed := s.thawed
		switch s.state {
		case Well:
			w := httptest.NewRecorder()
			s.serveLocked(w, r)
			s.mu.Unlock()
			return w, nil
		case Down:
			s.mu.Unlock()
			return nil, s.refusal()
		case Frozen:
			s.mu.Unlock()
		}
		select {
		case <-thawed:
		case <-ctx.Done():
			s.mu.Lock()
			s.ids++
			if s.state == Frozen && s.ids%2 == 0 && !errors.Is(context.Cause(ctx), ErrKilled) {
				s.late = append(s.late, func() { s.serveLocked(httptest.NewRecorder(), r) })
			}
			s.mu.Unlock()
			return nil, ctx.Err()
		}
	}
}

// ErrKilled is the cause of a context whose process is gone: nothing that it sent to a frozen
// backend is carried out, because nobody could tell it from a newer write.
var ErrKilled = errors.New("s3mem: the sender was killed")

// ServeHTTP implements http.Handler; it knows no delays.
func (s *Storage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // it did not arrive completely
	}
	req, err := parse(r, body)
	if err != nil {
		refuse(w, http.StatusBadRequest, "InvalidURI")
		return
	}
	answer, err := s.take(r.Context(), req)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	for name, v := range answer.Header() {
		w.Header()[name] = v
	}
	w.WriteHeader(answer.Code)
	_, _ = io.Copy(w, bytes.NewReader(answer.Body.Bytes()))
}

func parse(r *http.Request, body []byte) (*request, error) {
	path := r.URL.Opaque
	if path == "" {
		path = r.URL.EscapedPath()
	}
	bucket, rawKey, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	key, err := url.PathUnescape(rawKey)
	if err != nil {
		return nil, err
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	return &request{Request: r, bucket: bucket, key: key, query: query, body: body}, err
}

func (s *Storage) serveLocked(w http.ResponseWriter, r *request) {
	w.Header().Set("Date", s.now().Add(s.manners.Date).UTC().Format(http.TimeFormat))
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case s.refuses == http.StatusForbidden:
		refuse(w, s.refuses, "InvalidAccessKeyId")
		return
	case s.refuses == http.StatusInsufficientStorage && !reads && r.Method != http.MethodDelete && !r.query.Has("delete"):
		refuse(w, s.refuses, "XMinioStorageFull")
		return
	case s.refuses == http.StatusServiceUnavailable && !reads:
		refuse(w, s.refuses, "SlowDown")
		return
	}
	if sum := r.Header.Get("Content-Md5"); sum != "" {
		if want := md5.Sum(r.body); sum != base64.StdEncoding.EncodeToString(want[:]) {
			refuse(w, http.StatusBadRequest, "BadDigest")
			return
		}
	}
	r.key = s.fold(r.key)
	b := s.buckets[r.bucket]
	switch {
	case r.bucket == "":
		_, _ = io.WriteString(w, "<ListAllMyBucketsResult/>")
	case r.key == "":
		s.bucketLocked(w, r, b)
	case b == nil:
		refuse(w, http.StatusNotFound, "NoSuchBucket")
	case r.query.Has("uploads") || r.query.Has("uploadId"):
		s.uploadLocked(w, r, b)
	default:
		s.objectLocked(w, r, b)
	}
}

func refuse(w http.ResponseWriter, status int, code string) { refuseSaying(w, status, code, "no") }

func refuseSaying(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
}
