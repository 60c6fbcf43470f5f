package content

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/akubra/akubra/http1"
)

// What a multi-object delete may ask for (R24): more than S3 accepts, because some backends are
// laxer, but not without bound (R23).
const (
	MaxDeletes   = 1000
	MaxDeleteKey = 3 << 10
	MaxVersionID = 1 << 10
	maxXMLDepth  = 8
	// maxXMLTokens: an object has a few elements, with white space around each.
	maxXMLTokens = 64 * MaxDeletes
	// maxXMLGap bounds the distance from one "<" to the next, and with it the size of a token.
	maxXMLGap = 32 << 10
)

// Object is one to be deleted.
type Object struct {
	Key       string
	VersionID string `xml:"VersionId"`
}

// Why a list is out of bounds, or might not be the same one for all backends.
var (
	ErrMalformed  = errors.New("no list of objects that all backends read alike")
	ErrTooMany    = errors.New("too many objects")
	ErrKeyTooLong = errors.New("a key that is too long")
)

// ParseDeletes reads the list of objects to delete and returns each of them once. conditional are
// the keys of those that have a condition. It stops at the end of the list, or at the first thing
// in it that is out of bounds.
func ParseDeletes(from io.Reader, awsChunked bool) (objects []Object, conditional map[string]bool, err error) {
	if awsChunked { // framed once more, by a client that signs each piece
		from = &http1.ChunkReader{From: bufio.NewReaderSize(from, 4096)}
	}
	p := deleteParser{d: xml.NewDecoder(&gapReader{from: from})}
	p.d.CharsetReader = asciiReader
	err = p.parse()
	return p.objects, p.conditional, err
}

type deleteParser struct {
	d       *xml.Decoder
	tokens  int
	depth   int
	asked   int
	objects []Object
	seen    map[Object]bool

	object             Object
	hasKey, hasVersion bool
	hasCondition       bool
	conditional        map[string]bool // keys of objects that have a condition
	text               *string         // where an element's text belongs
	objectAt           bool            // within an Object
}

var errNoList = errors.New("no list of objects")

// parse reads the first element to its end, as every XML reader does.
func (p *deleteParser) parse() error {
	for {
		token, err := p.d.Token()
		if err == io.EOF {
			return errNoList
		}
		if err != nil {
			return err
		}
		if p.tokens++; p.tokens > maxXMLTokens {
			return ErrMalformed
		}
		switch t := token.(type) {
		case xml.StartElement:
			err = p.start(t.Name.Local)
		case xml.CharData:
			err = p.chars(t)
		case xml.EndElement:
			if err = p.end(); err == nil && p.depth == 0 {
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
}

func (p *deleteParser) start(name string) error {
	p.depth++
	switch {
	case p.depth > maxXMLDepth || p.text != nil: // an element in a key
		return ErrMalformed
	case p.depth == 2 && name == "Object":
		if p.asked++; p.asked > MaxDeletes {
			return ErrTooMany
		}
		p.objectAt = true
	case p.depth == 3 && p.objectAt && name == "Key":
		return p.field(&p.hasKey, &p.object.Key)
	case p.depth == 3 && p.objectAt && name == "VersionId":
		return p.field(&p.hasVersion, &p.object.VersionID)
	case p.depth == 3 && p.objectAt && (name == "ETag" || name == "LastModifiedTime" || name == "Size"):
		p.hasCondition = true
	}
	return nil
}

// field begins an element that an object may have only once: of two, each backend might use
// another one.
func (p *deleteParser) field(has *bool, text *string) error {
	if *has {
		return ErrMalformed
	}
	*has, p.text = true, text
	return nil
}

func (p *deleteParser) chars(t xml.CharData) error {
	if p.text == nil {
		return nil
	}
	*p.text += string(t)
	switch {
	case len(p.object.Key) > MaxDeleteKey:
		return ErrKeyTooLong
	case len(p.object.VersionID) > MaxVersionID:
		return ErrMalformed
	}
	return nil
}

func (p *deleteParser) end() error {
	p.depth--
	switch {
	case p.text != nil:
		p.text = nil
	case p.depth == 1 && p.objectAt:
		if p.object.Key == "" { // it would be the bucket's
			return ErrMalformed
		}
		if p.seen == nil {
			p.seen = make(map[Object]bool)
		}
		if !p.seen[p.object] {
			p.seen[p.object] = true
			p.objects = append(p.objects, p.object)
		}
		if p.hasCondition {
			if p.conditional == nil {
				p.conditional = make(map[string]bool)
			}
			p.conditional[p.object.Key] = true
		}
		p.object, p.objectAt, p.hasKey, p.hasVersion, p.hasCondition = Object{}, false, false, false, false
	}
	return nil
}

// asciiReader reads a list that claims an encoding other than UTF-8. Backends differ in how they
// read such a list, unless all of it is ASCII.
func asciiReader(_ string, from io.Reader) (io.Reader, error) { return ascii{from}, nil }

type ascii struct{ from io.Reader }

func (a ascii) Read(p []byte) (int, error) {
	n, err := a.from.Read(p)
	for _, c := range p[:n] {
		if c >= utf8.RuneSelf {
			return 0, ErrMalformed
		}
	}
	return n, err
}

// gapReader ends a text in which no "<" comes for too long, because an XML token is read as a
// whole, with all its attributes or as a whole comment.
type gapReader struct {
	from io.Reader
	gap  int
}

func (g *gapReader) Read(p []byte) (int, error) {
	n, err := g.from.Read(p)
	for rest := p[:n]; ; {
		i := bytes.IndexByte(rest, '<')
		if i < 0 {
			g.gap += len(rest)
			break
		}
		if g.gap+i > maxXMLGap {
			g.gap += i
			break
		}
		g.gap, rest = 0, rest[i+1:]
	}
	if g.gap > maxXMLGap {
		return 0, ErrMalformed
	}
	return n, err
}
