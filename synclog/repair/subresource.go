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
	"time"

	"github.com/akubra/akubra/s3"
	"github.com/akubra/akubra/synclog/repair/client"
)

// maxDocument bounds a subresource's document.
const maxDocument = 1 << 20

// normalOf are what two documents are compared by: for XML, the document without what means
// nothing.
var normalOf = map[string]func(doc []byte) (string, error){
	"acl": normalACL, "tagging": normalTags, "policy": normalJSON, "retention": normalRetention, "legal-hold": normalHold,
}

// document is a subresource as one backend has it.
type document struct {
	is     presence // unknown: the backend does not know such documents
	raw    []byte
	normal string
}

// getDocument reads a subresource; it is not an error if there is none.
func (b *backend) getDocument(ctx context.Context, bucket, key, name string, version ...client.Param) (document, error) {
	raw, _, err := b.Document(ctx, &client.Request{
		Method: http.MethodGet, Bucket: bucket, Key: key, Query: append([]client.Param{{Name: name}}, version...),
	}, maxDocument)
	switch {
	case client.HasCode(err, "NoSuchKey", "NoSuchBucket"):
		return document{}, b.at(fmt.Errorf("%w (%w)", errMoved, err))
	case client.Status(err) == http.StatusNotFound, noLock(err):
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

// noLock reports whether a 400 means that there is no lock: the object has none, or its bucket
// cannot have any. AWS writes "Bucket is missing Object Lock Configuration" with and without spaces.
func noLock(err error) bool {
	return client.Status(err) == http.StatusBadRequest &&
		strings.Contains(strings.ToLower(strings.ReplaceAll(err.Error(), " ", "")), "objectlockconfiguration")
}

// syncDocument makes a subresource on target what it is on source, and reports whether that took a
// write.
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
	if err := r.writeDocument(ctx, bucket, key, name, &want, target); err != nil {
		return true, err
	}
	have, err = target.getDocument(ctx, bucket, key, name)
	if err == nil && (have.is != want.is || have.normal != want.normal) {
		err = target.errorf("has another ?%s than it was given", name)
	}
	return true, err
}

// errCannotTakeAway is about what S3 offers no way to remove.
var errCannotTakeAway = errors.New("repair: it cannot be taken away")

// writeDocument makes a subresource what want says, for a version of the object if version is
// given.
func (r *Repairer) writeDocument(ctx context.Context, bucket, key, name string, want *document, target *backend, version ...client.Param) error {
	req := &client.Request{Method: http.MethodPut, Bucket: bucket, Key: key, Query: append([]client.Param{{Name: name}}, version...), Header: http.Header{}}
	switch {
	case want.is == present && name == "acl":
		raw, _, err := target.Document(ctx, &client.Request{Method: http.MethodGet, Bucket: bucket, Key: key, Query: req.Query}, maxDocument)
		if err != nil {
			return target.at(err)
		}
		if req.Body, err = transplantACL(want.raw, raw); err != nil {
			return target.errorf("cannot have the ACL: %w", err)
		}
	case want.is == present:
		req.Body = spelled(name, want)
	case name == "legal-hold":
		req.Body = []byte(`<LegalHold xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>OFF</Status></LegalHold>`)
	case name == "acl":
		req.Header.Set("X-Amz-Acl", "private")
	case s3.Subresources[name].Deletable():
		req.Method = http.MethodDelete
	default:
		return target.at(fmt.Errorf("%w: backend %q has a ?%s, the others have none", errCannotTakeAway, target.name, name))
	}
	if req.Body != nil {
		req.Header.Set("Content-Md5", client.MD5(req.Body))
	}
	if name == "retention" { // who has it already was allowed to shorten it
		req.Header.Set(bypassGovernance, "true")
	}
	_, err := target.Discard(ctx, req)
	return target.at(err)
}

// spelled is a document as every backend accepts it: some refuse their own.
func spelled(name string, d *document) []byte {
	const space = ` xmlns="http://s3.amazonaws.com/doc/2006-03-01/"`
	switch name {
	case "retention":
		mode, until, _ := strings.Cut(d.normal, " ")
		return []byte("<Retention" + space + "><Mode>" + mode + "</Mode><RetainUntilDate>" + until + "</RetainUntilDate></Retention>")
	case "legal-hold":
		return []byte("<LegalHold" + space + "><Status>ON</Status></LegalHold>")
	case "tagging":
		tags, err := parseTags(d.raw)
		if err != nil {
			return d.raw
		}
		var b strings.Builder
		b.WriteString("<Tagging" + space + "><TagSet>")
		for _, t := range tags {
			b.WriteString("<Tag><Key>")
			_ = xml.EscapeText(&b, []byte(t.Name))
			b.WriteString("</Key><Value>")
			_ = xml.EscapeText(&b, []byte(t.Value))
			b.WriteString("</Value></Tag>")
		}
		return []byte(b.String() + "</TagSet></Tagging>")
	}
	return d.raw
}

// normalRetention is "MODE DATE"; one that has expired is none.
func normalRetention(doc []byte) (string, error) {
	var r struct{ Mode, RetainUntilDate string }
	if err := xml.Unmarshal(doc, &r); err != nil || r.Mode == "" {
		return "", err
	}
	until, err := time.Parse(time.RFC3339, strings.TrimSpace(r.RetainUntilDate))
	if err != nil {
		return "", err
	}
	if !until.After(time.Now()) {
		return "", nil
	}
	return r.Mode + " " + until.UTC().Truncate(time.Second).Format(time.RFC3339), nil
}

// normalHold is ON, or nothing.
func normalHold(doc []byte) (string, error) {
	var h struct{ Status string }
	if err := xml.Unmarshal(doc, &h); err != nil || !strings.EqualFold(strings.TrimSpace(h.Status), "ON") {
		return "", err
	}
	return "ON", nil
}

// normalXML is a document's elements and texts, whatever its white space and prefixes.
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
