package client

import (
	"cmp"
	"slices"
	"strings"

	"github.com/akubra/akubra/s3"
)

// Path is a bucket's or an object's path, path-style.
func Path(bucket, key string) string {
	path := "/" + s3.Escape(bucket)
	if key != "" {
		path += "/" + s3.Escape(key)
	}
	return path
}

// encodeQuery spells parameters, in the order that they are signed in. What has no value
// has no "=" either, if bare.
func encodeQuery(params []Param, bare bool) string {
	params = slices.Clone(params)
	slices.SortStableFunc(params, func(a, b Param) int { return cmp.Compare(s3.EscapeQuery(a.Name), s3.EscapeQuery(b.Name)) })
	var b strings.Builder
	for i, p := range params {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(s3.EscapeQuery(p.Name))
		if p.Value != "" || !bare {
			b.WriteString("=" + s3.EscapeQuery(p.Value))
		}
	}
	return b.String()
}

// EncodeTags spells tags as x-amz-tagging has them.
func EncodeTags(tags []Param) string { return encodeQuery(tags, false) }
