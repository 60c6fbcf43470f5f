package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// load drives one address with a number of connections, each of which sends its
// next request when the last one is answered (closed loop).
type load struct {
	addr   string
	method string
	size   int64
	conns  int

	sent int64 // requests answered, in all runs

	mu        sync.Mutex
	latencies []time.Duration
	errors    int
	firstErr  error
	elapsed   time.Duration
}

// run drives for d. began is called right before.
func (l *load) run(d time.Duration, began func()) error {
	l.latencies, l.errors = nil, 0
	body := make([]byte, min(l.size, 1<<20))
	var stop atomic.Bool
	var all sync.WaitGroup
	conns := make([]net.Conn, l.conns)
	for i := range conns {
		nc, err := net.Dial("tcp", l.addr)
		if err != nil {
			return err
		}
		defer nc.Close()
		conns[i] = nc
	}
	began()
	start := time.Now()
	timer := time.AfterFunc(d, func() { stop.Store(true) })
	defer timer.Stop()
	for _, nc := range conns {
		all.Go(func() { l.client(nc, body, &stop) })
	}
	all.Wait()
	l.elapsed = time.Since(start)
	l.sent += int64(len(l.latencies))
	if len(l.latencies) == 0 {
		return fmt.Errorf("no request was answered: %w", l.firstErr)
	}
	return nil
}

func (l *load) client(nc net.Conn, body []byte, stop *atomic.Bool) {
	br := bufio.NewReaderSize(nc, 64<<10)
	var latencies []time.Duration
	var err error
	for !stop.Load() {
		start := time.Now()
		if err = l.one(nc, br, body); err != nil {
			break
		}
		latencies = append(latencies, time.Since(start))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latencies = append(l.latencies, latencies...)
	if err != nil {
		l.errors++
		l.firstErr = errors.Join(l.firstErr, err)
	}
}

func (l *load) one(nc net.Conn, br *bufio.Reader, body []byte) error {
	var head []byte
	key := rand.Uint64()
	if l.method == "PUT" {
		head = fmt.Appendf(nil, "PUT /bench/%016x HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nX-Amz-Date: 20240101T000000Z\r\n"+
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20240101/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=fe5f80f77d5fa3beca038a248ff027d0445342fe2855ddc963176630326f1024\r\n"+
			"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", key, l.addr, l.size)
	} else {
		head = fmt.Appendf(nil, "%s /bench/%016x%s%d HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\n\r\n", l.method, key, sizeParam, l.size, l.addr)
	}
	if l.method == "PUT" && l.size <= 64<<10 {
		head = append(head, body...)
	}
	if _, err := nc.Write(head); err != nil {
		return err
	}
	if l.method == "PUT" && l.size > 64<<10 {
		for left := l.size; left > 0; {
			n, err := nc.Write(body[:min(left, int64(len(body)))])
			if err != nil {
				return err
			}
			left -= int64(n)
		}
	}
	return l.readAnswer(br)
}

func (l *load) readAnswer(br *bufio.Reader) error {
	head, err := readHead(br)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) {
		line, _, _ := bytes.Cut(head, []byte("\r\n"))
		return fmt.Errorf("answered %q", line)
	}
	if l.method == "HEAD" {
		return nil
	}
	_, err = io.CopyN(io.Discard, br, contentLength(head))
	return err
}

// loadSummary is what came of a run.
type loadSummary struct {
	requests  int
	errors    int
	perSecond float64
	p50, p90  time.Duration
	p99, p999 time.Duration
	max       time.Duration
}

func (l *load) summary() loadSummary {
	slices.Sort(l.latencies)
	at := func(p float64) time.Duration {
		return l.latencies[min(int(p*float64(len(l.latencies))), len(l.latencies)-1)]
	}
	return loadSummary{
		requests: len(l.latencies), errors: l.errors,
		perSecond: float64(len(l.latencies)) / l.elapsed.Seconds(),
		p50:       at(.5), p90: at(.9), p99: at(.99), p999: at(.999), max: at(1),
	}
}
