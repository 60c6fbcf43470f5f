package text

import "slices"

// hiddenSecret replaces a secret in a target.
const hiddenSecret = "***"

// secretParams are the parameters of presigned URLs that no reader of a log may see (R37): with
// them the request can be sent again. The last ones are headers that some clients move into the
// query when presigning. In lower case.
var secretParams = []string{
	"x-amz-signature", "x-amz-security-token", "signature", "x-goog-signature", "x-amz-s3session-token",
	"x-amz-server-side-encryption-customer-key", "x-amz-copy-source-server-side-encryption-customer-key",
	"x-amz-mfa", "authorization",
}

const longestSecretParam = len("x-amz-copy-source-server-side-encryption-customer-key")

// HideSecrets returns a raw request target without what only the client and the backends may know:
// the values of secretParams, and a password. It returns target itself if there is nothing to hide,
// and never writes to it.
func HideSecrets[T string | []byte](target T) T {
	var out []byte
	done := 0 // target[:done] is in out
	hide := func(from, to int) {
		if string(target[from:to]) != hiddenSecret && from < to {
			out = append(append(out, target[done:from]...), hiddenSecret...)
			done = to
		}
	}
	if from, to, ok := userInfo(target); ok {
		hide(from, to)
	}
	query := false
	for i := 0; i < len(target); {
		c := target[i]
		i++
		// Backends differ in what they regard as a separator.
		if query = query || c == '?'; !query || c != '?' && c != '&' && c != ';' && c != '#' {
			continue
		}
		value, secret := secretParam(target, i)
		if !secret {
			continue
		}
		end := value
		for end < len(target) && target[end] != '&' {
			end++
		}
		hide(value, end)
		i = end
	}
	if out == nil {
		return target
	}
	return T(append(out, target[done:]...))
}

// secretParam reports whether the parameter at i is one of secretParams, however its name is
// written, and where its value starts.
func secretParam[T string | []byte](target T, i int) (value int, ok bool) {
	var name [longestSecretParam]byte
	for n := 0; i < len(target); n++ {
		c, size := target[i], 1
		if c == '%' && i+2 < len(target) {
			if hi, lo := unhex(target[i+1]), unhex(target[i+2]); hi >= 0 && lo >= 0 {
				c, size = byte(hi<<4|lo), 3
			}
		}
		i += size
		if c == '=' {
			return i, slices.Contains(secretParams, string(name[:n]))
		}
		if n == len(name) || size == 1 && (c == '&' || c == ';' || c == '?' || c == '#') {
			return 0, false
		}
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		name[n] = c
	}
	return 0, false
}

// userInfo is the position of user and password in an absolute target.
func userInfo[T string | []byte](target T) (from, to int, ok bool) {
	for i := 0; i < len(target) && target[i] != '/' && target[i] != '?'; i++ {
		if target[i] == ':' && i+2 < len(target) && target[i+1] == '/' && target[i+2] == '/' {
			from = i + 3
			for j := from; j < len(target) && target[j] != '/' && target[j] != '?'; j++ {
				if target[j] == '@' {
					to, ok = j, true
				}
			}
			break
		}
	}
	return from, to, ok
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
