package config

import (
	"fmt"
	"slices"
	"strings"
)

// defaultProfile is the profile of a shared credentials file that is used if none is named.
const defaultProfile = "default"

// CredentialsConfig is how repair and verify sign their own requests. The keys are given here or in
// a file in AWS's format; otherwise they come from the environment.
type CredentialsConfig struct {
	AccessKey secret `koanf:"AccessKey"`
	SecretKey secret `koanf:"SecretKey"`
	Region    string `koanf:"Region"` // empty: from the file, the environment, or us-east-1
	File      string `koanf:"File"`   // AWS's shared credentials file
	Profile   string `koanf:"Profile"`
}

// BackendCredentialsConfig are the credentials of one backend that has its own.
type BackendCredentialsConfig struct {
	Backend   string `koanf:"Backend"` // one of Backends
	AccessKey secret `koanf:"AccessKey"`
	SecretKey secret `koanf:"SecretKey"`
	Region    string `koanf:"Region"`
	File      string `koanf:"File"`
	Profile   string `koanf:"Profile"`
}

func (b *BackendCredentialsConfig) credentials() CredentialsConfig {
	return CredentialsConfig{AccessKey: b.AccessKey, SecretKey: b.SecretKey, Region: b.Region, File: b.File, Profile: b.Profile}
}

// secret is text that no log, page or error may show, however it is printed.
type secret string

func (s secret) String() string {
	if s == "" {
		return ""
	}
	return "…"
}

// Format is for %q, %#v and the other verbs that do not call String.
func (s secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText is for JSON and YAML.
func (s secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// secretPath reports whether the value at path may be a secret, or contain one if it has the wrong
// type. Such a value must not be quoted.
func secretPath(path string) bool {
	if path == "MetricsToken" || path == "AdminToken" {
		return true
	}
	list, rest, _ := strings.Cut(path, "[")
	if list == "BackendCredentials" {
		_, rest, _ = strings.Cut(rest, "].")
		return !slices.Contains([]string{"Backend", "Region", "File", "Profile"}, rest)
	}
	key, inside := strings.CutPrefix(path, "Credentials.")
	return path == "Credentials" || inside && !slices.Contains([]string{"Region", "File", "Profile"}, key)
}

// oneLine says what a key must be. A file with a key often ends in a newline, which is not part of it.
const oneLine = "one line, without control characters, without surrounding spaces"

func (m *mistakes) checkCredentials(path string, c CredentialsConfig) {
	switch access, secret := join(path, "AccessKey"), join(path, "SecretKey"); {
	case c.AccessKey != "" && c.SecretKey == "":
		m.add(secret, c.SecretKey, "the secret key for %s, which is set", access)
	case c.AccessKey == "" && c.SecretKey != "":
		m.add(access, c.AccessKey, "the access key for %s, which is set", secret)
	case !validHeaderValue(string(c.AccessKey)) || strings.ContainsAny(string(c.AccessKey), " \t,/"):
		m.add(access, c.AccessKey, "an access key, without spaces, commas and slashes")
	case !validHeaderValue(string(c.SecretKey)):
		m.add(secret, c.SecretKey, "a secret key: %s", oneLine)
	case c.AccessKey != "" && c.File != "":
		m.add(join(path, "File"), c.File, "empty if %s is set", access)
	case c.File != "" && m.mayOpen(join(path, "File")):
		if _, err := readCredentials(c.File, c.Profile); err != nil {
			m.add(join(path, "File"), c.File, "a file of AWS's credentials: %v", err)
		}
	}
	if c.Region != "" && !validToken(c.Region) {
		m.add(join(path, "Region"), c.Region, "a region's name, as in us-east-1")
	}
}

func (m *mistakes) checkBackendCredentials(all []BackendCredentialsConfig, backends []string) {
	seen := map[string]string{}
	for i := range all {
		c, path := &all[i], element("BackendCredentials", i)
		which := slices.IndexFunc(backends, func(b string) bool { return sameBackend(b, c.Backend) })
		switch {
		case m.broken[path]:
			continue
		case len(backends) == 0: // reported already
		case which < 0:
			m.add(join(path, "Backend"), c.Backend, "one of Backends")
		case seen[backends[which]] != "":
			m.add(join(path, "Backend"), c.Backend, "another backend than %s", seen[backends[which]])
		default:
			seen[backends[which]] = path
		}
		if c.AccessKey == "" && c.SecretKey == "" && c.File == "" && c.Region == "" {
			m.at(path, "must have AccessKey and SecretKey, or File, or Region")
		}
		m.checkCredentials(path, c.credentials())
	}
}
