// Command failures makes the output of many tests readable: it copies the output of `go test -json`
// as it arrives, and at the end repeats which tests have failed, each with its own output. Last
// comes a short list of them, each with the messages of its t.Error and t.Log calls.
//
//	go test -json ./... | failures
//
// Its exit code is 1 if a test has failed, if a package could not be built, or if the stream ends
// before go test has reported the end of a package.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

func main() {
	ok, err := tell(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintf(os.Stderr, "failures: cannot read what go test says: %v\n", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

// event is one line of go test -json (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build-output and build-fail
	Test       string
	Output     string
}

// name identifies a test, or a package if it has no test.
type name struct{ pkg, test string }

// How much of one test's output is repeated: its beginning and its end.
const (
	firstLines = 40
	lastLines  = 160
)

// said is the output of a test, without its middle if it is long.
type said struct {
	first, last []string
	left        int // number of lines that are left out
}

func (s *said) add(line string) {
	switch {
	case len(s.first) < firstLines:
		s.first = append(s.first, line)
	case len(s.last) < lastLines:
		s.last = append(s.last, line)
	default:
		s.last = append(s.last[1:], line)
		s.left++
	}
}

// summary is what is known about tests that have not passed.
type summary struct {
	output  map[name]*said
	running map[name]bool // including packages
	failed  []name
	seen    bool // of any package
}

// tell copies the output and then reports what has failed. It reports whether nothing has.
func tell(r io.Reader, w io.Writer) (ok bool, err error) {
	s := summary{output: map[name]*said{}, running: map[name]bool{}}
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		var e event
		switch {
		case len(line) == 0:
		case line[0] != '{' || json.Unmarshal(line, &e) != nil: // what is not an event was printed by go itself
			_, _ = w.Write(line)
		default:
			_, _ = io.WriteString(w, e.Output)
			s.take(&e)
		}
		if err == io.EOF {
			return s.end(w), nil
		}
		if err != nil {
			s.end(w)
			return false, err
		}
	}
}

func (s *summary) take(e *event) {
	n := name{e.Package, e.Test}
	if e.Package == "" {
		n.pkg = e.ImportPath
	}
	switch e.Action {
	case "start", "run":
		s.running[n] = true
		s.seen = true
	case "output", "build-output":
		if !frames(e.Output) {
			s.of(n).add(e.Output)
		}
	case "pass", "skip":
		delete(s.running, n)
		delete(s.output, n)
	case "fail", "build-fail":
		delete(s.running, n)
		s.failed = append(s.failed, n)
	}
}

func (s *summary) of(n name) *said {
	if s.output[n] == nil {
		s.output[n] = &said{}
	}
	return s.output[n]
}

// frames reports whether a line only says which test the following lines belong to.
func frames(line string) bool {
	return slices.ContainsFunc([]string{"=== RUN ", "=== PAUSE ", "=== CONT ", "=== NAME "}, func(p string) bool { return strings.HasPrefix(line, p) })
}

// end reports the tests that have failed or never ended, each with its output, and returns whether
// there are none. A test whose subtests have failed is reported only if it has output of its own.
func (s *summary) end(w io.Writer) (ok bool) {
	for n := range s.running {
		s.of(n).add("(it has not ended)\n")
		s.failed = append(s.failed, n)
	}
	slices.SortFunc(s.failed, func(a, b name) int {
		return strings.Compare(a.pkg+"\x00"+a.test, b.pkg+"\x00"+b.test)
	})
	s.failed = slices.Compact(s.failed) // what does not compile fails twice
	var told []name
	for _, n := range s.failed {
		if s.telling(n) {
			told = append(told, n)
		}
	}
	for _, n := range told {
		fmt.Fprintf(w, "\n=== FAILED: %s\n", n)
		if o := s.output[n]; o != nil {
			_, _ = io.WriteString(w, strings.Join(o.first, ""))
			if o.left > 0 {
				fmt.Fprintf(w, "(%d lines are left out)\n", o.left)
			}
			_, _ = io.WriteString(w, strings.Join(o.last, ""))
		}
	}
	switch {
	case len(s.failed) > 0:
		fmt.Fprintf(w, "\n=== %d failed:\n", len(told))
		for _, n := range told {
			fmt.Fprintf(w, "    %s\n", n)
			s.messages(w, n)
		}
	case !s.seen:
		fmt.Fprintln(w, "\n=== no test has run")
	}
	return s.seen && len(s.failed) == 0
}

// How much the list says of a test.
const (
	maxMessages = 10
	maxMessage  = 400 // bytes
)

// message matches a line that begins what t.Error or t.Log has printed, without the output of
// the processes that a test has started.
var message = regexp.MustCompile(`^ *[a-z0-9_]+_test\.go:[0-9]+: `)

// messages prints the last messages of a test.
func (s *summary) messages(w io.Writer, n name) {
	o := s.output[n]
	if o == nil {
		return
	}
	var list []string
	for _, line := range slices.Concat(o.first, o.last) {
		if message.MatchString(line) && !strings.Contains(line, ": the last words of ") {
			line = strings.TrimSpace(line)
			list = append(list, line[:min(len(line), maxMessage)])
		}
	}
	for _, line := range list[max(0, len(list)-maxMessages):] {
		fmt.Fprintf(w, "        %s\n", line)
	}
}

// telling reports whether a failed test is to be reported: a leaf, or one with a line of its own
// besides the verdict.
func (s *summary) telling(n name) bool {
	within := n.test + "/"
	if n.test == "" {
		within = ""
	}
	leaf := !slices.ContainsFunc(s.failed, func(o name) bool {
		return o.pkg == n.pkg && o != n && strings.HasPrefix(o.test, within)
	})
	if leaf || n.test == "" || s.output[n] == nil {
		return leaf // a package prints only its verdict if one of its tests has failed
	}
	return slices.ContainsFunc(s.output[n].first, func(line string) bool {
		return !strings.HasPrefix(strings.TrimLeft(line, " "), "--- ")
	})
}

// String is the name by which the test can be run.
func (n name) String() string {
	if n.test == "" {
		return n.pkg
	}
	return n.pkg + " " + n.test
}
