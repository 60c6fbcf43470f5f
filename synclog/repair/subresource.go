package repair

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/akubra/akubra/s3"
	"github.com/akubra/akubra/synclog/repair/client"
)

// maxDocument bounds a subresource's document.
const maxDocument = 1 << 20

// normalOf are what two documents are compared by, where that is not XML without what says
// nothing.
var normalOf = map[string]func(doc []byte) (string, error){"acl": normalACL, "tagging": normalTags, "policy": normalJSON}

// document is a subresource as one backend has it.
type document struct {
	is     presence // unknown: the backend does not know such documents
	raw    []byte
	normal string
}

// getDocument reads a subresource; that there is none is no error.
func (b *backend) getDocument(ctx context.Context, bucket, key, name string) (document, error) {
	raw, _, err := b.Document(ctx, &client.Request{Method: http.MethodGet, Bucket: bucket, Key: key, Query: []client.Param{{Name: name}}}, maxDocument)
	switch {
	case client.HasCode(err, "NoSuchKey", "NoSuchBucket"):
		return document{}, b.at(fmt.Errorf("%w (%w)", errMoved, err))
	case client.Status(err) == http.StatusNotFound:
		return document{is: absent}, nil
	case client.Unsupported(err):
		return document{}, nil
	case err != nil:
		return document{}, b.at(err)
	}
	d := document{is: present, raw: raw}
	normal := normalOf[name]
	if normal == nil {
		normal = normalXML
	}
	if d.normal, err = normal(raw); err != nil {
		return document{}, b.errorf("has answered ?%s with what is no such document: %w", name, err)
	}
	if d.normal == "" { // <VersioningConfiguration/>, <TagSet/>
		d.is = absent
	}
	return d, nil
}

// syncDocument makes a subresource on target what it is on source, and tells
// whether that took a write.
func (r *Repairer) syncDocument(ctx context.Context, bucket, key, name string, source, target *backend) (bool, error) {
	want, err := source.getDocument(ctx, bucket, key, name)
	if err != nil {
		return false, err
	}
	have, err := target.getDocument(ctx, bucket, key, name)
	if err != nil {
		return false, err
	}
	switch {
	case want.is == have.is && want.normal == have.normal:
		return false, nil
	case want.is == unknown || have.is == unknown:
		b := target
		if want.is == unknown {
			b = source
		}
		return false, b.errorf("does not know ?%s, another one does", name)
	case r.o.DryRun:
		return true, nil
	}
	req := &client.Request{Method: http.MethodPut, Bucket: bucket, Key: key, Query: []client.Param{{Name: name}}, Header: http.Header{}}
	switch {
	case want.is == present && name == "acl":
		if req.Body, err = transplantACL(want.raw, have.raw); err != nil {
			return false, target.errorf("cannot have the ACL: %w", err)
		}
	case want.is == present:
		req.Body = want.raw
	case s3.Subresources[name].Deletable():
		req.Method = http.MethodDelete
	default:
		return false, target.errorf("has a ?%s that cannot be taken away; the others have none", name)
	}
	if req.Body != nil {
		req.Header.Set("Content-Md5", client.MD5(req.Body))
	}
	if _, err := target.Discard(ctx, req); err != nil {
		return false, target.at(err)
	}
	have, err = target.getDocument(ctx, bucket, key, name)
	if err == nil && (have.is != want.is || have.normal != want.normal) {
		err = target.errorf("has another ?%s than it was given", name)
	}
	return true, err
}

// normalXML is a document's elements and texts, whatever its spaces and prefixes.
func normalXML(doc []byte) (string, error) {
	var b strings.Builder
	depth, elements := 0, 0
	d := xml.NewDecoder(bytes.NewReader(doc))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && elements > 0 {
			break
		}
		if err != nil {
			return "", err
		}
		switch t := token.(type) {
		case xml.StartElement:
			depth++
			elements++
			if depth > 1 {
				b.WriteString("<" + t.Name.Local)
				for _, a := range t.Attr {
					if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
						b.WriteString(" " + a.Name.Local + "=" + a.Value)
					}
				}
				b.WriteString(">")
			}
		case xml.EndElement:
			if depth--; depth > 0 {
				b.WriteString("</>")
			}
		case xml.CharData:
			if text := bytes.TrimSpace(t); len(text) > 0 {
				_ = xml.EscapeText(&b, text)
			}
		}
	}
	return b.String(), nil
}

// normalJSON is a policy with its members in order.
func normalJSON(doc []byte) (string, error) {
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		return "", err
	}
	out, err := json.Marshal(v)
	return string(out), err
}
