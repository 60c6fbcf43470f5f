package task

import (
	"bytes"
	"net/url"
	"slices"
	"strings"
)

// BucketTarget is the target under which writes about a bucket are kept: path style, with the
// parameters that name the subresource, in order. Clients name the same subresource with or
// without a slash behind the bucket, or with the bucket in the Host (R27), and add signatures and
// their operation's name; otherwise each would be a task of its own, and none would replace
// another.
func BucketTarget(bucket, target []byte) []byte {
	if len(bucket) == 0 {
		return target
	}
	var params []string
	_, query, _ := bytes.Cut(target, []byte("?"))
	for _, param := range strings.Split(string(query), "&") {
		name, value, _ := strings.Cut(param, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if name == "" || isNoise(name) {
			continue
		}
		param = url.QueryEscape(name)
		if value != "" {
			param += "=" + value
		}
		params = append(params, param)
	}
	slices.Sort(params)
	kept := "/" + url.PathEscape(string(bucket))
	if len(params) > 0 {
		kept += "?" + strings.Join(params, "&")
	}
	return []byte(kept)
}

// isNoise reports whether a parameter says nothing about what is written.
func isNoise(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "x-amz-") || slices.Contains([]string{"x-id", "awsaccesskeyid", "signature", "expires"}, name)
}
