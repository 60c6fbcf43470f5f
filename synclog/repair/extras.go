package repair

import (
	"context"
	"encoding/xml"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/akubra/akubra/synclog/repair/client"
)

// extras are the parts of an object that are in none of its headers.
type extras struct {
	tags      string // as x-amz-tagging
	canned    string // the ACL, where one of the well-known says it
	acl       []byte // the ACL, where not
	normalACL string
}

type tagging struct {
	XMLName xml.Name `xml:"Tagging"`
	TagSet  struct {
		Tag []struct{ Key, Value string }
	}
}

func parseTags(doc []byte) ([]client.Param, error) {
	var t tagging
	if err := xml.Unmarshal(doc, &t); err != nil {
		return nil, err
	}
	tags := make([]client.Param, 0, len(t.TagSet.Tag))
	for _, tag := range t.TagSet.Tag {
		tags = append(tags, client.Param{Name: tag.Key, Value: tag.Value})
	}
	return tags, nil
}

func normalTags(doc []byte) (string, error) {
	tags, err := parseTags(doc)
	return client.EncodeTags(tags), err
}

// extrasOf asks a backend for tags and the ACL, if it can have any.
func (r *Repairer) extrasOf(ctx context.Context, b *backend, bucket, key string, o *object) (x extras, err error) {
	var acl document
	var aclErr error
	var asking sync.WaitGroup
	mayACL := b.has(featACL) && mayHaveACL(o.header)
	if mayACL { // both at once
		asking.Go(func() { acl, aclErr = b.getDocument(ctx, bucket, key, "acl") })
	}
	defer asking.Wait()
	if b.has(featTagging) && o.tagCount() != 0 {
		doc, err := b.getDocument(ctx, bucket, key, "tagging")
		switch {
		case errors.Is(err, errMoved) || backendFault(err) || ctx.Err() != nil:
			return x, err
		case err != nil && o.header.Get("X-Amz-Tagging-Count") != "":
			return x, err // it has some
		case client.Status(err) == http.StatusForbidden:
			// A key that may read an object may still not be allowed to read its tags.
			r.warnOnce("tags "+b.name, "cannot copy tags", "backend", b.name, "error", err.Error())
		case err != nil || doc.is == unknown:
			b.forget(featTagging, orUnsupported(err))
		default:
			x.tags = doc.normal
		}
	}
	asking.Wait()
	if !mayACL {
		return x, nil
	}
	switch doc, err := acl, aclErr; {
	case errors.Is(err, errMoved) || backendFault(err) || ctx.Err() != nil:
		return x, err
	case client.Status(err) == http.StatusForbidden:
		r.warnOnce("acl "+b.name, "cannot copy ACLs", "backend", b.name, "error", err.Error())
	case err != nil || doc.is == unknown:
		b.forget(featACL, orUnsupported(err))
	case doc.is == present:
		x.setACL(&doc)
	}
	return x, nil
}

// meta returns the lines of metadata for them.
func (x *extras) meta() (lines string) {
	if x.canned != "" || x.acl != nil {
		lines = lineACL + ":" + strings.ReplaceAll(x.normalACL, "\n", ", ") + "\n"
	}
	if x.tags != "" {
		lines += lineTags + ":" + x.tags + "\n"
	}
	return lines
}

func (x *extras) setACL(doc *document) {
	x.canned, x.acl, x.normalACL = cannedACL(doc.normal), nil, doc.normal
	switch x.canned {
	case "private":
		x.canned = "" // what every new object has
	case "":
		x.acl = doc.raw
	}
}

var errUnsupported = errors.New("it is not implemented there")

func orUnsupported(err error) error {
	if err == nil {
		return errUnsupported
	}
	return err
}

// mayHaveTags: some backends report how many tags there are, and nothing if there are none.
func mayHaveTags(h http.Header) bool {
	switch h.Get("X-Amz-Tagging-Count") {
	case "":
		return !strings.HasPrefix(h.Get("Server"), "AmazonS3") && !strings.HasPrefix(h.Get("Server"), "MinIO")
	case "0":
		return false
	}
	return true
}

// mayHaveACL: MinIO has the same one for everything.
func mayHaveACL(h http.Header) bool { return !strings.HasPrefix(h.Get("Server"), "MinIO") }

// finish gives the target what no header can carry.
func (c *transfer) finish(ctx context.Context) error {
	if c.extras.acl == nil || !c.dst.has(featACL) {
		return nil
	}
	want := document{is: present, raw: c.extras.acl, normal: c.extras.normalACL}
	err := c.r.writeDocument(ctx, c.bucket, c.key, "acl", &want, c.dst)
	if client.Unsupported(err) || client.HasCode(err, "AccessControlListNotSupported") {
		c.dst.forget(featACL, err)
		return nil
	}
	return err
}

type accessControl struct {
	XMLName xml.Name `xml:"AccessControlPolicy"`
	Owner   struct {
		ID          string
		DisplayName string `xml:",omitempty"`
	}
	Grants []grant `xml:"AccessControlList>Grant"`
}

type grant struct {
	Grantee    grantee
	Permission string
}

type grantee struct {
	Space       string `xml:"xmlns:xsi,attr,omitempty"`
	Type        string `xml:"type,attr"`
	ID          string `xml:",omitempty"`
	DisplayName string `xml:",omitempty"`
	URI         string `xml:",omitempty"`
	Email       string `xml:"EmailAddress,omitempty"`
}

const (
	allUsers  = "http://acs.amazonaws.com/groups/global/AllUsers"
	someUsers = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
	ownerAll  = "owner FULL_CONTROL"
)

// normalACL is an ACL's grants in order, with "owner" for the owner, who differs between backends.
func normalACL(doc []byte) (string, error) {
	var acl accessControl
	if err := xml.Unmarshal(doc, &acl); err != nil {
		return "", err
	}
	lines := make([]string, 0, len(acl.Grants))
	for _, g := range acl.Grants {
		who := g.Grantee.URI + g.Grantee.Email
		switch {
		case who != "":
		case g.Grantee.ID == acl.Owner.ID:
			who = "owner"
		default:
			who = g.Grantee.ID
		}
		lines = append(lines, who+" "+g.Permission)
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n"), nil
}

// cannedACL is the canned ACL that equals a normal one, or "".
func cannedACL(normal string) string {
	switch normal {
	case ownerAll:
		return "private"
	case allUsers + " READ\n" + ownerAll:
		return "public-read"
	case allUsers + " READ\n" + allUsers + " WRITE\n" + ownerAll:
		return "public-read-write"
	case someUsers + " READ\n" + ownerAll:
		return "authenticated-read"
	}
	return ""
}

// transplantACL is the ACL want, with its owner replaced by that of have.
func transplantACL(want, have []byte) ([]byte, error) {
	var from, to accessControl
	if err := xml.Unmarshal(want, &from); err != nil {
		return nil, err
	}
	if err := xml.Unmarshal(have, &to); err != nil {
		return nil, err
	}
	for i := range from.Grants {
		g := &from.Grants[i].Grantee
		if g.ID != "" && g.ID == from.Owner.ID {
			g.ID, g.DisplayName = to.Owner.ID, to.Owner.DisplayName
		}
		// The decoder knows no prefixes, and the encoder writes none.
		g.Space = "http://www.w3.org/2001/XMLSchema-instance"
	}
	from.Owner = to.Owner
	out, err := xml.Marshal(from)
	return []byte(strings.ReplaceAll(string(out), ` type="`, ` xsi:type="`)), err
}
