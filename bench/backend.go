package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/akubra/akubra/bench/histogram"
)

// backendCommand starts a backend in this binary.
const backendCommand = "backend"

// backendCounts is what a backend has seen since it was asked last.
type backendCounts struct {
	Puts    int64                `json:"puts"`
	Gets    int64                `json:"gets"` // HEADs too
	Deletes int64                `json:"deletes"`
	Bytes   int64                `json:"bytes"`   // of bodies that it was sent
	Latency *histogram.Histogram `json:"latency"` // from a head's end to just before the answer's
}

func (c *backendCounts) requests() int64 { return c.Puts + c.Gets + c.Deletes }

// backend keeps nothing and is as cheap as possible, so that only the proxy is measured: the kernel
// discards bodies, answers are made beforehand. Each connection has one goroutine.
type backend struct {
	addr                      string
	puts, gets, deletes, size atomic.Int64
	latency                   atomic.Pointer[histogram.Histogram]
	fault                     atomic.Pointer[fault]

	mu    sync.Mutex
	ln    net.Listener // nil while it is dead
	conns map[net.Conn]struct{}
}

// newBackend listens on addr.
func newBackend(addr string) (*backend, error) {
	s := &backend{addr: addr, conns: map[net.Conn]struct{}{}}
	s.latency.Store(&histogram.Histogram{})
	s.fault.Store(newFault(faultNone))
	if err := s.open(); err != nil {
		return nil, err
	}
	s.addr = s.ln.Addr().String()
	return s, nil
}

func (s *backend) open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln != nil {
		return nil
	}
	ln, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	s.ln = ln
	go s.accept(ln)
	return nil
}

// close refuses new connections and cuts the open ones.
func (s *backend) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln == nil {
		return
	}
	_ = s.ln.Close()
	s.ln = nil
	for nc := range s.conns {
		_ = nc.Close()
	}
}

func (s *backend) accept(ln net.Listener) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.ln != ln {
			s.mu.Unlock()
			_ = nc.Close()
			return
		}
		s.conns[nc] = struct{}{}
		s.mu.Unlock()
		go func() {
			s.serve(nc)
			_ = nc.Close()
			s.mu.Lock()
			delete(s.conns, nc)
			s.mu.Unlock()
		}()
	}
}

// take returns the counts and resets them.
func (s *backend) take() *backendCounts {
	return &backendCounts{s.puts.Swap(0), s.gets.Swap(0), s.deletes.Swap(0), s.size.Swap(0), s.latency.Swap(&histogram.Histogram{})}
}

// runBackend is a backend's process. It prints its address, then answers each line on standard
// input, which is a command, with one line. It ends when standard input does:
//
//	seen               how many requests it has seen since the last "take"
//	take               the counts since the last "take", as JSON
//	fault MODE RATE PERIOD   see fault.go
func runBackend(addr string, in io.Reader, out io.Writer) error {
	s, err := newBackend(addr)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, s.addr)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		command, rest, _ := strings.Cut(lines.Text(), " ")
		switch command {
		case "seen":
			fmt.Fprintln(out, s.puts.Load()+s.gets.Load()+s.deletes.Load())
		case "take":
			if err := json.NewEncoder(out).Encode(s.take()); err != nil {
				return err
			}
		case "fault":
			f, err := parseFault(rest)
			if err != nil {
				return err
			}
			s.setFault(f)
			fmt.Fprintln(out, "ok")
		default:
			return fmt.Errorf("cannot do %q", lines.Text())
		}
	}
	s.close()
	return nil
}
