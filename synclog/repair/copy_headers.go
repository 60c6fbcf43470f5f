package repair

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/akubra/akubra/synclog/repair/client"
)

// moved reports whether a refusal means that the target has changed.
func (c *transfer) moved(err error) bool {
	switch client.Status(err) {
	case http.StatusPreconditionFailed:
		return true
	case http.StatusConflict:
		return client.HasCode(err, "ConditionalRequestConflict", "OperationAborted")
	case http.StatusNotFound:
		return client.HasCode(err, "NoSuchKey")
	}
	return false
}

// misjudged reports whether a condition was refused although the target has not changed: versitygw
// refuses If-None-Match if the current version is a delete marker.
func (c *transfer) misjudged(ctx context.Context, err error) bool {
	return client.Status(err) == http.StatusPreconditionFailed && c.used()&featCondition != 0 && c.still(ctx, false) == nil
}

// refused finds which features of a request a target may have refused it for; known reports that
// it will always refuse them.
func (c *transfer) refused(err error) (strip feature, known bool) {
	used := c.used()
	first := func(of ...feature) feature {
		for _, f := range of {
			if used&f != 0 {
				return f
			}
		}
		return 0
	}
	switch {
	case client.Unsupported(err):
		strip = first(featCondition, featChecksum, featClass, featACL, featRedirect, featRetention, featHold, featTagging)
		return strip, true
	case client.HasCode(err, "InvalidStorageClass"):
		return first(featClass), true
	case client.HasCode(err, "AccessControlListNotSupported"):
		return first(featACL), true
	case noLock(err), strings.Contains(strings.ToLower(err.Error()), "object lock"):
		return first(featRetention) | first(featHold), false
	case client.HasCode(err, "InvalidRequest", "InvalidArgument"):
		return first(featClass, featRedirect, featRetention, featHold), false
	}
	return 0, false
}

// used are the features that the request would use.
func (c *transfer) used() feature {
	f := featCondition
	h := c.from.header
	for name := range h {
		if strings.HasPrefix(name, "X-Amz-Checksum-") && name != "X-Amz-Checksum-Type" {
			f |= featChecksum
		}
	}
	if c.lock.mode != "" {
		f |= featRetention
	}
	if c.lock.hold {
		f |= featHold
	}
	if c.from.system("X-Amz-Storage-Class") != "" {
		f |= featClass
	}
	if c.from.header.Get("X-Amz-Website-Redirect-Location") != "" {
		f |= featRedirect
	}
	if c.extras.canned != "" {
		f |= featACL
	}
	if c.extras.tags != "" {
		f |= featTagging
	}
	return f &^ c.skip &^ feature(c.dst.lacks.Load())
}

// headers are those that make up the object, except for its content's.
func (c *transfer) headers() http.Header {
	h := make(http.Header, 16)
	use := c.used()
	for _, name := range systemHeaders {
		v := c.from.header.Get(name)
		switch name {
		case "X-Amz-Storage-Class":
			if use&featClass == 0 {
				v = ""
			}
		case "X-Amz-Website-Redirect-Location":
			if use&featRedirect == 0 {
				v = ""
			}
		case "Content-Encoding":
			v = contentEncoding(v)
		}
		if v != "" {
			h[name] = []string{v}
		}
	}
	c.from.metadata(h)
	if use&featRetention != 0 {
		h.Set(lineMode, c.lock.mode)
		h.Set(lineDate, c.lock.until)
	}
	if use&featHold != 0 {
		h.Set(lineHold, "ON")
	}
	if use&featACL != 0 {
		h.Set("X-Amz-Acl", c.extras.canned)
	}
	if use&featTagging != 0 {
		h.Set("X-Amz-Tagging", c.extras.tags)
	}
	return h
}

func copyChecksums(to, from http.Header) {
	for name, values := range from {
		if strings.HasPrefix(name, "X-Amz-Checksum-") {
			to[name] = values
		}
	}
}

// lock is what keeps an object from being deleted. Its two halves are independent: a retention
// that has expired does not take the hold with it.
type lock struct {
	mode, until string
	hold        bool
}

func lockOf(o *object, now time.Time) (l lock) {
	for line := range strings.Lines(o.meta(now)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		switch name {
		case lineMode:
			l.mode = value
		case lineDate:
			l.until = value
		case lineHold:
			l.hold = true
		}
	}
	return l
}
