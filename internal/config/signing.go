package config

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/akubra/akubra/internal/text"
)

// Keys are the credentials for signing requests to one backend.
type Keys struct {
	AccessKey    string
	SecretKey    secret
	SessionToken secret
	Region       string
}

// defaultRegion is what backends without regions accept.
const defaultRegion = "us-east-1"

// SigningKeys returns the keys for each of Backends, by index: its own from BackendCredentials,
// else those from Credentials, else those from AWS's variables in environ. The error is of type
// Errors, with a line for each backend that has none.
func (c *Config) SigningKeys(environ []string) ([]Keys, error) {
	var missing Errors
	all := make([]Keys, len(c.Backends))
	for i := range c.Backends {
		keys, err := c.SigningKeysOf(i, environ)
		if err != nil {
			missing = append(missing, "Credentials: "+err.Error())
			continue
		}
		all[i] = keys
	}
	if missing != nil {
		return nil, missing
	}
	return all, nil
}

// SigningKeysOf returns the keys for one backend.
func (c *Config) SigningKeysOf(backend int, environ []string) (Keys, error) {
	return c.credentialsOf(c.Backends[backend], variables(environ))
}

func variables(environ []string) map[string]string {
	env := map[string]string{}
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		env[name] = strings.TrimSpace(value) // a file with a key often ends in a newline, which is not part of it
	}
	return env
}

// HalfSet says which of AWS's two variables environ has without the other; "" if it has both or neither.
func HalfSet(environ []string) string { return halfSet(variables(environ)) }

func halfSet(env map[string]string) string {
	set, other := "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
	if env[set] == "" {
		set, other = other, set
	}
	if env[set] == "" || env[other] != "" {
		return ""
	}
	return fmt.Sprintf("the environment has %s, but %s is not set or empty", set, other)
}

func (c *Config) credentialsOf(backend string, env map[string]string) (Keys, error) {
	region := c.Credentials.Region
	var sources []CredentialsConfig
	for i := range c.BackendCredentials {
		if own := &c.BackendCredentials[i]; sameBackend(own.Backend, backend) {
			region = cmp.Or(own.Region, region)
			sources = append(sources, own.credentials())
		}
	}
	for _, source := range append(sources, c.Credentials) {
		switch {
		case source.AccessKey != "":
			return Keys{
				AccessKey: string(source.AccessKey), SecretKey: source.SecretKey,
				Region: cmp.Or(region, env["AWS_REGION"], defaultRegion),
			}, nil
		case source.File != "":
			keys, err := readCredentials(source.File, source.Profile)
			if err != nil {
				return Keys{}, fmt.Errorf("cannot take the keys for backend %q from %q: %w", backend, source.File, err)
			}
			keys.Region = cmp.Or(region, keys.Region, env["AWS_REGION"], defaultRegion)
			return keys, nil
		}
	}
	if env["AWS_ACCESS_KEY_ID"] == "" || env["AWS_SECRET_ACCESS_KEY"] == "" {
		if half := halfSet(env); half != "" {
			return Keys{}, fmt.Errorf("no keys for backend %q; %s", backend, half)
		}
		return Keys{}, fmt.Errorf("no keys for backend %q; set AccessKey and SecretKey, or File, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", backend)
	}
	return Keys{
		AccessKey: env["AWS_ACCESS_KEY_ID"], SecretKey: secret(env["AWS_SECRET_ACCESS_KEY"]),
		SessionToken: secret(env["AWS_SESSION_TOKEN"]), Region: cmp.Or(region, env["AWS_REGION"], defaultRegion),
	}, nil
}

// maxCredentialsSize is far larger than any file of profiles.
const maxCredentialsSize = 1 << 20

// readCredentials reads one profile from a file in AWS's format. Its errors quote nothing from the
// file.
func readCredentials(path, profile string) (Keys, error) {
	text, err := readRegular(path, maxCredentialsSize)
	if err != nil {
		return Keys{}, err
	}
	keys, found := parseCredentials(text, profile)
	switch {
	case !found:
		return Keys{}, fmt.Errorf("there is no profile %q in it", profile)
	case keys.AccessKey == "":
		return Keys{}, fmt.Errorf("profile %q has no aws_access_key_id", profile)
	case keys.SecretKey == "":
		return Keys{}, fmt.Errorf("profile %q has no aws_secret_access_key", profile)
	}
	return keys, nil
}

// parseCredentials accepts `[profile]`, and `[profile profile]` as in AWS's other file.
func parseCredentials(text []byte, profile string) (keys Keys, found bool) {
	inside := false
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if section, ok := strings.CutPrefix(line, "["); ok {
			section, _, _ = strings.Cut(section, "]")
			section = strings.TrimSpace(section)
			other, prefixed := strings.CutPrefix(section, "profile ")
			inside = section == profile || prefixed && strings.TrimSpace(other) == profile
			found = found || inside
			continue
		}
		if !inside {
			continue
		}
		name, value, _ := strings.Cut(line, "=")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "aws_access_key_id":
			keys.AccessKey = value
		case "aws_secret_access_key":
			keys.SecretKey = secret(value)
		case "aws_session_token":
			keys.SessionToken = secret(value)
		case "region":
			keys.Region = value
		}
	}
	return keys, found
}

// readRegular reads up to limit bytes of a regular file: the path may come from the network
// (internal/admin), and reading from a device or a pipe might never end.
func readRegular(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read it: %w", text.Cause(err))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read it: %w", text.Cause(err))
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, fmt.Errorf("cannot read it: %w", text.Cause(err))
	}
	return content, nil
}
