package content

import (
	"bytes"
	"io"
	"strconv"
	"strings"
)

// maxParts is the largest number of parts of an upload.
const maxParts = 10000

// PartList finds the numbers of the parts from which an upload is completed, in the list as it
// passes.
type PartList struct {
	src     io.Reader
	ended   func(numbers []int)
	left    int64  // of a body with a length; -1 otherwise
	rest    []byte // the end of what came before
	numbers []int
	bad     bool // they cannot be read
}

// NewPartList reads the list from src; length is -1 if it is not known. ended is called with the
// numbers before the last of the list is passed on, unless they cannot be read.
func NewPartList(src io.Reader, length int64, ended func(numbers []int)) *PartList {
	return &PartList{src: src, ended: ended, left: length}
}

// Read passes the list on.
func (l *PartList) Read(p []byte) (int, error) {
	n, err := l.src.Read(p)
	l.feed(p[:n])
	if l.left > 0 {
		l.left -= int64(n)
	}
	if (l.left == 0 || err == io.EOF) && !l.bad {
		l.ended(l.numbers)
		l.bad = true // nothing more comes
	}
	return n, err
}

var (
	numberBegin = []byte("<PartNumber>")
	numberEnd   = []byte("</PartNumber>")
)

func (l *PartList) feed(p []byte) {
	if l.bad {
		return
	}
	l.rest = append(l.rest, p...)
	rest := l.rest
	for {
		_, after, begun := bytes.Cut(rest, numberBegin)
		text, more, ended := bytes.Cut(after, numberEnd)
		if !begun || !ended {
			break
		}
		number, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || len(l.numbers) == maxParts {
			l.bad, l.rest = true, nil
			return
		}
		l.numbers = append(l.numbers, number)
		rest = more
	}
	rest = rest[max(0, len(rest)-maxNumber):]
	l.rest = l.rest[:copy(l.rest, rest)]
}

// maxNumber bounds an element with a part's number, in bytes.
const maxNumber = 64
